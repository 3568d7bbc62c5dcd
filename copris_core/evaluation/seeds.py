"""Error bars over training runs that differ by their seed alone.

Few runs, so Student's t instead of the normal distribution: with n = 2 its 95% factor is 12.7, and
the honest answer is a wide interval. Refuses to know where the numbers came from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from copris_core.evaluation.intervals import LEVEL, Interval

FEWEST = 2
"""Runs below which nothing can be said of their spread."""
MOST_HALVINGS = 200


def mean_interval(values: Sequence[float], *, level: float = LEVEL) -> Interval:
    """Mean of independent runs with Student's t interval.

        mean(x) +- t_{n-1, (1 + level)/2} sd(x, ddof=1) / sqrt(n)

    Student, Biometrika 6 (1908), 1-25.

    Args:
        values: one number a run.
        level: coverage of the interval, in (0, 1).

    Raises:
        ValueError: fewer than two values.
    """
    if len(values) < FEWEST:
        raise ValueError(f"{len(values)} runs have no spread: give {FEWEST} or more")
    mean = fmean(values)
    half = t_quantile(level, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(estimate=mean, low=mean - half, high=mean + half)


def paired_mean(
    values: Sequence[float], baseline: Sequence[float], *, level: float = LEVEL
) -> Interval:
    """Mean of ``values - baseline``, run by run: what the seed does to both sides goes away.

    Args:
        values: one number a run.
        baseline: the other side's, of the same seeds in the same order.
        level: coverage of the interval.

    Raises:
        ValueError: sides of different length, or fewer than two runs.
    """
    return mean_interval([a - b for a, b in zip(values, baseline, strict=True)], level=level)


def paired_ratio(
    values: Sequence[float], baseline: Sequence[float], *, level: float = LEVEL
) -> Interval:
    """Geometric mean of ``values / baseline``, run by run: exp of the t interval of the logs.

    Half as fast and twice as fast are then equally far from 1.

    Raises:
        ValueError: as `paired_mean`, or a value that is not positive.
    """
    if min((*values, *baseline), default=1) <= 0:
        raise ValueError("a ratio of runs needs positive numbers on both sides")
    logs = paired_mean([math.log(x) for x in values], [math.log(x) for x in baseline], level=level)
    return Interval(
        estimate=math.exp(logs.estimate), low=math.exp(logs.low), high=math.exp(logs.high)
    )


def t_quantile(level: float, df: int) -> float:
    """The t with P(|T| <= t) = ``level``, T of Student's distribution with ``df`` degrees.

    Raises:
        ValueError: ``level`` outside (0, 1) or ``df`` below 1.
    """
    if not 0 < level < 1 or df < 1:
        raise ValueError(
            f"level {level}, {df} degrees: give a level in (0, 1) and 1 degree or more"
        )
    low, high = 0.0, math.pi / 2
    for _ in range(MOST_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if _coverage(middle, df) >= level else (middle, high)
    return math.sqrt(df) * math.tan(high)


def _coverage(angle: float, df: int) -> float:
    """P(|T| <= sqrt(df) tan(angle)), exact for whole degrees.

        even df: sin a (1 + 1/2 cos^2 a + (1 3)/(2 4) cos^4 a + ... to cos^(df-2) a)
        odd df:  2/pi (a + sin a (cos a + 2/3 cos^3 a + (2 4)/(3 5) cos^5 a + ... to cos^(df-2) a))

    Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.
    """
    cosine, odd = math.cos(angle), df % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, df - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
