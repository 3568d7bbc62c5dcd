"""``engine.yaml``: one machine's engine and trainer as numbers, each with its unit and its source.

The comments are for people. Whoever reads the file back gets the numbers, and one line about what
is wrong with them.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from copris_core.simulator.engine import EngineModel

ENGINE_FILE: Final = "engine.yaml"
"""Usual name."""

ENGINE_UNITS: Final = {
    "step_s": "s, a decode step whatever the batch",
    "response_s": "s added to a decode step by each response beyond flat_to",
    "flat_to": "responses per replica up to which a step costs the same",
    "context_token_s": "s added to a decode step by each token in the KV cache",
    "prefill_token_s": "s to prefill one token",
    "request_s": "s to take in whoever comes at one moment",
    "stop_s": "s from the last group's completion to the last acknowledged abort",
    "kv_tokens": "tokens in one replica's KV cache",
    "max_running": "responses in one replica's batch",
    "replicas": "engines, all alike",
}
PADDED: Final = "update_padded_token_s"
TRAINER_UNITS: Final = {
    "update_s": "s of a step in which no token is sampled and nothing is stopped",
    "update_token_s": "s of those per trained token",
    "update_padded_token_s": "s of those per token of the batch padded to its longest response",
}
OPTIONAL: Final = {"engine": set(ENGINE_UNITS), "trainer": set(TRAINER_UNITS)}
"""Keys of a section that need not be there, among others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFile:
    """An engine, the trainer beside it, and where the numbers come from."""

    name: str
    """What it is called, such as a preset's name."""
    is_estimate: bool
    """Whether its numbers were thought and not measured."""
    engine: EngineModel
    """The replicas."""
    update_s: float
    """Seconds of a step that do not depend on its tokens: update, weight sync, waiting for the
    first request."""
    update_token_s: float
    """Seconds outside generation per trained token."""
    update_padded_token_s: float = 0.0
    """Seconds outside generation per token of the batch padded to its longest response."""
    heading: tuple[str, ...] = ()
    """Lines about the whole: what was measured, when, how well it fits. Not read back."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each number comes from, by its name. Not read back."""
    calibrated_on: tuple[str, ...] = ()
    """The runs that were measured; a prediction of one of them proves nothing."""

    def __post_init__(self) -> None:
        """Refuse an update that takes no time at all, or less.

        Raises:
            ValueError: see above.
        """
        if min(self.update_s, self.update_token_s, self.update_padded_token_s) < 0:
            raise ValueError(f"no update takes less than no time: {self}")


def write_engine(file: EngineFile, path: Path) -> None:
    """Write ``engine.yaml``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_yaml(file), encoding="utf-8")


def to_yaml(file: EngineFile) -> str:
    """The text of ``engine.yaml``, a comment behind every number."""
    lines = [f"# {line}" for line in file.heading]
    lines += [f"name: {file.name}", f"is_estimate: {str(file.is_estimate).lower()}"]
    if file.calibrated_on:
        lines += ["calibrated_on:", *(f"  - {run}" for run in file.calibrated_on)]
    lines += ["engine:", *_numbers(dataclasses.asdict(file.engine), ENGINE_UNITS, file.sources)]
    trainer = {key: getattr(file, key) for key in TRAINER_UNITS}
    lines += ["trainer:", *_numbers(trainer, TRAINER_UNITS, file.sources)]
    return "\n".join(lines) + "\n"


def read_engine(path: Path) -> EngineFile:
    """Read ``engine.yaml``.

    Raises:
        ValueError: the file is missing or no YAML, a key is unknown or missing, a value is no
            number, or the engine could not exist; one line that names the file.
    """
    import yaml  # only whoever reads a file needs it

    if not path.is_file():
        raise ValueError(f"no engine file at {path}: write one with copris plan calibrate")
    try:
        return _parse(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _numbers(
    values: Mapping[str, float], units: Mapping[str, str], sources: Mapping[str, str]
) -> list[str]:
    """``  key: value  # unit; source``, the comments in one column."""
    shown = {key: f"  {key}: {_show(value)}" for key, value in values.items()}
    width = max(len(text) for text in shown.values())
    comments = {key: "; ".join(filter(None, (units[key], sources.get(key)))) for key in shown}
    return [f"{text:<{width}}  # {comments[key]}" for key, text in shown.items()]


def _show(value: float) -> str:
    """Digits that YAML reads as a number: 1e-05 would be text to it, 1.0e-05 is not."""
    text = str(value) if isinstance(value, int) else f"{value:.6g}"
    mantissa, exponent_mark, exponent = text.partition("e")
    if isinstance(value, float) and "." not in mantissa:
        mantissa += ".0"
    return mantissa + exponent_mark + exponent


def _parse(value: Any) -> EngineFile:
    content = _section(value, "the file", {"name", "is_estimate", "engine", "trainer"})
    engine = _section(content["engine"], "engine", _needed(EngineModel))
    trainer = _section(content["trainer"], "trainer", {"update_s", "update_token_s"})
    if not isinstance(content["is_estimate"], bool):
        raise ValueError(f"is_estimate is {content['is_estimate']!r}: say true or false")
    integers = {"flat_to", "kv_tokens", "max_running", "replicas"}
    return EngineFile(
        name=str(content["name"]),
        is_estimate=content["is_estimate"],
        engine=EngineModel(
            **{key: _number(engine, key, whole=key in integers) for key in engine}  # type: ignore[arg-type]
        ),
        calibrated_on=tuple(map(str, content.get("calibrated_on") or ())),
        update_s=_number(trainer, "update_s"),
        update_token_s=_number(trainer, "update_token_s"),
        update_padded_token_s=_number({PADDED: 0.0, **trainer}, PADDED),
    )


def _needed(model: type[EngineModel]) -> set[str]:
    """Fields without a default."""
    fields = dataclasses.fields(model)
    return {each.name for each in fields if each.default is dataclasses.MISSING}


def _section(value: Any, place: str, needed: set[str]) -> dict[str, Any]:
    """A mapping with the needed keys and no unknown ones."""
    if not isinstance(value, dict):
        raise ValueError(f"{place} should be a mapping of names to numbers, it is {value!r:.60}")
    allowed = needed | OPTIONAL.get(place, {"calibrated_on"})
    for key in value:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, n=1)
            hint = f": do you mean {near[0]}?" if near else ""
            raise ValueError(f"{place} has no {key}{hint}")
    missing = sorted(needed - value.keys())
    if missing:
        raise ValueError(f"{place} lacks {', '.join(missing)}")
    return value


def _number(values: Mapping[str, Any], key: str, *, whole: bool = False) -> float:
    value = values[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or (whole and value != int(value)):
        raise ValueError(f"{key} is {value!r}: it should be a {'whole ' * whole}number")
    return int(value) if whole else float(value)
