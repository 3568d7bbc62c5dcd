"""What an engine iteration costs by the number of requests in it, measured.

Refuses to assume a shape but one: more requests never cost less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The iterations of one cell with equally many requests."""

    running: int
    """Requests in the iteration."""
    n: int
    """Iterations."""
    seconds: float
    """Their median seconds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CostCurve:
    """t(r), seconds of an iteration with r requests; non-decreasing, linear in between."""

    running_R: Floats
    """Numbers of requests that were measured, rising."""
    seconds_R: Floats
    """t there."""

    def at(self, running: float) -> float:
        """t(running); outside the measured range that of its end."""
        return float(np.interp(running, self.running_R, self.seconds_R))

    def at_all(self, running_N: NDArray[np.int64]) -> Floats:
        """[N] of the same."""
        return np.interp(running_N, self.running_R, self.seconds_R)

    def per_request(self, width: float) -> float:
        """t(W) / W, seconds of a token when W requests are held; W is cut to what was reached."""
        reached = min(max(width, self.running_R[0]), self.running_R[-1])
        return self.at(reached) / float(reached)

    @property
    def best_width(self) -> float:
        """The measured W of the least t(W) / W."""
        return float(self.running_R[np.argmin(self.seconds_R / self.running_R)])


def curve_points(running_N: NDArray[np.int64], seconds_N: Floats) -> tuple[CurvePoint, ...]:
    """Median seconds for each number of requests; iterations without one are left out."""
    return tuple(
        CurvePoint(
            running=int(running),
            n=int((running_N == running).sum()),
            seconds=float(np.median(seconds_N[running_N == running])),
        )
        for running in np.unique(running_N[running_N > 0])
    )


def fit(points: Iterable[CurvePoint]) -> CostCurve | None:
    """Isotonic regression through the points, weighted by their iterations; None without any.

    Points with equally many requests are averaged first. Pool adjacent violators: Barlow,
    Bartholomew, Bremner and Brunk, Statistical Inference under Order Restrictions (1972), 1.2.
    """
    by_running: dict[int, list[CurvePoint]] = {}
    for point in points:
        by_running.setdefault(point.running, []).append(point)
    if not by_running:
        return None
    blocks: list[tuple[float, float, int]] = []  # weight, mean seconds, levels of running in it
    for running in sorted(by_running):
        weight = float(sum(x.n for x in by_running[running]))
        mean = sum(x.n * x.seconds for x in by_running[running]) / weight
        blocks.append((weight, mean, 1))
        while len(blocks) > 1 and blocks[-2][1] > blocks[-1][1]:
            blocks.append(_pooled(blocks.pop(), blocks.pop()))
    return CostCurve(
        running_R=np.array(sorted(by_running), np.float64),
        seconds_R=np.repeat([mean for _, mean, _ in blocks], [levels for *_, levels in blocks]),
    )


def _pooled(
    one: tuple[float, float, int], other: tuple[float, float, int]
) -> tuple[float, float, int]:
    weight = one[0] + other[0]
    mean = (one[0] * one[1] + other[0] * other[1]) / weight
    return weight, mean, one[2] + other[2]
