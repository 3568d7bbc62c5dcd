"""Group-relative advantages: how much better a response was than its siblings (GRPO).

Knows rewards and which responses answer the same prompt; not tokens, losses or batches' layout.

Shapes: B responses (rows).
"""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor


def group_ids(keys: Sequence[Hashable]) -> Tensor:
    """Number the groups of ``keys`` (one per row) in order of first appearance: int64 [B]."""
    numbers: dict[Hashable, int] = {}
    return torch.tensor([numbers.setdefault(key, len(numbers)) for key in keys], dtype=torch.int64)


def group_advantages(
    reward_B: Tensor, group_B: Tensor, *, normalise_by_std: bool = True, eps: float = 1e-6
) -> Tensor:
    """Advantages relative to the group's mean (GRPO, arXiv 2402.03300, sec. 4.1.2).

        A_i = (R_i - mean_G R) / (std_G R + eps),   std with the n - 1 divisor
        A_i =  R_i - mean_G R                       without ``normalise_by_std`` (Dr. GRPO,
                                                    arXiv 2503.20783)

    A group of one has no siblings to compare with: mean 0 and std 1 are taken, as verl does, so its
    advantage is its reward (over 1 + eps). A group whose rewards are all equal gets exact zeros.
    Rows may come in any order. Groups must be complete: a missing sibling shifts the mean.

    Args:
        reward_B: float [B], one outcome reward per response.
        group_B: int [B], equal for the responses to one prompt; see ``group_ids``.
        normalise_by_std: divide by the group's standard deviation.
        eps: added to the standard deviation.

    Returns:
        [B] in ``reward_B``'s dtype, without gradient.

    Raises:
        ValueError: the shapes differ, or a reward is not finite.
    """
    _check(reward_B, group_B)
    _, index_B, size_G = torch.unique(group_B, return_inverse=True, return_counts=True)
    reward64_B = reward_B.detach().double()
    # Counted from the group's lowest reward, so that equal rewards give 0 and not a rounding error
    # which the division by eps would make large.
    lowest_G = torch.full_like(size_G, 0, dtype=torch.float64)
    lowest_G = lowest_G.scatter_reduce(0, index_B, reward64_B, "amin", include_self=False)
    lowest_G = torch.where(size_G == 1, 0.0, lowest_G)
    above_B = reward64_B - lowest_G[index_B]
    mean_G = torch.where(size_G == 1, 0.0, _group_sum(above_B, index_B, size_G) / size_G)
    centred_B = above_B - mean_G[index_B]
    if normalise_by_std:
        square_sum_G = _group_sum(centred_B.square(), index_B, size_G)
        std_G = (square_sum_G / (size_G - 1).clamp(min=1)).sqrt()
        std_G = torch.where(size_G == 1, 1.0, std_G)
        centred_B = centred_B / (std_G[index_B] + eps)
    return centred_B.to(reward_B.dtype)


def _group_sum(values_B: Tensor, index_B: Tensor, like_G: Tensor) -> Tensor:
    return torch.zeros_like(like_G, dtype=values_B.dtype).index_add(0, index_B, values_B)


def _check(reward_B: Tensor, group_B: Tensor) -> None:
    if reward_B.ndim != 1 or reward_B.shape != group_B.shape:
        raise ValueError(
            f"reward {tuple(reward_B.shape)} and group {tuple(group_B.shape)} must be one number "
            "per response each: sum token rewards over the response first"
        )
    bad = (~reward_B.isfinite()).nonzero()
    if len(bad):
        row = int(bad[0])
        raise ValueError(
            f"reward of row {row} is {float(reward_B[row])}: the reward function must return a "
            "finite number"
        )
