"""Error bars for accuracies and speed-ups.

Takes plain numbers and arrays, returns frozen values. Refuses to know where the numbers came
from: no files, no models, no clock, and randomness only from a generator that is passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and the two-sided interval around it, all in the unit of the estimate."""

    estimate: float
    """The point estimate."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""

    def excludes(self, value: float) -> bool:
        """True when ``value`` lies strictly outside the interval."""
        return value < self.low or value > self.high


def binomial_stderr(rate: float, n: int) -> float:
    """Standard error of a success rate over ``n`` independent trials: sqrt(p (1 - p) / n).

    It is 0 at p = 0 and p = 1, where it claims too much: decide with `wilson`, show this.

    Raises:
        ValueError: if ``n`` < 1 or ``rate`` is outside [0, 1].
    """
    _check_rate(rate, n)
    return math.sqrt(rate * (1 - rate) / n)


def wilson(rate: float, n: int, *, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a success rate; never empty, never outside [0, 1].

        centre = (p + z^2 / 2n) / (1 + z^2 / n)
        half   = z sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)

    Wilson, JASA 22 (1927), 209-212. Raises ValueError as `binomial_stderr` does.
    """
    _check_rate(rate, n)
    z = _z(level)
    shrink = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / shrink
    # At p = 0 and 1 an end is p itself in exact arithmetic; rounding may pass it.
    low, high = min(rate, centre - half), max(rate, centre + half)
    return Interval(estimate=rate, low=max(0.0, low), high=min(1.0, high))


def rate_difference(
    rate: float, n: int, *, baseline: float, baseline_n: int, level: float = LEVEL
) -> Interval:
    """``rate - baseline`` for two independent samples, by Newcombe's hybrid of Wilson intervals.

        low  = d - sqrt((p1 - l1)^2 + (u2 - p2)^2)
        high = d + sqrt((u1 - p1)^2 + (p2 - l2)^2)

    Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10. On the *same* problems it is
    wider than needed; use `paired_difference` where the answers of both sides are at hand.
    Raises ValueError as `binomial_stderr` does.
    """
    ours, theirs = wilson(rate, n, level=level), wilson(baseline, baseline_n, level=level)
    difference = rate - baseline
    down = math.hypot(rate - ours.low, theirs.high - baseline)
    up = math.hypot(ours.high - rate, baseline - theirs.low)
    return Interval(estimate=difference, low=difference - down, high=difference + up)


def paired_difference(
    scores: ArrayLike, baseline_scores: ArrayLike, *, level: float = LEVEL
) -> Interval:
    """Mean of ``scores - baseline_scores`` over the same problems, in the same order.

        d_i = a_i - b_i;  interval = mean(d) +- z sd(d, ddof=1) / sqrt(n)

    Args:
        scores: [N] score of each problem, 0/1 or an average in [0, 1].
        baseline_scores: [N] the other side's score of the same problems.
        level: coverage of the interval, in (0, 1).

    Raises:
        ValueError: if the shapes differ, are not [N], or N < 2.
    """
    ours_N, theirs_N = np.asarray(scores, float), np.asarray(baseline_scores, float)
    if ours_N.shape != theirs_N.shape or ours_N.ndim != 1 or len(ours_N) < 2:
        raise ValueError(
            f"paired scores have shapes {ours_N.shape} and {theirs_N.shape}: "
            "give two vectors of one length, at least 2, over the same problems"
        )
    gap_N = ours_N - theirs_N
    mean = float(gap_N.mean())
    half = _z(level) * float(gap_N.std(ddof=1)) / math.sqrt(len(gap_N))
    return Interval(estimate=mean, low=mean - half, high=mean + half)


def ratio_of_medians(
    values: ArrayLike,
    baseline_values: ArrayLike,
    *,
    rng: np.random.Generator,
    num_resamples: int = 2000,
    level: float = LEVEL,
) -> Interval:
    """median(values) / median(baseline_values), with a percentile bootstrap interval.

    Both sides are resampled independently and with replacement; one seed gives one interval.

    Args:
        values: [N] positive measurements, e.g. seconds per step.
        baseline_values: [M] positive measurements of the other side.
        rng: the only source of randomness.
        num_resamples: bootstrap draws.
        level: coverage of the interval, in (0, 1).

    Raises:
        ValueError: if a side is empty, not a vector, or holds a value that is not positive.
    """
    ours_N, theirs_M = _positive(values), _positive(baseline_values)
    estimate = float(np.median(ours_N) / np.median(theirs_M))
    ratios = _medians(ours_N, rng, num_resamples) / _medians(theirs_M, rng, num_resamples)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate=estimate, low=float(low), high=float(high))


def _medians(
    values_N: NDArray[np.float64], rng: np.random.Generator, num_resamples: int
) -> NDArray[np.float64]:
    """[num_resamples] medians of ``values_N`` drawn with replacement."""
    draws = rng.choice(values_N, size=(num_resamples, len(values_N)), replace=True)
    return np.asarray(np.median(draws, axis=1), np.float64)


def _positive(values: ArrayLike) -> NDArray[np.float64]:
    values_N = np.asarray(values, np.float64)
    if values_N.ndim != 1 or len(values_N) == 0 or not bool((values_N > 0).all()):
        raise ValueError("a ratio of medians needs two non-empty vectors of positive numbers")
    return values_N


def _check_rate(rate: float, n: int) -> None:
    if n < 1 or not 0 <= rate <= 1:
        raise ValueError(f"rate {rate} over n = {n}: give a rate in [0, 1] over at least 1 trial")


def _z(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level {level} is no coverage: give a number between 0 and 1, e.g. 0.95")
    return NormalDist().inv_cdf((1 + level) / 2)
