"""Estimators of KL(policy || reference) from the log-probs of sampled tokens.

All are elementwise and assume that the tokens were sampled by the policy whose log-probs come
first. k1, k2, k3: J. Schulman, "Approximating KL divergence", joschu.net/blog/kl-approx.html.

Knows nothing of masks or coefficients: mask *before* (a -inf pad has a NaN gradient in k2 and k3),
aggregate after.

Shapes: any, equal; written [B, T] for B responses and T tokens. Units: nats.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

KlEstimator: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``(logp_BT, ref_logp_BT) -> kl_BT``."""

K3_LOG_RATIO_LIMIT = 20.0
"""k3 clamps log(ref / policy) to +- this before exp."""
K3_LIMIT = 10.0
"""k3 clamps its result to +- this: one token's exp must not be the whole batch's penalty."""


def k1(logp_BT: Tensor, ref_logp_BT: Tensor) -> Tensor:
    """``log pi - log ref``: unbiased, of high variance, negative for some tokens."""
    return logp_BT - ref_logp_BT


def absolute(logp_BT: Tensor, ref_logp_BT: Tensor) -> Tensor:
    """``|log pi - log ref|``: a distance, not an estimate of KL."""
    return (logp_BT - ref_logp_BT).abs()


def k2(logp_BT: Tensor, ref_logp_BT: Tensor) -> Tensor:
    """``(log pi - log ref)^2 / 2``: biased, never negative; its mean gradient is KL's."""
    return 0.5 * (logp_BT - ref_logp_BT).square()


def k3(logp_BT: Tensor, ref_logp_BT: Tensor) -> Tensor:
    """``ref/pi - 1 - log(ref/pi)``: unbiased up to the clamps, of low variance, never negative."""
    log_ratio_BT = (ref_logp_BT - logp_BT).clamp(-K3_LOG_RATIO_LIMIT, K3_LOG_RATIO_LIMIT)
    return k3_of_ratio(torch.exp(log_ratio_BT), log_ratio_BT)


def k3_of_ratio(ratio_BT: Tensor, log_ratio_BT: Tensor) -> Tensor:
    """``k3`` where ref/pi and its log, both clamped as there, are at hand: saves the exp."""
    # Not expm1: near 0 it is more exact than the trainer's own k3, and so no longer equal to it.
    kl_BT = ratio_BT - log_ratio_BT - 1
    return kl_BT.clamp(-K3_LIMIT, K3_LIMIT)


ESTIMATORS: Mapping[str, KlEstimator] = MappingProxyType(
    {"kl": k1, "k1": k1, "abs": absolute, "mse": k2, "k2": k2, "low_var_kl": k3, "k3": k3}
)
"""The estimators by the names that configs use; several names mean the same."""


def kl_estimator(name: str) -> KlEstimator:
    """The estimator called ``name`` in a config.

    Raises:
        ValueError: no such estimator.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"unknown KL estimator {name!r}: use one of {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]
