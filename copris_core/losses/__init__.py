"""Losses and their statistics as pure functions of tensors.

This room knows torch and nothing else: no trainer, no engine, no config file, no rollout.
"""

from copris_core.losses.aggregation import (
    Aggregate,
    make_aggregate,
    masked_mean,
    masked_sum,
    seq_mean_token_mean,
    seq_mean_token_sum,
    seq_mean_token_sum_norm,
    token_mean,
    token_sum,
)
from copris_core.losses.correction import (
    LEVELS,
    effective_sample_fraction,
    importance_weights,
    rejected,
    rejected_fraction,
    truncated,
    weight_statistics,
)
from copris_core.losses.importance import (
    LAG_BUCKETS,
    MIN_GAP_TOKENS,
    LogprobGap,
    gap_complaint,
    lag_statistics,
    logprob_gap,
    merge_lag_statistics,
)
from copris_core.losses.kl import KlEstimator, kl_estimator
from copris_core.losses.policy import Clip, PolicyLossStats, cross_stage_policy_loss

__all__ = [
    "LAG_BUCKETS",
    "LEVELS",
    "MIN_GAP_TOKENS",
    "Aggregate",
    "Clip",
    "KlEstimator",
    "LogprobGap",
    "PolicyLossStats",
    "cross_stage_policy_loss",
    "effective_sample_fraction",
    "gap_complaint",
    "importance_weights",
    "kl_estimator",
    "lag_statistics",
    "logprob_gap",
    "make_aggregate",
    "masked_mean",
    "masked_sum",
    "merge_lag_statistics",
    "rejected",
    "rejected_fraction",
    "seq_mean_token_mean",
    "seq_mean_token_sum",
    "seq_mean_token_sum_norm",
    "token_mean",
    "token_sum",
    "truncated",
    "weight_statistics",
]
