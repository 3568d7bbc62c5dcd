"""Lengths on disk: what a run or a list tells of them, and the ``lengths.yaml`` that a plan takes.

| file                                    | what is read                                          |
|-----------------------------------------|-------------------------------------------------------|
| a run's folder or its metrics.jsonl     | ledger.jsonl beside it: every finished response,      |
|                                         | by prompt; else p50, p90, p99 of each step            |
| a list: one number a line, or JSON      | every length                                          |
| lengths.yaml                            | a distribution as it was written                      |
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from copris_core.rollout.events import Event
from copris_core.rollout.ledger import LEDGER_FILE, SavedLedger
from copris_core.simulator.lengths import EmpiricalLengths, Lengths, LognormalLengths
from copris_core.simulator.lengths_fit import LengthFit, fit_batches, fit_lengths

METRICS_FILE: Final = "metrics.jsonl"
CONFIG_FILE: Final = "config.yaml"
LENGTHS_FILE: Final = "lengths.yaml"
"""Usual name of what is written."""
PERCENTS: Final = (50, 90, 99)
"""Of a step's lengths, in metrics.jsonl."""
MOST_KEPT: Final = 10_000
"""Lengths of an empirical distribution that are written; more are thinned to evenly spaced ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a file told, fitted."""

    fit: LengthFit
    """The lognormal fit."""
    tokens: tuple[int, ...]
    """Every length; empty where only quantiles are known."""

    @property
    def best(self) -> LognormalLengths | EmpiricalLengths:
        """The fit where it is good or all there is, else the lengths themselves."""
        if self.fit.is_good or not self.tokens:
            return self.fit.lengths
        return self.empirical

    def of_kind(self, kind: str) -> LognormalLengths | EmpiricalLengths:
        """The fit (``lognormal``) or the lengths themselves (``empirical``).

        Raises:
            ValueError: the lengths themselves are asked for and only quantiles are known.
        """
        return self.empirical if kind == "empirical" else self.fit.lengths

    @property
    def empirical(self) -> EmpiricalLengths:
        """The lengths themselves.

        Raises:
            ValueError: only quantiles are known.
        """
        if not self.tokens:
            raise ValueError(
                "metrics.jsonl has quantiles and no single lengths: give the run's ledger.jsonl or "
                "a list, or take the lognormal fit"
            )
        share = self.fit.lengths.prompt_share
        return EmpiricalLengths(tokens=self.tokens, prompt_share=share)


def measure(path: Path, *, cap: int | None = None) -> Measured:
    """Read a run or a list and fit it.

    Args:
        path: see the head of this file.
        cap: the response budget; None: the run's own, or else the longest length.

    Raises:
        ValueError: the file is missing, empty or holds something else; names the line.
    """
    if path.is_dir():
        path = path / METRICS_FILE
    if not path.is_file():
        raise ValueError(f"no lengths at {path}: give a run's metrics.jsonl or a list of lengths")
    ledger = path.with_name(LEDGER_FILE)
    if path.name == LEDGER_FILE or (path.suffix == ".jsonl" and ledger.is_file()):
        return _from_ledger(ledger, cap if cap is not None else _cap_of_run(path.parent))
    if path.suffix == ".jsonl":
        return _from_metrics(path, cap if cap is not None else _cap_of_run(path.parent))
    tokens = read_list(path)
    return Measured(fit=_named(path, tokens, cap, []), tokens=tokens)


def read_lengths(path: Path, *, cap: int | None = None) -> Lengths:
    """The distribution that a plan is asked for: a ``lengths.yaml``, or what `measure` reads.

    Raises:
        ValueError: see `measure`; or the YAML has an unknown kind, or lacks or misspells a key.
    """
    if path.suffix not in (".yaml", ".yml"):
        return measure(path, cap=cap).best
    if not path.is_file():
        raise ValueError(f"no lengths at {path}: write them with copris plan lengths FILE")
    import yaml  # only whoever reads a YAML file needs it

    try:
        return _parse(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def to_yaml(lengths: LognormalLengths | EmpiricalLengths, *, heading: str) -> str:
    """The text of a ``lengths.yaml``; ``heading`` says where it comes from."""
    lines = [f"# {heading}"]
    if isinstance(lengths, LognormalLengths):
        lines += [
            "kind: lognormal",
            f"median: {lengths.median:.6g}  # tokens that half of the responses exceed",
            f"sigma: {lengths.sigma:.6g}  # standard deviation of the log length",
            f"cap: {lengths.cap}  # most tokens of a response",
        ]
    else:
        lines += ["kind: empirical", f"tokens: {json.dumps(_thinned(lengths.tokens))}"]
    lines.append(f"prompt_share: {lengths.prompt_share:.6g}  # of the variance, by the prompt")
    return "\n".join(lines) + "\n"


def read_list(path: Path) -> tuple[int, ...]:
    """Lengths from a text file, one a line, or from a JSON list.

    Raises:
        ValueError: the file is empty, or something in it is no length; names the line or place.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.strip():
        raise ValueError(f"{path} is empty: give one length in tokens a line, or a JSON list")
    if text.lstrip().startswith("["):
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{path} is no JSON list ({error})") from error
        named = [(f"{path} item {place}", value) for place, value in enumerate(values, start=1)]
    else:
        lines = enumerate(text.splitlines(), start=1)
        named = [(f"{path} line {place}", line.strip()) for place, line in lines if line.strip()]
    tokens = tuple(_length(value, where) for where, value in named)
    if not tokens:
        raise ValueError(f"{path} is empty: give one length in tokens a line, or a JSON list")
    return tokens


def _length(value: Any, where: str) -> int:
    try:
        number = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError):
        number = float("nan")
    if number != number or number != number // 1:
        raise ValueError(f"{where}: {value!r:.40} is no whole number of tokens")
    if number < 1:
        raise ValueError(f"{where}: a response has at least 1 token, got {number:g}")
    return int(number)


def _from_ledger(path: Path, cap: int | None) -> Measured:
    """Every finished response; where a restart sampled one again, the last time counts."""
    finished: dict[str, dict[int, int]] = {}
    sizes: dict[str, int] = {}
    for line in SavedLedger(path):
        fact = line.fact
        if fact.event is Event.DRAWN and fact.size is not None:
            sizes[str(fact.uid)] = fact.size
        if fact.event is Event.FINISHED and fact.index is not None and fact.tokens:
            finished.setdefault(str(fact.uid), {})[fact.index] = fact.tokens
    tokens = tuple(length for group in finished.values() for length in group.values())
    if not tokens:
        raise ValueError(f"{path}: no response has finished yet, there are no lengths")
    whole = [
        tuple(group.values()) for uid, group in finished.items() if len(group) == sizes.get(uid)
    ]
    return Measured(fit=_named(path, tokens, cap, whole), tokens=tokens)


def _from_metrics(path: Path, cap: int | None) -> Measured:
    """p50, p90 and p99 of each step's drawn responses, or of the trained ones in older runs."""
    batches, longest = [], 0.0
    *whole, _ = path.read_bytes().split(b"\n")  # a last line without its end was torn by a kill
    for number, line in enumerate(whole, start=1):
        row = _row(line, where=f"{path} line {number}")
        for name in ("drawn", "trained"):
            lengths = {percent: row.get(f"length/{name}_p{percent}") for percent in PERCENTS}
            known = {percent: float(value) for percent, value in lengths.items() if value}
            if len(known) == len(PERCENTS):
                batches.append((_num_responses(row, name), known))
                longest = max(longest, *known.values())
                break
    if not batches:
        raise ValueError(f"{path}: no step tells of lengths (length/drawn_p50, _p90, _p99)")
    try:
        return Measured(fit=fit_batches(batches, cap=cap or int(longest)), tokens=())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _row(line: bytes, *, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where} is no JSON ({error}): give a run's metrics.jsonl") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where} is no row of a run's metrics.jsonl")
    return row


def _num_responses(row: Mapping[str, Any], name: str) -> int:
    """Responses behind a step's quantiles; pruning keeps a fraction of the drawn for training."""
    kept = float(row.get("cppo/kept_fraction") or 1.0) if name == "drawn" else 1.0
    return max(1, round(float(row.get("samples/trained") or 1) / kept))


def _cap_of_run(folder: Path) -> int | None:
    """The response budget in the run's config.yaml; None without one."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        return None
    import yaml  # only whoever reads a YAML file needs it

    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    value = (config or {}).get("data", {}).get("max_response_length")
    return value if isinstance(value, int) else None


def _named(
    path: Path, tokens: tuple[int, ...], cap: int | None, groups: list[tuple[int, ...]]
) -> LengthFit:
    try:
        return fit_lengths(tokens, cap=cap, groups=groups)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parse(content: Any) -> Lengths:
    if not isinstance(content, dict) or content.get("kind") not in KINDS:
        raise ValueError(f"it needs kind: {' or '.join(KINDS)}")
    needed, kind = KINDS[content["kind"]]
    missing = [key for key in needed if key not in content]
    unknown = [key for key in content if key not in (*needed, "kind", "prompt_share")]
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"has no {', '.join(unknown)}"
        raise ValueError(f"kind: {content['kind']} {what}")
    values = {key: value for key, value in content.items() if key != "kind"}
    for key, value in values.items():
        is_list = key == "tokens" and isinstance(value, list)
        for each in value if is_list else [value]:
            if isinstance(each, bool) or not isinstance(each, int | float):
                raise ValueError(f"{key} holds {each!r:.40}, which is no number")
    if "tokens" in values:
        values["tokens"] = tuple(_length(each, "tokens") for each in values["tokens"])
    if "cap" in values:
        values["cap"] = _length(values["cap"], "cap")
    made: Lengths = kind(**values)
    return made


def _thinned(tokens: tuple[int, ...]) -> list[int]:
    """At most `MOST_KEPT` of them in ascending order, evenly spaced in rank."""
    ordered, num = sorted(tokens), len(tokens)
    if num <= MOST_KEPT:
        return ordered
    return [ordered[(2 * place + 1) * num // (2 * MOST_KEPT)] for place in range(MOST_KEPT)]


KINDS: Final[Mapping[str, tuple[tuple[str, ...], Any]]] = {
    "lognormal": (("median", "sigma", "cap"), LognormalLengths),
    "empirical": (("tokens",), EmpiricalLengths),
}
"""By kind: the keys it needs, and what they make."""
