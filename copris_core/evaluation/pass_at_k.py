"""pass@k: the chance that at least one of k samples is right. Refuses to know what was sampled."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Unbiased estimate of pass@k of one prompt.

        pass@k = 1 - C(n - c, k) / C(n, k) = 1 - prod_{i = n-c+1..n} (1 - k / i)

    Chen et al. 2021, arXiv 2107.03374, eq. 1. The product has factors in [0, 1] only, so no
    binomial overflows; where n - c < k some factor is 0 and the estimate exactly 1.

    Args:
        num_samples: n, samples of the prompt.
        num_correct: c, correct ones among them, 0..n.
        k: samples one is allowed, 1..n.

    Raises:
        ValueError: a number out of range.
    """
    if not 1 <= k <= num_samples or not 0 <= num_correct <= num_samples:
        raise ValueError(
            f"pass@{k} of {num_correct} correct among {num_samples} samples: give "
            "1 <= k <= samples and 0 <= correct <= samples"
        )
    if num_samples - num_correct < k:
        return 1.0
    factors = 1.0 - k / np.arange(num_samples - num_correct + 1, num_samples + 1)
    return float(1.0 - np.prod(factors))


def mean_pass_at_k(num_samples: ArrayLike, num_correct: ArrayLike, k: int) -> float:
    """Mean of pass@k over prompts, each prompt counting once.

    Args:
        num_samples: [N] samples of each prompt.
        num_correct: [N] correct ones among them.
        k: samples one is allowed, at most the fewest of any prompt.

    Raises:
        ValueError: no prompt, shapes that differ, or a number out of range.
    """
    samples_N, correct_N = np.asarray(num_samples), np.asarray(num_correct)
    if samples_N.ndim != 1 or samples_N.shape != correct_N.shape or not len(samples_N):
        raise ValueError(
            f"pass@{k} of counts with shapes {samples_N.shape} and {correct_N.shape}: "
            "give two vectors of one length, at least 1"
        )
    each = [pass_at_k(int(n), int(c), k) for n, c in zip(samples_N, correct_N, strict=True)]
    return float(np.mean(each))


def powers_of_two(at_most: int) -> list[int]:
    """1, 2, 4, ... up to ``at_most``: the k that are reported."""
    return [2**power for power in range(max(at_most, 0).bit_length())]
