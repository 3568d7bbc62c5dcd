"""How far the trained policy is from the policies that sampled, told by lag.

The lag of a token is the number of weight updates between the policy that sampled it and the policy
being trained. Everything comes as sums and counts, never means: micro-batches and ranks then add
up exactly, whatever their sizes, and one division at the end gives the mean.

Knows nothing of segments (it is given a lag per token) or of how ranks talk to each other.

Shapes: B responses, T tokens (padded), scalars without suffix. Masks are boolean.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from copris_core.losses.kl import k3_of_ratio
from copris_core.losses.policy import LOG_RATIO_LIMIT, Clip, is_clipped

LAG_BUCKETS = (0, 1, 2, 3)
"""Lags that are told apart, in policy versions; the last one means "this or more"."""

MEANS = {"ratio_sum": "ratio_mean", "clipped_sum": "clip_fraction", "kl_sum": "kl"}
"""Sum per bucket -> the name of its mean over the bucket's tokens."""

CHUNK_TOKENS = 2**16
"""How many tokens are measured at a time on a CPU."""
LANES = 16
"""How many places a bucket's tokens are added to in turn, a power of two; see ``_places``."""
PLACES = (len(LAG_BUCKETS) + 1) * LANES
"""Of all buckets, and of one more for what is outside the mask."""

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
    totals = logp_BT.new_zeros(4, PLACES, dtype=torch.float64)
    for chunk in _chunks(logp_BT, behaviour_logp_BT, adv_BT, mask_BT, lag_BT):
        _add(totals, *chunk, clip=clip)
    unclipped, clipped, ratio, kl = totals.view(4, -1, LANES).sum(dim=-1)
    sums = {
        "tokens": unclipped + clipped,
        "ratio_sum": ratio,
        "clipped_sum": clipped,
        "kl_sum": kl,
    }
    return {f"lag{lag}/{name}": each[lag] for lag in LAG_BUCKETS for name, each in sums.items()}


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
    total = LogprobGap(
        max_abs=trainer_logp_BT.new_zeros(()),
        sum_abs=trainer_logp_BT.new_zeros((), dtype=torch.float64),
        tokens=current_mask_BT.new_zeros((), dtype=torch.int64),
    )
    for engine_N, trainer_N, mask_N in _chunks(engine_logp_BT, trainer_logp_BT, current_mask_BT):
        gap_N = torch.where(mask_N, (engine_N - trainer_N).abs_(), 0.0)
        total = LogprobGap(
            max_abs=torch.maximum(total.max_abs, gap_N.max()),
            sum_abs=total.sum_abs + gap_N.sum(dtype=torch.float64),
            tokens=total.tokens + mask_N.count_nonzero(),
        )
    return total


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


def _chunks(*values_BT: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The tensors side by side, flat, a chunk of each at a time; none if they are empty.

    On a CPU the temporaries then stay in its cache, and peak memory at that of the loss. Elsewhere
    one chunk is all, since starting many kernels takes longer than their work.
    """
    num_tokens = values_BT[0].numel()
    if not num_tokens:
        return ()
    size = CHUNK_TOKENS if values_BT[0].device.type == "cpu" else num_tokens
    return zip(*(torch.split(each_BT.flatten(), size) for each_BT in values_BT), strict=True)


def _add(
    totals: Tensor,
    logp_N: Tensor,
    behaviour_logp_N: Tensor,
    adv_N: Tensor,
    mask_N: Tensor,
    lag_N: Tensor,
    *,
    clip: Clip,
) -> None:
    """Add N tokens to float64 [4, PLACES]: unclipped and clipped ones, their ratios, their KL."""
    place_N = _places(lag_N, mask_N)
    # Not the loss's log_ratio(): what is outside the mask is summed apart, so nothing need be 0.
    log_ratio_N = (logp_N - behaviour_logp_N).clamp_(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    ratio_N = log_ratio_N.exp()
    clipped_N = is_clipped(ratio_N, adv_N, clip)
    counts = torch.bincount(place_N.add(clipped_N, alpha=PLACES), minlength=2 * PLACES)
    totals[:2] += counts.view(2, -1)
    totals[2].index_add_(0, place_N, ratio_N.double())
    totals[3].index_add_(0, place_N, k3_of_ratio(ratio_N, log_ratio_N).double())


def _places(lag_N: Tensor, mask_N: Tensor) -> Tensor:
    """int32 [N] in 0..PLACES - 1: where each token is added; the last bucket is nobody's.

    A bucket has several places, taken in turn, because neighbours mostly have the same lag: added
    to one place, each would have to wait for the one before.
    """
    bucket_N = torch.where(mask_N, lag_N.clamp(max=LAG_BUCKETS[-1]), len(LAG_BUCKETS)).int()
    if bucket_N.min() < 0:
        raise ValueError(
            "lag_BT is negative inside the mask: a token claims a policy version newer than the "
            "trained one; pass trained version - sampling version"
        )
    lane_N = torch.arange(len(lag_N), dtype=torch.int32, device=lag_N.device)
    return bucket_N.mul_(LANES).add_(lane_N.bitwise_and_(LANES - 1))
