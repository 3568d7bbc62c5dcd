"""How far the trained policy is from the policies that sampled, told by lag.

The lag of a token is the number of weight updates between the policy that sampled it and the policy
being trained. Everything comes as sums and counts, never means: micro-batches and ranks then add
up exactly, whatever their sizes, and one division at the end gives the mean.

Knows nothing of segments (it is given a lag per token) or of how ranks talk to each other.

Shapes: B responses, T tokens (padded), scalars without suffix. Masks are boolean.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from copris_core.losses.kl import k3
from copris_core.losses.policy import Clip, is_clipped, log_ratio

LAG_BUCKETS = (0, 1, 2, 3)
"""Lags that are told apart, in policy versions; the last one means "this or more"."""

MEANS = {"ratio_sum": "ratio_mean", "clipped_sum": "clip_fraction", "kl_sum": "kl"}
"""Sum per bucket -> the name of its mean over the bucket's tokens."""


MIN_GAP_TOKENS = 64
"""Fewer tokens than this say nothing about a mean gap: one odd token would end a run."""

GAP_CAUSES = (
    "engine weights not synced",
    "a stale KV or prefix cache",
    "a padded vocabulary or masked ids",
    "different dtypes or kernels",
    "temperature or top-p not applied to the trainer's log-probs",
    "raw instead of processed log-probs",
    "another chat template or tokenizer",
)
"""Why engine and trainer disagree, the likeliest first."""


class LogprobGap(NamedTuple):
    """|engine - trainer| log-prob over tokens both computed with the same weights, in nats."""

    max_abs: Tensor
    """The largest gap; 0 if there are no tokens."""
    sum_abs: Tensor
    """The summed gap."""
    tokens: Tensor
    """How many tokens."""


@torch.no_grad()
def lag_statistics(
    logp_BT: Tensor,
    behaviour_logp_BT: Tensor,
    adv_BT: Tensor,
    mask_BT: Tensor,
    lag_BT: Tensor,
    *,
    clip: Clip,
) -> dict[str, Tensor]:
    """Sums per lag bucket k, as ``lag{k}/{name}`` (float64 scalars; every bucket is present).

    - ``tokens``: how many tokens of the mask have this lag
    - ``ratio_sum``: sum of r, the clamped ratio of the loss
    - ``clipped_sum``: how many tokens have their gradient cut by ``clip.low`` or ``clip.high``
    - ``kl_sum``: sum of r - 1 - log r, the k3 estimate of KL(behaviour || current); at most 10 each

    The arguments are those of ``cross_stage_policy_loss``, and ``lag_BT``: int, >= 0 in the mask.

    Raises:
        ValueError: a token of the mask has a negative lag.
    """
    if bool((mask_BT & (lag_BT < 0)).any()):
        raise ValueError(
            "lag_BT is negative inside the mask: a token claims a policy version newer than the "
            "trained one; pass trained version - sampling version"
        )
    log_ratio_BT = log_ratio(logp_BT, behaviour_logp_BT, mask_BT)
    ratio_BT = log_ratio_BT.exp()
    values = {
        "tokens": torch.ones_like(ratio_BT),
        "ratio_sum": ratio_BT,
        "clipped_sum": is_clipped(ratio_BT, adv_BT, clip),
        "kl_sum": k3(torch.zeros_like(log_ratio_BT), log_ratio_BT),
    }
    bucket_BT = lag_BT.clamp(max=LAG_BUCKETS[-1])
    return {
        f"lag{lag}/{name}": _exact_sum(value_BT, mask_BT & (bucket_BT == lag))
        for lag in LAG_BUCKETS
        for name, value_BT in values.items()
    }


def merge_lag_statistics(parts: Sequence[Mapping[str, Tensor | float]]) -> dict[str, float]:
    """Means per lag over all parts (micro-batches, ranks) of ``lag_statistics``.

    Gives ``lag{k}/ratio_mean``, ``lag{k}/clip_fraction``, ``lag{k}/kl`` and
    ``lag{k}/token_fraction`` (share of all tokens). A bucket without tokens is absent.
    """
    totals: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            totals[name] = totals.get(name, 0.0) + float(value)
    tokens_by_lag = {lag: totals.get(f"lag{lag}/tokens", 0.0) for lag in LAG_BUCKETS}
    merged: dict[str, float] = {}
    for lag, tokens in tokens_by_lag.items():
        if tokens > 0:
            merged[f"lag{lag}/token_fraction"] = tokens / sum(tokens_by_lag.values())
            for sum_name, mean_name in MEANS.items():
                merged[f"lag{lag}/{mean_name}"] = totals[f"lag{lag}/{sum_name}"] / tokens
    return merged


@torch.no_grad()
def logprob_gap(
    engine_logp_BT: Tensor, trainer_logp_BT: Tensor, current_mask_BT: Tensor
) -> LogprobGap:
    """How much the sampling engine and the trainer disagree about the same tokens.

    Args:
        engine_logp_BT: log-probs reported when the tokens were sampled.
        trainer_logp_BT: log-probs of the trainer before it changes the weights.
        current_mask_BT: True for the tokens sampled by the trainer's present version only; older
            tokens differ by the policy update and say nothing about the engine.
    """
    gap_BT = torch.where(current_mask_BT, (engine_logp_BT - trainer_logp_BT).abs(), 0.0)
    return LogprobGap(
        max_abs=gap_BT.max() if gap_BT.numel() else gap_BT.new_zeros(()),
        sum_abs=gap_BT.sum(dtype=torch.float64),
        tokens=current_mask_BT.sum(),
    )


def gap_complaint(mean_abs: float, tokens: int, *, limit: float | None) -> str | None:
    """One line on a gap that no training should go on with; None where there is nothing to say.

    Args:
        mean_abs: mean |engine - trainer| log-prob, in nats; NaN is above every limit.
        tokens: how many tokens it is the mean of; below ``MIN_GAP_TOKENS`` it is not judged.
        limit: the largest mean that is allowed, in nats; None: all are.
    """
    if limit is None or tokens < MIN_GAP_TOKENS or mean_abs <= limit:
        return None
    return (
        f"mean |engine - trainer| log-prob is {mean_abs:.4g} over {tokens} tokens sampled by the "
        f"present weights, above correction.max_logprob_gap={limit:g}. Likely causes: "
        f"{'; '.join(GAP_CAUSES)}"
    )


def _exact_sum(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """In float64, so that a sum of a million ratios still adds up over micro-batches."""
    return torch.where(mask_BT, values_BT, 0.0).sum(dtype=torch.float64)
