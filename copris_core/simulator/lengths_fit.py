"""A lognormal distribution with a cap, fitted to what was measured, and how well it fits.

Measured is either every length, or, of each training step, a few order statistics (p50, p90, p99 of
a batch). Both give pairs (z, log length): where a length stands on the normal scale, and how long
it is. The line through those below the cap is the fit,

    log length = log median + sigma z.

The median of the k-th smallest of n values stands at z = Phi^-1((k - 0.3) / (n + 0.4)) (Benard and
Bos-Levenbach, "The plotting of observations on probability paper", 1953).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Final

import numpy as np

from copris_core.simulator.lengths import LognormalLengths

NORMAL: Final = NormalDist()
PARTS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Quantiles that are shown beside each other."""
GOOD_ERROR: Final = 0.1
"""Relative error of a fitted quantile up to which the fit stands for the lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """One quantile, measured and fitted."""

    part: float
    """Share of the responses that are no longer, 0..1."""
    measured: float
    """In tokens."""
    fitted: float
    """In tokens."""
    chance: float = 0.0
    """Relative standard error of the measured one."""

    @property
    def error(self) -> float:
        """Fitted over measured, less 1."""
        return self.fitted / self.measured - 1

    @property
    def is_good(self) -> bool:
        """Whether the error is small, or no larger than two standard errors."""
        return abs(self.error) <= max(GOOD_ERROR, 2 * self.chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthFit:
    """The fitted distribution and its goodness."""

    lengths: LognormalLengths
    """The fit."""
    num: int
    """Responses that were measured."""
    share_at_cap: float | None
    """Share of them that reached the cap; None where only quantiles are known."""
    quantiles: tuple[Quantile, ...]
    """Measured and fitted, in ascending order."""

    @property
    def fitted_share_at_cap(self) -> float:
        """Share of the responses that reach the cap by the fit."""
        return 1 - _normal_at(self.lengths, self.lengths.cap)

    @property
    def worst_error(self) -> float:
        """Largest relative error of the quantiles, as a positive number."""
        return max(abs(each.error) for each in self.quantiles)

    @property
    def is_good(self) -> bool:
        """Whether no quantile is off by more than `GOOD_ERROR` and chance."""
        return all(each.is_good for each in self.quantiles)


def fit_lengths(
    tokens: Sequence[int], *, cap: int | None = None, groups: Sequence[Sequence[int]] = ()
) -> LengthFit:
    """Fit every length.

    Args:
        tokens: the lengths, in any order.
        cap: the response budget; None takes the longest.
        groups: the lengths by prompt, where that is known; they tell ``prompt_share``.

    Raises:
        ValueError: no length, one below 1 or above the cap, or a cap below the median.
    """
    if not tokens:
        raise ValueError("there are no lengths to fit")
    if min(tokens) < 1:
        raise ValueError(f"a response has at least 1 token, got {min(tokens)}")
    longest = max(tokens)
    cap = longest if cap is None else cap
    if longest > cap:
        raise ValueError(f"a response of {longest} tokens is longer than the cap of {cap}")
    ordered = np.sort(np.asarray(tokens, dtype=np.float64))
    z = [_stand(place, len(ordered)) for place in range(1, len(ordered) + 1)]
    points = [(each_z, log) for each_z, log in zip(z, np.log(ordered).tolist(), strict=True)]
    fitted = _line(points, cap, prompt_share=_shared_variance(groups))
    shown = {part: float(np.quantile(ordered, part)) for part in PARTS}
    at_cap = float(np.mean(ordered >= cap)) if cap > ordered[0] else 1.0
    return LengthFit(
        lengths=fitted,
        num=len(ordered),
        share_at_cap=at_cap,
        quantiles=_beside(fitted, shown, num=len(ordered)),
    )


def fit_batches(batches: Sequence[tuple[int, Mapping[int, float]]], *, cap: int) -> LengthFit:
    """Fit the quantiles of many batches, as metrics.jsonl has them.

    Args:
        batches: of each step the responses n, and by percentile the length of the response number
            min(n - 1, n percentile // 100), counted from 0 in ascending order.
        cap: the response budget.

    Raises:
        ValueError: no batch, or so many reach the cap that the spread cannot be told.
    """
    if not batches:
        raise ValueError("there are no lengths to fit")
    logs: dict[int, list[float]] = {}
    places: dict[int, list[float]] = {}
    for num, lengths in batches:
        for percent, length in lengths.items():
            logs.setdefault(percent, []).append(math.log(max(1.0, length)))
            places.setdefault(percent, []).append(
                _stand(1 + min(num - 1, num * percent // 100), num)
            )
    # Medians, because the cap cuts the longest lengths off and would pull a mean down.
    points = [(median(places[percent]), median(logs[percent])) for percent in sorted(logs)]
    if sum(log < math.log(cap) for _, log in points) < min(2, len(points)):
        raise ValueError(
            f"most steps reach the cap of {cap} tokens below their p90: quantiles do not tell the "
            "spread, give the single lengths"
        )
    fitted = _line(points, cap)
    shown = {NORMAL.cdf(z): math.exp(log) for z, log in points}
    return LengthFit(
        lengths=fitted,
        num=sum(num for num, _ in batches),
        share_at_cap=None,
        quantiles=_beside(fitted, shown),
    )


def _line(
    points: Sequence[tuple[float, float]], cap: int, *, prompt_share: float = 0.0
) -> LognormalLengths:
    """Least squares through (z, log length) below the cap; all at the cap: no spread."""
    below = np.array([(z, log) for z, log in points if log < math.log(cap) - 1e-9])
    if len(below) < 2 or np.ptp(below[:, 1]) < 1e-12:
        middle, sigma = math.exp(below[0, 1]) if len(below) else float(cap), 0.0
    else:
        sigma, log_median = (float(each) for each in np.polyfit(below[:, 0], below[:, 1], 1))
        middle = math.exp(log_median)
    return LognormalLengths(
        median=min(float(cap), max(1.0, middle)), sigma=sigma, cap=cap, prompt_share=prompt_share
    )


def _beside(
    fitted: LognormalLengths, measured: Mapping[float, float], *, num: int | None = None
) -> tuple[Quantile, ...]:
    """Both quantiles; with ``num`` single lengths, the measured one's standard error too.

    d log x_p = sigma sqrt(p (1 - p) / n) / phi(z_p)
    """

    def at(part: float) -> float:
        log = math.log(fitted.median) + fitted.sigma * NORMAL.inv_cdf(part)
        return min(float(fitted.cap), max(1.0, math.exp(log)))

    def chance(part: float) -> float:
        spread = math.sqrt(part * (1 - part) / num) if num else 0.0
        return fitted.sigma * spread / NORMAL.pdf(NORMAL.inv_cdf(part))

    return tuple(
        Quantile(part=part, measured=length, fitted=at(part), chance=chance(part))
        for part, length in measured.items()
    )


def _shared_variance(groups: Sequence[Sequence[int]]) -> float:
    """Share of the variance of the log length between prompts: ICC(1), one-way random effects.

        (MSB - MSW) / (MSB + (k - 1) MSW),  groups of equal size k

    Shrout and Fleiss, "Intraclass Correlations", 1979. 0.0 where there is nothing to tell it from.
    """
    sizes = {len(group) for group in groups}
    if len(groups) < 2 or sizes != {max(sizes)} or sizes == {1}:
        return 0.0
    logs = np.log(np.asarray(groups, dtype=np.float64))
    size = logs.shape[1]
    between = size * float(np.var(logs.mean(axis=1), ddof=1))
    within = float(np.var(logs, axis=1, ddof=1).mean())
    whole = between + (size - 1) * within
    return min(1.0, max(0.0, (between - within) / whole)) if whole else 0.0


def _normal_at(lengths: LognormalLengths, length: float) -> float:
    """Share of the responses below ``length`` by the fit."""
    if not lengths.sigma:
        return float(length > lengths.median)
    return NORMAL.cdf((math.log(length) - math.log(lengths.median)) / lengths.sigma)


def _stand(place: int, num: int) -> float:
    """Where, on the normal scale, the ``place``-th smallest of ``num`` stands, counted from 1."""
    return NORMAL.inv_cdf((place - 0.3) / (num + 0.4))
