"""Least squares for costs: no coefficient is negative, and a hiccup of the machine pulls little."""

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HUBER: Final = 1.345
"""Robust standard deviations beyond which a residual pulls no harder (Huber, 1964)."""

ROUNDS: Final = 12
"""Rounds of reweighting; it settles after a handful."""

TINY: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """y = X w, by relative residuals."""

    weights: tuple[float, ...]
    """w, one for each column, none negative."""
    loss: float
    """Mean Huber loss of the relative residuals, in robust standard deviations of this very fit."""
    median_error: float
    """Median |y / X w - 1|."""


def fit_costs(features_NF: Array, costs_N: Array, *, scale: float | None = None) -> Fit:
    """Fit ``costs = features @ weights`` with weights >= 0, robust against single large costs.

    Args:
        features_NF: what each cost is made of.
        costs_N: seconds, > 0.
        scale: robust standard deviation of the relative residuals; None takes the fit's own.

    Raises:
        ValueError: fewer costs than weights.
    """
    num, width = features_NF.shape
    if num < width:
        raise ValueError(f"{num} measurements are too few for {width} unknown costs")
    importance_N = 1 / np.maximum(costs_N, TINY) ** 2
    for _ in range(ROUNDS):
        weights_F = _non_negative(features_NF, costs_N, importance_N)
        fitted_N = np.maximum(features_NF @ weights_F, TINY)
        relative_N = costs_N / fitted_N - 1
        spread = max(scale or 1.4826 * float(np.median(np.abs(relative_N))), 1e-6)
        distance_N = np.abs(relative_N) / spread
        importance_N = np.minimum(1.0, HUBER / np.maximum(distance_N, TINY)) / fitted_N**2
    inner_N = np.minimum(distance_N, HUBER)
    return Fit(
        weights=tuple(weights_F.tolist()),
        loss=float(np.mean(inner_N * (distance_N - inner_N / 2))) * spread**2,
        median_error=float(np.median(np.abs(relative_N))),
    )


def _non_negative(features_NF: Array, costs_N: Array, importance_N: Array) -> Array:
    """Weighted least squares over the best subset of columns: few columns, so all are tried."""
    width = features_NF.shape[1]
    normal_FF = (features_NF * importance_N[:, None]).T @ features_NF
    right_F = (features_NF * importance_N[:, None]).T @ costs_N
    best_F, best_gain = np.zeros(width), 0.0
    for size in range(1, width + 1):
        for chosen in itertools.combinations(range(width), size):
            part = np.linalg.lstsq(normal_FF[np.ix_(chosen, chosen)], right_F[[*chosen]])[0]
            gain = float(2 * part @ right_F[[*chosen]]) - float(
                part @ normal_FF[np.ix_(chosen, chosen)] @ part
            )
            if part.min() >= 0 and gain > best_gain * (1 + 1e-12):
                best_F, best_gain = np.zeros(width), gain
                best_F[[*chosen]] = part
    return best_F
