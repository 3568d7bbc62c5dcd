"""Response lengths in a few numbers, and whether the trained ones are a fair sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Lengths of some responses, in tokens; None where there are too few."""

    n: int
    """Responses."""
    mean: float | None
    """Mean length."""
    stderr: float | None
    """Standard error of the mean."""
    p50: float | None
    """Median."""
    p90: float | None
    """Length that one in ten exceeds."""


@dataclass(frozen=True, kw_only=True)
class Bias:
    """How much longer the trained responses are than all finished ones."""

    tokens: float
    """Mean length trained minus mean length finished."""
    stderr: float | None
    """Standard error of ``tokens``; None where either part has fewer than two responses."""


def describe(lengths: Sequence[int]) -> Lengths:
    """The numbers of some lengths."""
    if not lengths:
        return Lengths(n=0, mean=None, stderr=None, p50=None, p90=None)
    p50, p90 = np.quantile(lengths, (0.5, 0.9))
    variance = _variance_of_mean(lengths)
    return Lengths(
        n=len(lengths),
        mean=float(np.mean(lengths)),
        stderr=None if variance is None else variance**0.5,
        p50=float(p50),
        p90=float(p90),
    )


def bias(*, trained: Sequence[int], finished: Sequence[int]) -> Bias | None:
    """Compare the trained responses with all that finished; None where nothing was trained.

    The trained are part of the finished, so the difference of means is written with the rest R:
        mean(T) - mean(F) = |R| / |F| (mean(T) - mean(R)),  F = T + R
    whose standard error is |R| / |F| sqrt(var(T) / |T| + var(R) / |R|): T and R share no response.
    """
    if not trained or not finished:
        return None
    rest = list((Counter(finished) - Counter(trained)).elements())
    tokens = float(np.mean(trained)) - float(np.mean(finished))
    if not rest:
        return Bias(tokens=tokens, stderr=0.0)
    parts = _variance_of_mean(trained), _variance_of_mean(rest)
    if parts[0] is None or parts[1] is None:
        return Bias(tokens=tokens, stderr=None)
    share = len(rest) / len(finished)
    return Bias(tokens=tokens, stderr=share * (parts[0] + parts[1]) ** 0.5)


def _variance_of_mean(lengths: Sequence[int]) -> float | None:
    if len(lengths) < 2:
        return None
    return float(np.var(lengths, ddof=1)) / len(lengths)
