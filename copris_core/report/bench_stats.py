"""Numbers of single cells, and how they spread over the rounds.

Refuses to fill gaps: a number with an unmeasured part is None, and so is its spread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from copris_core.report.bench_cell import Cell
from copris_core.report.ratios import ratio

Measure = Callable[[Cell], float | None]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One number over the rounds."""

    n: int
    """Rounds that measured it."""
    median: float
    """Of these rounds, as all that follows."""
    low: float
    """The smallest."""
    q1: float
    """First quartile, linear between the values."""
    q3: float
    """Third quartile."""
    high: float
    """The largest."""

    @property
    def iqr(self) -> float:
        """Width of the middle half."""
        return self.q3 - self.q1


def spread(values: Iterable[float | None]) -> Spread | None:
    """Median, quartiles and range of what was measured; None if nothing was."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, q1, median, q3, high = (float(x) for x in np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
    return Spread(n=len(known), median=median, low=low, q1=q1, q3=q3, high=high)


def median(values: Iterable[float | None]) -> float | None:
    """Median of what was measured."""
    found = spread(values)
    return None if found is None else found.median


METRICS: dict[str, Measure] = {
    "generate_samples_per_s": lambda x: ratio(x.samples, x.generate_s),
    "generate_tokens_per_s": lambda x: ratio(x.sampled_tokens, x.generate_s),
    "generate_finished_per_s": lambda x: ratio(x.finished, x.generate_s),
    "step_samples_per_s": lambda x: ratio(x.samples, sum(x.step_s)),
    "step_tokens_per_s": lambda x: ratio(x.sampled_tokens, sum(x.step_s)),
    "step_s": lambda x: sum(x.step_s) / x.steps,
    "generate_s": lambda x: x.generate_s / x.steps,
    "update_s": lambda x: x.waterfall.update / x.steps,
    "occupancy": lambda x: _engine_occupancy(x) if x.gate_occupancy is None else x.gate_occupancy,
    "gate_occupancy": lambda x: x.gate_occupancy,
    "engine_occupancy": lambda x: _engine_occupancy(x),
    "decode_steps": lambda x: _decode_steps(x),
    "decode_step_s": lambda x: _decode_step_s(x),
    "reprefill_tokens": lambda x: ratio(x.reprefill_tokens, x.steps),
    "lag_mean": lambda x: x.lag_mean,
    "lag_max": lambda x: x.lag_max,
    "first_token_lag": lambda x: x.first_token_lag,
    "trained_length": lambda x: ratio(x.trained_tokens, x.trained_samples),
    "width": lambda x: x.width,
    "wall_s": lambda x: x.wall_s,
}
"""Numbers of one cell, over its counted steps.

``generate_*`` are per second of the generate phase, ``step_*`` per second of the whole step.
``samples`` are those of the trained batches, before pruning; they carry the chance of lengths,
since partial rollout finishes short responses first, and ``tokens`` does not. ``finished`` counts
responses that finished in the phase, whatever was trained. ``occupancy`` is the gate's where there
is one, else the engine's. ``decode_steps``, ``reprefill_tokens``, ``step_s``, ``generate_s`` and
``update_s`` are per training step.
"""

RATES = (
    "generate_samples_per_s",
    "generate_tokens_per_s",
    "generate_finished_per_s",
    "step_samples_per_s",
    "step_tokens_per_s",
)
"""Numbers whose ratio to the baseline is taken; more is better."""


def measured(cell: Cell) -> dict[str, float | None]:
    """All numbers of a cell."""
    return {name: measure(cell) for name, measure in METRICS.items()}


def paired(cells: Sequence[Cell], baseline: Sequence[Cell], measure: Measure) -> Spread | None:
    """Ratio to the baseline's cell of the same round, over the rounds that have both."""
    theirs = {cell.key.round: measure(cell) for cell in baseline}
    return spread(ratio(measure(cell), theirs.get(cell.key.round)) for cell in cells)


def seconds_for(cell: Cell, samples: float) -> float:
    """Seconds of counted steps until ``samples`` were trained; linear inside a step.

    Raises:
        ValueError: the cell trained fewer.
    """
    if samples > cell.samples:
        raise ValueError(f"{cell.key.path} trained {cell.samples} samples, not {samples}")
    trained, seconds = _running_sums(cell)
    return float(np.interp(samples, trained, seconds))


def samples_within(cell: Cell, seconds: float) -> float:
    """Samples trained in the first ``seconds`` of counted steps; linear inside a step."""
    trained, ends = _running_sums(cell)
    return float(np.interp(seconds, ends, trained))


def _running_sums(cell: Cell) -> tuple[list[float], list[float]]:
    trained = [0.0, *np.cumsum(cell.step_samples).tolist()]
    return trained, [0.0, *np.cumsum(cell.step_s).tolist()]


def _engine_occupancy(cell: Cell) -> float | None:
    return None if cell.engine is None else cell.engine.occupancy


def _decode_steps(cell: Cell) -> float | None:
    if cell.engine is None:
        return None
    return cell.engine.decode_iterations / cell.engine.num_engines / cell.steps


def _decode_step_s(cell: Cell) -> float | None:
    if cell.engine is None:
        return None
    return ratio(cell.engine.decode_s, cell.engine.decode_iterations)
