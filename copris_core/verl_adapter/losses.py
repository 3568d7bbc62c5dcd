"""Our policy loss under verl's names, and what is measured in the actor's own forward pass.

Shapes: B responses of a micro-batch, T response tokens (padded).
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
from verl.workers.utils.padding import no_padding_2_padding

from copris_core.losses.importance import lag_statistics, logprob_gap
from copris_core.losses.policy import Clip, cross_stage_policy_loss
from copris_core.verl_adapter.fields import (
    CURRENT_VERSION,
    SAMPLED_MASK_FIELD,
    STAGE_FIELD,
    VERSION_FIELD,
)

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
        logp_BT = no_padding_2_padding(model_output["log_probs"], data).detach()
        padded = _padded(data, logp_BT.shape[1])
        mask_BT = padded["response_mask"].bool()
        lag_BT = _lags(data, padded, mask_BT)
        sums = lag_statistics(
            logp_BT,
            padded[STAGE_FIELD if STAGE_FIELD in padded else ENGINE_FIELD],
            padded["advantages"],
            mask_BT,
            lag_BT,
            clip=self._clip,
        )
        metrics = {name: Metric("sum", value.item()) for name, value in sums.items()}
        if self._same_weights:
            metrics.update(_gap(logp_BT, data, padded))
        return metrics


def _gap(logp_BT: Tensor, data: TensorDict, padded: dict[str, Tensor]) -> dict[str, Metric]:
    """Over all that was sampled: a rejected token is one whose gap matters most."""
    sampled_BT = padded.get(SAMPLED_MASK_FIELD, padded["response_mask"]).bool()
    fresh_BT = sampled_BT & (_lags(data, padded, sampled_BT) == 0)
    masks = {"logprob_gap": fresh_BT}
    if VERSION_FIELD in padded:
        # Fresh tokens of responses that older policies began: where a kept KV cache would show.
        began_before_B1 = _lags(data, padded, sampled_BT)[:, :1] > 0
        masks["resumed_gap"] = fresh_BT & began_before_B1
    metrics = {}
    for name, mask_BT in masks.items():
        gap = logprob_gap(padded[ENGINE_FIELD], logp_BT, mask_BT)
        metrics[f"{name}/max"] = Metric("max", gap.max_abs.item())
        metrics[f"{name}/abs_sum"] = Metric("sum", gap.sum_abs.item())
        metrics[f"{name}/tokens"] = Metric("sum", gap.tokens.item())
    return metrics


def _padded(data: TensorDict, width: int) -> dict[str, Tensor]:
    """The fields that are measured, each [B, width]; those that a run does not have are absent."""
    needed = (ENGINE_FIELD, "advantages", "response_mask")
    optional = (VERSION_FIELD, STAGE_FIELD, SAMPLED_MASK_FIELD)
    names = [*needed, *(name for name in optional if name in data)]
    padded = data.select(*names).to_padded_tensor()
    return {name: padded[name][:, :width] for name in names}


def _lags(data: TensorDict, padded: dict[str, Tensor], mask_BT: Tensor) -> Tensor:
    """Policy versions between the sampling and the training of each token of the mask."""
    if VERSION_FIELD not in padded:
        return torch.zeros_like(mask_BT, dtype=torch.int64)
    current = tu.get_non_tensor_data(data, CURRENT_VERSION, None)
    return torch.where(mask_BT, current - padded[VERSION_FIELD], 0)
