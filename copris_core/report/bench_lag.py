"""CoPRIS against verl's own partial rollout at equal staleness.

More in flight is faster and staler, so a ratio means something only at one lag: CoPRIS was run at
several N', and its rate is read off at the lag that the other had, linear in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from copris_core.report.bench_cell import Cell
from copris_core.report.bench_names import ASYNC, COPRIS, base_of, is_pruned
from copris_core.report.bench_stats import METRICS, Spread, median, spread
from copris_core.report.ratios import ratio

LAGS = ("lag_mean", "first_token_lag")
"""Measures of the lag; the first one that all cells have is taken."""


@dataclass(frozen=True, kw_only=True)
class LagPoint:
    """CoPRIS at one N'."""

    method: str
    """Name with its N'."""
    lag: float
    """Median over the rounds, in policy versions."""


@dataclass(frozen=True, kw_only=True)
class EqualLag:
    """Rates of CoPRIS over those of verl's partial rollout, at the lag of the latter."""

    measure: str
    """What the lag is the mean of: one of `LAGS`."""
    lag: float
    """Of verl's partial rollout, median over the rounds, in policy versions."""
    points: tuple[LagPoint, ...]
    """The N' that CoPRIS was run at, by lag."""
    generate_ratio: Spread
    """Samples per second of the generate phase, over the rounds."""
    step_ratio: Spread
    """Samples per second of the whole step, over the rounds."""
    outside: tuple[str, ...]
    """Methods taken as the nearest in rounds whose lag no two N' enclosed."""


def equal_lag(by_method: Mapping[str, Sequence[Cell]]) -> EqualLag | None:
    """Compare, round by round; None where a side was not measured."""
    theirs = by_method.get(ASYNC, ())
    ours = [
        cell
        for name, cells in by_method.items()
        if base_of(name) == COPRIS and not is_pruned(name)
        for cell in cells
    ]
    measure = next(
        (x for x in LAGS if all(METRICS[x](c) is not None for c in (*ours, *theirs))), None
    )
    rounds = [
        (cell, near)
        for cell in theirs
        if (near := [x for x in ours if x.key.round == cell.key.round])
    ]
    if measure is None or not rounds:
        return None
    ratios = {
        name: spread(_ratio(*each, measure, name) for each in rounds) for name in RATES_AT_LAG
    }
    generate, step = (ratios[name] for name in RATES_AT_LAG)
    if generate is None or step is None:
        return None
    return EqualLag(
        measure=measure,
        lag=_lag_of([cell for cell, _ in rounds], measure),
        points=_points(ours, measure),
        generate_ratio=generate,
        step_ratio=step,
        outside=tuple(sorted({x for each in rounds if (x := _nearest_outside(*each, measure))})),
    )


RATES_AT_LAG = ("generate_samples_per_s", "step_samples_per_s")


def _ratio(theirs: Cell, ours: Sequence[Cell], measure: str, rate: str) -> float | None:
    """Our rate at their lag over theirs; at the nearest lag where no two of ours enclose it."""
    pairs = sorted(
        (lag, speed)
        for cell in ours
        if (speed := METRICS[rate](cell)) is not None
        and (lag := METRICS[measure](cell)) is not None
    )
    lag = METRICS[measure](theirs)
    if lag is None or not pairs:
        return None
    at_their_lag = float(np.interp(lag, [x for x, _ in pairs], [y for _, y in pairs]))
    return ratio(at_their_lag, METRICS[rate](theirs))


def _nearest_outside(theirs: Cell, ours: Sequence[Cell], measure: str) -> str | None:
    """The method at the end of our range that was taken; None where the range holds their lag."""
    lags = [(METRICS[measure](cell) or 0.0, cell.key.method) for cell in ours]
    lag = METRICS[measure](theirs) or 0.0
    if lag < min(lags)[0]:
        return min(lags)[1]
    return max(lags)[1] if lag > max(lags)[0] else None


def _points(cells: Sequence[Cell], measure: str) -> tuple[LagPoint, ...]:
    names = dict.fromkeys(cell.key.method for cell in cells)
    points = [
        LagPoint(method=name, lag=_lag_of([x for x in cells if x.key.method == name], measure))
        for name in names
    ]
    return tuple(sorted(points, key=lambda point: point.lag))


def _lag_of(cells: Sequence[Cell], measure: str) -> float:
    return median(METRICS[measure](cell) for cell in cells) or 0.0
