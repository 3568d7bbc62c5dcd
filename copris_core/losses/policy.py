"""The policy loss for responses sampled in stages by several policies (CoPRIS, arXiv 2511.05589).

One function, whose special cases are PPO-clip, GRPO's and DAPO's surrogate. Knows tensors only:
not who sampled a token, how log-probs were joined, or how the batch is spread over devices.

Shapes: B responses, T tokens (padded). Masks are boolean. All other inputs are float.
"""

from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor

from copris_core.losses.aggregation import Aggregate

LOG_RATIO_LIMIT = 20.0
"""Log-ratios are clamped to +- this many nats, so that exp stays finite in every float type."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Trust region of the probability ratio r, with equal bounds in PPO, unequal ones in DAPO."""

    low: float
    """r below ``1 - low`` gets no gradient where the advantage is negative; in (0, 1)."""
    high: float
    """r above ``1 + high`` gets no gradient where the advantage is positive; above 0."""
    dual: float | None = None
    """r above this gets no gradient where the advantage is negative; above 1. None: no bound."""

    def __post_init__(self) -> None:
        """Refuse bounds that do not contain r = 1.

        Raises:
            ValueError: a bound is out of its range.
        """
        if not 0.0 < self.low < 1.0:
            raise ValueError(f"clip low={self.low} must lie in (0, 1); PPO uses 0.2")
        if not self.high > 0.0:
            raise ValueError(f"clip high={self.high} must be above 0; PPO uses 0.2, DAPO 0.28")
        if self.dual is not None and not self.dual > 1.0:
            raise ValueError(f"clip dual={self.dual} must be above 1 or None; verl uses 3.0")


class PolicyLossStats(TypedDict):
    """Scalars over the tokens of the mask, without gradient; 0 for an empty mask."""

    clip_fraction: Tensor
    """Share of tokens whose gradient ``low`` or ``high`` cut."""
    dual_clip_fraction: Tensor
    """Share of tokens whose gradient ``dual`` cut."""
    behaviour_kl: Tensor
    """Mean of -log r: the k1 estimate of KL(behaviour || current), in nats."""


def cross_stage_policy_loss(
    logp_BT: Tensor,
    behaviour_logp_BT: Tensor,
    adv_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip: Clip,
    aggregate: Aggregate,
    is_weight_BT: Tensor | None = None,
) -> tuple[Tensor, PolicyLossStats]:
    """Clipped surrogate whose ratio is taken against the policy that sampled each token.

        L   = -agg_{t in mask} w_t s_t
        s_t = min(r_t A_t, clip(r_t, 1 - low, 1 + high) A_t)    and, where A_t < 0 and dual is set,
        s_t = max(s_t, dual A_t)
        r_t = exp(clamp(log pi_theta(y_t) - log pi_{k(t)}(y_t), -20, 20)),  k(t): t's stage

    Sources: CoPRIS (arXiv 2511.05589) for r_t; PPO (arXiv 1707.06347, eq. 7); dual clip (arXiv
    1912.09729). One stage gives PPO-clip, ``high > low`` DAPO's clip-higher (arXiv 2503.14476,
    eq. 8), pi_theta = pi_k REINFORCE.

    r_t corrects the choice of token t, not of the tokens before it, as in PPO: without clipping the
    expected gradient is the on-policy one if the rest of the response does not change A_t's mean
    (and for any reward if ``is_weight_BT`` carries the product of the other tokens' ratios).

    Args:
        logp_BT: log pi_theta of the sampled tokens; takes the gradient.
        behaviour_logp_BT: the stages' log-probs joined in token order; takes no gradient.
        adv_BT: advantages A, usually one value per row; takes no gradient.
        mask_BT: True where a token is trained. Outside it nothing matters, NaN and -inf included.
        clip: the bounds of r.
        aggregate: token losses -> scalar, see ``aggregation``.
        is_weight_BT: extra weight w of each token (1 if None); takes no gradient.

    Returns:
        The scalar loss and its statistics.
    """
    log_ratio_BT = log_ratio(logp_BT, behaviour_logp_BT, mask_BT)
    ratio_BT = log_ratio_BT.exp()
    surrogate_BT = adv_BT.detach() * pessimistic_ratio(ratio_BT, adv_BT, clip)
    if is_weight_BT is not None:
        surrogate_BT = surrogate_BT * is_weight_BT.detach()
    stats = _statistics(log_ratio_BT.detach(), ratio_BT.detach(), adv_BT, mask_BT, clip)
    return -aggregate(surrogate_BT, mask_BT), stats


def log_ratio(logp_BT: Tensor, behaviour_logp_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """log(pi_theta / pi_behaviour) in [B, T], clamped; 0 outside the mask whatever lies there."""
    difference_BT = logp_BT - behaviour_logp_BT.detach()
    masked_BT = torch.where(mask_BT, difference_BT, 0.0)
    return masked_BT.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def pessimistic_ratio(ratio_BT: Tensor, adv_BT: Tensor, clip: Clip) -> Tensor:
    """The ratio that the surrogate multiplies A with: r kept inside the bound on A's bad side.

    min(r A, clip(r) A) only ever picks the upper bound for A >= 0 and the lower one for A < 0, and
    the dual clip is an upper bound for A < 0, so two clamps say all three with few [B, T] copies.
    """
    bounded_below_BT = ratio_BT.clamp(1 - clip.low, clip.dual)
    return torch.where(adv_BT < 0, bounded_below_BT, ratio_BT.clamp(max=1 + clip.high))


def is_clipped(ratio_BT: Tensor, adv_BT: Tensor, clip: Clip) -> Tensor:
    """Boolean [B, T]: ``low`` or ``high`` cuts this token's gradient."""
    too_high_BT = (adv_BT > 0) & (ratio_BT > 1 + clip.high)
    return too_high_BT | ((adv_BT < 0) & (ratio_BT < 1 - clip.low))


@torch.no_grad()
def _statistics(
    log_ratio_BT: Tensor, ratio_BT: Tensor, adv_BT: Tensor, mask_BT: Tensor, clip: Clip
) -> PolicyLossStats:
    # Counted as booleans, since a sum first copies them as eight bytes each. Outside the mask the
    # log-ratio is 0: no bound cuts there.
    tokens = mask_BT.count_nonzero().clamp(min=1)
    if clip.dual is None:
        dual_fraction = ratio_BT.new_zeros(())
    else:
        dual_fraction = ((adv_BT < 0) & (ratio_BT > clip.dual)).count_nonzero() / tokens
    return PolicyLossStats(
        clip_fraction=is_clipped(ratio_BT, adv_BT, clip).count_nonzero() / tokens,
        dual_clip_fraction=dual_fraction,
        behaviour_kl=-log_ratio_BT.sum() / tokens,
    )
