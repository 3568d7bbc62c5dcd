"""Importance weights and rejection for tokens that another policy than the present one sampled.

Everything is a function of one log-ratio per token, d = log pi_now - log pi_behaviour. What the two
policies are is the caller's choice; nothing here takes a gradient.

Shapes: B responses, T tokens (padded). Masks are boolean; what lies outside them never matters, not
even NaN.
"""

from typing import Final

import torch
from torch import Tensor

from copris_core.losses.aggregation import masked_mean, masked_sum
from copris_core.losses.policy import LOG_RATIO_LIMIT

LEVELS: Final = ("token", "sequence")
"""What a weight or a rejection is taken over: each token alone, or a response as a whole."""


@torch.no_grad()
def importance_weights(log_ratio_BT: Tensor, mask_BT: Tensor, *, level: str) -> Tensor:
    """Raw importance weights [B, T]; 0 outside the mask.

        token      w_bt = exp(clamp(d_bt, -20, 20))
        sequence   w_bt = exp(clamp(sum_t d_bt, -20, 20)), the same on every token of a response

    ``sequence`` is the importance weight of the whole response, so it corrects what ``token`` does
    not: how likely the tokens before and after are. Its variance grows with the length.

    Raises:
        ValueError: unknown level.
    """
    _check_level(level)
    exponent_BT = torch.where(mask_BT, log_ratio_BT, 0.0)
    if level == "sequence":
        exponent_BT = exponent_BT.sum(dim=-1, keepdim=True).expand_as(log_ratio_BT)
    weight_BT = exponent_BT.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
    return torch.where(mask_BT, weight_BT, 0.0)


@torch.no_grad()
def truncated(weight_BT: Tensor, *, threshold: float) -> Tensor:
    """``min(w, threshold)``: truncated importance sampling (Ionides 2008, JCGS 17(2), eq. 3).

    The truncated estimate of E_now[f] is off by exactly ``-sum_y max(0, now(y) - threshold *
    behaviour(y)) f(y)``, for a variance that no weight above the threshold can blow up.
    """
    return weight_BT.clamp(max=threshold)


@torch.no_grad()
def rejected(log_ratio_BT: Tensor, mask_BT: Tensor, *, level: str, above: float) -> Tensor:
    """Boolean [B, T]: the tokens of the mask that are too far off to train on.

        token      |d_bt| > above
        sequence   |mean_t d_bt| > above, all tokens of the response

    The mean, not the sum: a sum grows with the length, and would reject long responses for being
    long. NaN counts as too far off.

    Raises:
        ValueError: unknown level.
    """
    _check_level(level)
    if level == "sequence":
        mean_B = masked_mean(log_ratio_BT, mask_BT, dim=-1)
        log_ratio_BT = mean_B[:, None].expand_as(log_ratio_BT)
    return mask_BT & ~(log_ratio_BT.abs() <= above)


@torch.no_grad()
def effective_sample_fraction(weight_N: Tensor) -> Tensor:
    """Kish's effective sample size as a share of N: ``(sum w)^2 / (N sum w^2)``; 0 without weights.

    1 if all weights are equal, 1/N if one carries everything.
    """
    weight_N = weight_N.double()
    square = weight_N.square().sum() * weight_N.numel()
    return torch.where(square > 0, weight_N.sum().square() / square.clamp(min=1e-300), 0.0)


@torch.no_grad()
def weight_statistics(
    raw_BT: Tensor, mask_BT: Tensor, *, level: str, threshold: float
) -> dict[str, float]:
    """What truncation did, over the tokens of the mask or over the responses that have one.

    - ``weight_mean``: mean of the truncated weights; 1 in expectation if none is truncated
    - ``weight_max``: the largest weight before truncation, at most e^20
    - ``truncated_fraction``: share of the weights above ``threshold``
    - ``ess_fraction``: ``effective_sample_fraction`` of the truncated weights

    Args:
        raw_BT: what ``importance_weights`` gives.
        mask_BT: the sampled tokens, at least one.
        level: the level of the weights.
        threshold: the bound of ``truncated``.

    Raises:
        ValueError: unknown level.
    """
    _check_level(level)
    # On the sequence level every token of a row carries the row's weight, so its largest is it.
    raw_N = raw_BT[mask_BT] if level == "token" else raw_BT.amax(dim=-1)[mask_BT.any(dim=-1)]
    weight_N = truncated(raw_N.double(), threshold=threshold)
    return {
        "weight_mean": weight_N.mean().item(),
        "weight_max": raw_N.max().item(),
        "truncated_fraction": (raw_N > threshold).double().mean().item(),
        "ess_fraction": effective_sample_fraction(weight_N).item(),
    }


def rejected_fraction(rejected_BT: Tensor, mask_BT: Tensor) -> float:
    """Share of the tokens of ``mask_BT`` that are rejected; 0 if there are none."""
    return (masked_sum(rejected_BT.double(), mask_BT) / mask_BT.sum().clamp(min=1)).item()


def _check_level(level: str) -> None:
    if level not in LEVELS:
        raise ValueError(f"unknown level {level!r}: use one of {', '.join(LEVELS)}")
