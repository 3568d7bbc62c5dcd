"""A finished run as the planner sees it: its steps, its engines' iterations, its settings.

Reads ``metrics.jsonl``, ``engine/steps-*.csv`` (config ``run.engine_log=true``), ``config.yaml``
and, where they are there, ``summary.json`` and the model's ``config.json``.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WARM_UP_STEPS: Final = 2
"""First steps left out: the engine still compiles, the pool is not full."""

BEGIN, SECONDS, RUNNING, PREFILL = range(4)
"""Columns of an iteration: Unix time, seconds, requests, prompt tokens."""

NUM_COLUMNS: Final = 5
"""Those and the tokens sampled."""

STEP_KEYS: Final = ("time/step_begin_s", "timing_s/step", "timing_s/generate", "tokens/trained")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One training step after the warm-up."""

    begin_s: float
    """Unix time."""
    seconds: float
    """Of the whole step."""
    generate_s: float
    """Of its first part, generation."""
    trained_tokens: int
    """Response tokens that were trained."""
    padded_tokens: int | None
    """Those if each response were as long as the longest; None if the metrics do not tell."""
    interrupted: bool
    """Whether responses were cut off at the end of generation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredRun:
    """One run folder."""

    path: Path
    """Where it lies."""
    steps: tuple[Step, ...]
    """Steps after the warm-up."""
    engines: tuple[Array, ...]
    """Of each engine process the iterations [N, 5], by time."""
    config: dict[str, Any]
    """Its composed config."""
    packages: dict[str, str]
    """Versions of what it ran on; empty where it did not finish."""

    @property
    def name(self) -> str:
        """The last parts of its path: ``longtail/4x8/copris/round0``."""
        return "/".join(self.path.resolve().parts[-4:])


def read_run(path: Path, *, warm_up: int = WARM_UP_STEPS) -> MeasuredRun:
    """Read one run folder.

    Raises:
        ValueError: no metrics, or no step after the warm-up; one line.
    """
    steps = _steps(path / "metrics.jsonl")
    if len(steps) <= warm_up:
        raise ValueError(
            f"{path} has {len(steps)} usable steps: more than {warm_up} are needed, the first "
            f"{warm_up} warm up"
        )
    summary = path / "summary.json"
    found = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
    return MeasuredRun(
        path=path,
        steps=tuple(steps[warm_up:]),
        engines=tuple(map(read_iterations, sorted(path.glob("engine/steps-*.csv")))),
        config=_read_config(path / "config.yaml"),
        packages=found.get("packages", {}),
    )


def read_iterations(path: Path) -> Array:
    """Iterations [N, 5] of one engine process by time; a line torn by a kill is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        try:
            row = [float(cell) for cell in line.split(",")]
        except ValueError:
            continue
        if len(row) == NUM_COLUMNS:
            rows.append(row)
    return np.array(sorted(rows), dtype=np.float64).reshape(len(rows), NUM_COLUMNS)


def _steps(path: Path) -> list[Step]:
    if not path.is_file():
        raise ValueError(f"no metrics at {path}: give the folder of a run that has started")
    steps = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed
        if all(row.get(key) is not None for key in STEP_KEYS):
            steps.append(_step(row))
    return steps


def _step(row: dict[str, float]) -> Step:
    return Step(
        begin_s=row["time/step_begin_s"],
        seconds=row["timing_s/step"],
        generate_s=row["timing_s/generate"],
        trained_tokens=int(row["tokens/trained"]),
        padded_tokens=_padded_tokens(row),
        interrupted=bool(row.get("rollout/interrupted")),
    )


def _padded_tokens(row: dict[str, float]) -> int | None:
    """The 99% quantile stands for the longest: of less than 100 responses it is the longest."""
    longest, samples = row.get("length/trained_p99"), row.get("samples/trained")
    return int(longest * samples) if longest and samples else None


def _read_config(path: Path) -> dict[str, Any]:
    import yaml  # only whoever reads runs needs it

    value = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return value if isinstance(value, dict) else {}


def setting(config: dict[str, Any], key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value
