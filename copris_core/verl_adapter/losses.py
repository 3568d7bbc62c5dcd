"""Our policy loss under verl's names, and what is measured in the actor's own forward pass.

Shapes: B responses of a micro-batch, T response tokens (padded), N response tokens of all of them,
one response after the other.
"""

from collections.abc import Callable
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.trainer.ppo.core_algos import agg_loss, register_policy_loss
from verl.utils import tensordict_utils as tu
from verl.utils.metric import Metric
from verl.workers.config import ActorConfig

from copris_core.losses.importance import lag_statistics, logprob_gap
from copris_core.losses.policy import Clip, cross_stage_policy_loss
from copris_core.verl_adapter.fields import (
    CURRENT_VERSION,
    SAMPLED_MASK_FIELD,
    STAGE_FIELD,
    VERSION_FIELD,
)
from copris_core.verl_adapter.own_method import checked_token_loss, loss_of

ENGINE_FIELD = "rollout_log_probs"
"""verl's name for what the engine reported."""

LossFn = Callable[..., tuple[Tensor, dict[str, Any]]]


@register_policy_loss("cross_stage")
def cross_stage(
    old_log_prob: Tensor,
    log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    loss_agg_mode: str = "token-mean",
    config: ActorConfig | None = None,
    rollout_is_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Any]]:
    """``cross_stage_policy_loss`` with verl's signature and verl's global normalisation."""

    def aggregate(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return agg_loss(loss_BT, mask_BT, loss_agg_mode, **config.global_batch_info)

    loss, stats = cross_stage_policy_loss(
        log_prob,
        old_log_prob,
        advantages,
        response_mask.bool(),
        clip=clip_of(config),
        aggregate=aggregate,
        is_weight_BT=rollout_is_weights,
    )
    return loss, {
        "actor/pg_clipfrac": stats["clip_fraction"].item(),
        "actor/pg_clipfrac_lower": stats["dual_clip_fraction"].item(),
        "actor/ppo_kl": stats["behaviour_kl"].item(),
    }


def register_own_loss(loss_mode: str) -> None:
    """Make the loss that a class of the user's own brings known to verl; no other is touched."""
    token_loss = loss_of(loss_mode)
    if token_loss is None:
        return

    @register_policy_loss(loss_mode)
    def own(
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str = "token-mean",
        config: ActorConfig | None = None,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        mask_BT = response_mask.bool()
        loss_BT = checked_token_loss(
            token_loss(log_prob, old_log_prob.detach(), advantages.detach(), mask_BT), mask_BT
        )
        if rollout_is_weights is not None:
            loss_BT = loss_BT * rollout_is_weights.detach()
        # verl sums loss x mask, and 0 x inf is not 0.
        kept_BT = torch.where(mask_BT, loss_BT, 0.0)
        return agg_loss(kept_BT, mask_BT, loss_agg_mode, **config.global_batch_info), {}


def clip_of(config: ActorConfig) -> Clip:
    """Verl's clip keys as ours; verl's dual clip is always on."""
    return Clip(low=config.clip_ratio_low, high=config.clip_ratio_high, dual=config.clip_ratio_c)


class MeasuredLoss:
    """Any verl actor loss, plus ratios by lag and the engine-trainer gap, at no extra pass.

    The gap compares what the engine reported with what the trainer computes for the same tokens
    under the same weights. That holds for tokens of the current version until the first optimizer
    step of an update; ``begin`` and ``end`` mark that span.
    """

    def __init__(self, loss_fn: LossFn, config: ActorConfig) -> None:
        """Wrap verl's ``loss_fn(model_output=, data=, dp_group=)``."""
        self._loss_fn = loss_fn
        self._clip = clip_of(config)
        self._same_weights = False

    def begin(self) -> None:
        """An update begins: the trainer holds the weights that the engine sampled with."""
        self._same_weights = True

    def end(self) -> None:
        """The optimizer has stepped."""
        self._same_weights = False

    def __call__(
        self, model_output: dict[str, Any], data: TensorDict, dp_group: Any = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """The wrapped loss; its metrics and ours."""
        # A mini-batch that was rejected as a whole has a zero loss, not 0 / 0.
        if tu.get_non_tensor_data(data, "batch_num_tokens", None) == 0:
            tu.assign_non_tensor_data(data, "batch_num_tokens", 1)
        loss, metrics = self._loss_fn(model_output=model_output, data=data, dp_group=dp_group)
        if "rollout_log_probs" in data:
            metrics.update(self._measure(model_output, data))
        return loss, metrics

    @torch.no_grad()
    def _measure(self, model_output: dict[str, Any], data: TensorDict) -> dict[str, Metric]:
        # Without padding: verl's batch comes without, and statistics need no rows.
        length_B = data["responses"].offsets().diff()
        tokens = _flat(data, length_B.tolist())
        logp_N = _of_responses(model_output["log_probs"], data)
        lag_N = _lags(data, tokens)
        sums = lag_statistics(
            logp_N,
            tokens[STAGE_FIELD if STAGE_FIELD in tokens else ENGINE_FIELD],
            tokens["advantages"],
            tokens["response_mask"].bool(),
            lag_N,
            clip=self._clip,
        )
        # In one piece: a read from a GPU waits for all that was asked of it before.
        values = torch.stack(list(sums.values())).tolist()
        metrics = {name: Metric("sum", value) for name, value in zip(sums, values, strict=True)}
        if self._same_weights:
            metrics.update(_gap(logp_N, lag_N, length_B, tokens))
        return metrics


def _gap(
    logp_N: Tensor, lag_N: Tensor, length_B: Tensor, tokens: dict[str, Tensor]
) -> dict[str, Metric]:
    """Over all that was sampled: a rejected token is one whose gap matters most."""
    sampled_N = tokens.get(SAMPLED_MASK_FIELD, tokens["response_mask"]).bool()
    masks = {"logprob_gap": sampled_N & (lag_N == 0)}
    if VERSION_FIELD in tokens:
        # Fresh tokens of responses that older policies began: where a kept KV cache would show.
        length_R = length_B[length_B > 0]
        first_R = length_R.cumsum(dim=0) - length_R
        began_before_R = sampled_N[first_R] & (lag_N[first_R] > 0)
        masks["resumed_gap"] = masks["logprob_gap"] & began_before_R.repeat_interleave(length_R)
    metrics = {}
    for name, mask_N in masks.items():
        gap = logprob_gap(tokens[ENGINE_FIELD], logp_N, mask_N)
        metrics[f"{name}/max"] = Metric("max", gap.max_abs.item())
        metrics[f"{name}/abs_sum"] = Metric("sum", gap.sum_abs.item())
        metrics[f"{name}/tokens"] = Metric("sum", gap.tokens.item())
    return metrics


def _flat(data: TensorDict, lengths: list[int]) -> dict[str, Tensor]:
    """The fields that are measured, each [N]; those that a run does not have are absent."""
    needed = (ENGINE_FIELD, "advantages", "response_mask")
    optional = (VERSION_FIELD, STAGE_FIELD, SAMPLED_MASK_FIELD)
    flat = {}
    for name in (*needed, *(name for name in optional if name in data)):
        value_N = data[name].values()
        if len(value_N) != sum(lengths):
            # A row that verl made up to fill a batch has the field of the row it was copied from.
            rows = zip(data[name].unbind(), lengths, strict=True)
            value_N = torch.cat([row[:length] for row, length in rows])
        flat[name] = value_N
    return flat


def _of_responses(logp: Tensor, data: TensorDict) -> Tensor:
    """[N]; verl's run over prompts too, each entry predicting the token after it."""
    values = logp.values() if logp.is_nested else logp
    lengths = data["responses"].offsets().diff().tolist()
    ends = (data["prompts"].offsets() + data["responses"].offsets())[1:].tolist()
    rows = zip(ends, lengths, strict=True)
    return torch.cat([values[end - length - 1 : end - 1] for end, length in rows])


def _lags(data: TensorDict, tokens: dict[str, Tensor]) -> Tensor:
    """[N] policy versions between sampling and training; of no meaning outside the masks."""
    if VERSION_FIELD not in tokens:
        return torch.zeros_like(tokens["response_mask"])
    current = tu.get_non_tensor_data(data, CURRENT_VERSION, None)
    return current - tokens[VERSION_FIELD]
