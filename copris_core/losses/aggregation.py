"""How a matrix of token losses becomes the one scalar that is differentiated.

The gradient must not depend on how a batch is cut into micro-batches and ranks, so each maker takes
the *global* counts: a rank's micro-batch contributes its share, and the shares add up to the mean
over the whole batch once the ranks' gradients are averaged (hence ``* dp_size``). Without global
counts the micro-batch's own counts are used, which is right for one rank and one micro-batch only.

Knows nothing of policies, advantages or where the counts come from.

Shapes: B responses, T tokens (padded). Masks are boolean; what lies outside them never matters,
not even NaN, and an all-False mask gives a finite zero.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Aggregate: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``(loss_BT, mask_BT) -> scalar``, linear in ``loss_BT``."""

Count: TypeAlias = int | Tensor
"""How many tokens or responses; a tensor when the number was all-reduced on the device."""

MODES = (
    "token-mean",
    "token-sum",
    "seq-mean-token-sum",
    "seq-mean-token-mean",
    "seq-mean-token-sum-norm",
)
"""The names ``make_aggregate`` knows."""


def masked_sum(values_BT: Tensor, mask_BT: Tensor, *, dim: int | None = None) -> Tensor:
    """Sum of ``values_BT`` where ``mask_BT`` is True, over everything or along ``dim``."""
    return torch.where(mask_BT, values_BT, 0.0).sum(dim=dim)


def masked_mean(values_BT: Tensor, mask_BT: Tensor, *, dim: int | None = None) -> Tensor:
    """Mean of ``values_BT`` where ``mask_BT`` is True; 0 where nothing is."""
    return masked_sum(values_BT, mask_BT, dim=dim) / mask_BT.sum(dim=dim).clamp(min=1)


def token_mean(*, batch_num_tokens: Count | None = None, dp_size: int = 1) -> Aggregate:
    """Every token of the batch counts the same (DAPO, arXiv 2503.14476, eq. 8).

        dp_size * sum_{b,t} l_bt / batch_num_tokens

    Raises:
        ValueError: ``dp_size > 1`` without ``batch_num_tokens``.
    """
    _need_global_count(batch_num_tokens, name="batch_num_tokens", dp_size=dp_size)

    def aggregate(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
        tokens = mask_BT.sum() if batch_num_tokens is None else batch_num_tokens
        return masked_sum(loss_BT, mask_BT) / _at_least_one(tokens) * dp_size

    return aggregate


def token_sum(*, dp_size: int = 1) -> Aggregate:
    """The plain sum over the tokens of the batch: ``dp_size * sum_{b,t} l_bt``."""

    def aggregate(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return masked_sum(loss_BT, mask_BT) * dp_size

    return aggregate


def seq_mean_token_sum(*, global_batch_size: Count | None = None, dp_size: int = 1) -> Aggregate:
    """Mean over responses of each one's summed loss: ``dp_size / responses * sum_b sum_t l_bt``.

    Without ``global_batch_size`` the responses that have a token in the mask are counted.

    Raises:
        ValueError: ``dp_size > 1`` without ``global_batch_size``.
    """
    _need_global_count(global_batch_size, name="global_batch_size", dp_size=dp_size)

    def aggregate(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
        responses = _responses(mask_BT) if global_batch_size is None else global_batch_size
        return masked_sum(loss_BT, mask_BT) / _at_least_one(responses) * dp_size

    return aggregate


def seq_mean_token_mean(*, global_batch_size: Count | None = None, dp_size: int = 1) -> Aggregate:
    """Mean over responses of each one's mean loss (GRPO, arXiv 2402.03300, eq. 3).

        dp_size / responses * sum_b (sum_t l_bt / tokens_b)

    Raises:
        ValueError: ``dp_size > 1`` without ``global_batch_size``.
    """
    _need_global_count(global_batch_size, name="global_batch_size", dp_size=dp_size)

    def aggregate(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
        responses = _responses(mask_BT) if global_batch_size is None else global_batch_size
        return masked_mean(loss_BT, mask_BT, dim=-1).sum() / _at_least_one(responses) * dp_size

    return aggregate


def seq_mean_token_sum_norm(
    *,
    global_batch_size: Count | None = None,
    loss_scale_factor: float | None = None,
    dp_size: int = 1,
) -> Aggregate:
    """``seq_mean_token_sum`` divided by a constant length (Dr. GRPO, arXiv 2503.20783).

    Without ``loss_scale_factor`` the padded width T is the constant, so it then changes with the
    longest response of the micro-batch.

    Raises:
        ValueError: ``dp_size > 1`` without ``global_batch_size``.
    """
    unscaled = seq_mean_token_sum(global_batch_size=global_batch_size, dp_size=dp_size)

    def aggregate(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
        scale = mask_BT.shape[-1] if loss_scale_factor is None else loss_scale_factor
        return unscaled(loss_BT, mask_BT) / scale

    return aggregate


def make_aggregate(
    mode: str,
    *,
    dp_size: int = 1,
    batch_num_tokens: Count | None = None,
    global_batch_size: Count | None = None,
    loss_scale_factor: float | None = None,
) -> Aggregate:
    """The aggregate that a trainer names ``mode``; the counts a mode has no use for are ignored.

    Raises:
        ValueError: unknown mode, or ``dp_size > 1`` without the global count the mode divides by.
    """
    match mode:
        case "token-mean":
            return token_mean(batch_num_tokens=batch_num_tokens, dp_size=dp_size)
        case "token-sum":
            return token_sum(dp_size=dp_size)
        case "seq-mean-token-sum":
            return seq_mean_token_sum(global_batch_size=global_batch_size, dp_size=dp_size)
        case "seq-mean-token-mean":
            return seq_mean_token_mean(global_batch_size=global_batch_size, dp_size=dp_size)
        case "seq-mean-token-sum-norm":
            return seq_mean_token_sum_norm(
                global_batch_size=global_batch_size,
                loss_scale_factor=loss_scale_factor,
                dp_size=dp_size,
            )
    raise ValueError(f"unknown loss aggregation {mode!r}: use one of {', '.join(MODES)}")


def _need_global_count(count: Count | None, *, name: str, dp_size: int) -> None:
    if count is None and dp_size > 1:
        raise ValueError(f"{name} is needed when dp_size > 1 (got dp_size={dp_size}): pass it")


def _responses(mask_BT: Tensor) -> Tensor:
    return mask_BT.any(dim=-1).sum()


def _at_least_one(count: Count) -> Count:
    return count.clamp(min=1) if isinstance(count, Tensor) else max(count, 1)
