"""Intervals around means over prompts, by resampling the prompts.

Prompts are what is drawn from the world; the samples of one prompt are not independent of each
other, so they stay together. Refuses to know what is averaged; randomness is passed in.

Shapes: P prompts, M measures, R resamples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from copris_core.evaluation.intervals import LEVEL, Interval

Floats = NDArray[np.float64]

CHUNK = 4_000_000
"""Numbers of the largest array that is made at once."""


def bootstrap_means(values_PM: Floats, *, rng: np.random.Generator, resamples: int) -> Floats:
    """Means of each measure over prompts drawn with replacement.

        mean_rm = 1/P sum_i count_ri values_im,   count_r ~ Multinomial(P, 1/P)

    Efron, Annals of Statistics 7 (1979), 1-26. All measures of a row see the same prompts.

    Args:
        values_PM: one row a prompt.
        rng: the only source of randomness.
        resamples: R, 1 or more.

    Returns:
        [R, M] means.

    Raises:
        ValueError: no prompt, or no resample.
    """
    num_prompts = len(values_PM)
    if num_prompts == 0 or resamples < 1:
        raise ValueError(
            f"a bootstrap of {num_prompts} prompts with {resamples} resamples: give 1 or more of "
            "both"
        )
    at_once = max(1, CHUNK // num_prompts)
    parts = [
        _counts(num_prompts, min(at_once, resamples - start), rng) @ values_PM
        for start in range(0, resamples, at_once)
    ]
    return np.asarray(np.concatenate(parts) / num_prompts, np.float64)


def percentile_interval(estimate: float, draws_R: Floats, *, level: float = LEVEL) -> Interval:
    """The middle ``level`` of the draws; it always holds the estimate.

    Efron & Tibshirani, An Introduction to the Bootstrap (1993), section 13.3. It has no width
    where all prompts agree: that is no proof that the next prompt will.
    """
    low, high = np.quantile(draws_R, [(1 - level) / 2, (1 + level) / 2])
    # Where all draws are the estimate, rounding may put them beside it.
    return Interval(
        estimate=estimate, low=min(estimate, float(low)), high=max(estimate, float(high))
    )


def mean_intervals(
    values_PM: Floats, *, rng: np.random.Generator, resamples: int
) -> list[Interval]:
    """Mean of each measure over prompts, with its percentile interval; errors of the above."""
    draws_RM = bootstrap_means(values_PM, rng=rng, resamples=resamples)
    return [
        percentile_interval(float(mean), draws_R)
        for mean, draws_R in zip(values_PM.mean(axis=0), draws_RM.T, strict=True)
    ]


def _counts(num_prompts: int, resamples: int, rng: np.random.Generator) -> Floats:
    """[R, P] how often each prompt is drawn."""
    drawn_RP = rng.integers(num_prompts, size=(resamples, num_prompts))
    drawn_RP += num_prompts * np.arange(resamples)[:, None]
    counts = np.bincount(drawn_RP.ravel(), minlength=resamples * num_prompts)
    return counts.reshape(resamples, num_prompts).astype(np.float64)
