"""Numbers of runs over their seeds: means, and what one method has over another, seed by seed.

Refuses to fill gaps: a seed that did not measure a number is left out and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import fmean

from copris_core.evaluation.intervals import Interval
from copris_core.evaluation.seeds import FEWEST, mean_interval, paired_mean, paired_ratio
from copris_core.report.compared import Method, RunData
from copris_core.report.numbers import UNKNOWN
from copris_core.report.summary import Summary

Measure = Callable[[RunData], float | None]
BySeed = Mapping[int, float]
"""A number by the seed of the run."""
NO_WIDTH = 1e-9
"""An interval narrower than this is one of equal numbers, but for rounding."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One method beside the first: a difference, or a ratio."""

    estimate: float
    """Mean over the seeds; of ratios the geometric mean."""
    interval: Interval | None
    """95% t interval over the pairs; None with fewer than two."""
    pairs: int
    """Seeds that both sides ran; 0: the means of different seeds are set against each other."""

    def differs_from(self, value: float) -> bool | None:
        """Whether the interval excludes ``value``; None without one, or with one of no width.

        A few seeds that happen to agree to the last digit say nothing of their spread.
        """
        if self.interval is None or self.interval.high - self.interval.low < NO_WIDTH:
            return None
        return self.interval.excludes(value)


def of(read: Callable[[Summary], float | None]) -> Measure:
    """What a run's summary says."""
    return lambda run: read(run.summary)


def by_seed(method: Method, measure: Measure) -> dict[int, float]:
    """What each run measured; runs that did not are left out."""
    values = ((run.summary.seed, measure(run)) for run in method.runs)
    return {seed: value for seed, value in values if value is not None}


def difference(ours: BySeed, theirs: BySeed) -> Contrast | None:
    """``ours - theirs``; None if a side is empty."""
    if not ours or not theirs:
        return None
    seeds = sorted(ours.keys() & theirs.keys())
    sides = [ours[x] for x in seeds], [theirs[x] for x in seeds]
    if len(seeds) >= FEWEST:
        found = paired_mean(*sides)
        return Contrast(estimate=found.estimate, interval=found, pairs=len(seeds))
    left, right = sides if seeds else (list(ours.values()), list(theirs.values()))
    return Contrast(estimate=fmean(left) - fmean(right), interval=None, pairs=len(seeds))


def times(ours: BySeed, theirs: BySeed) -> Contrast | None:
    """``ours / theirs``; None if a side is empty or holds a number that is not positive."""
    if not ours or not theirs or min((*ours.values(), *theirs.values())) <= 0:
        return None
    seeds = sorted(ours.keys() & theirs.keys())
    sides = [ours[x] for x in seeds], [theirs[x] for x in seeds]
    if len(seeds) >= FEWEST:
        found = paired_ratio(*sides)
        return Contrast(estimate=found.estimate, interval=found, pairs=len(seeds))
    left, right = sides if seeds else (list(ours.values()), list(theirs.values()))
    estimate = exp(fmean(map(log, left)) - fmean(map(log, right)))
    return Contrast(estimate=estimate, interval=None, pairs=len(seeds))


def show_over(
    values: Sequence[float | None],
    digits: int,
    *,
    least: float | None = 0,
    most: float | None = None,
) -> str:
    """``0.930 [0.901, 0.959]``: mean and interval; the number alone where it is always the same.

    Where some seeds did not measure it, how many did stands behind.

    Args:
        values: one a seed.
        digits: decimals.
        least: what the number can't be below, to which the interval is cut; None: anything.
        most: what it can't be above.
    """
    known = [value for value in values if value is not None]
    if not known:
        return UNKNOWN
    text = f"{fmean(known):,.{digits}f}"
    if len(set(known)) >= FEWEST:
        found = mean_interval(known)
        low = found.low if least is None else max(least, found.low)
        high = found.high if most is None else min(most, found.high)
        text += f" [{low:,.{digits}f}, {high:,.{digits}f}]"
    return text if len(known) == len(values) else f"{text} ({len(known)} of {len(values)} seeds)"


def show_difference(found: Contrast | None, digits: int) -> str:
    """``+0.012 [-0.030, +0.054]``."""
    if found is None:
        return UNKNOWN
    text = f"{found.estimate:+.{digits}f}"
    if found.interval is not None:
        text += f" [{found.interval.low:+.{digits}f}, {found.interval.high:+.{digits}f}]"
    return text if found.pairs else f"{text} (no common seed)"


def show_times(found: Contrast | None) -> str:
    """``1.55x [1.40, 1.72]``."""
    if found is None:
        return UNKNOWN
    text = f"{found.estimate:.2f}x"
    if found.interval is not None:
        text += f" [{found.interval.low:.2f}, {found.interval.high:.2f}]"
    return text if found.pairs else f"{text} (no common seed)"
