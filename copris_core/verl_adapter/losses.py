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
from copris_core.verl_adapter.fields import CURRENT_VERSION, VERSION_FIELD

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
        loss, metrics = self._loss_fn(model_output=model_output, data=data, dp_group=dp_group)
        if "rollout_log_probs" in data:
            metrics.update(self._measure(model_output, data))
        return loss, metrics

    @torch.no_grad()
    def _measure(self, model_output: dict[str, Any], data: TensorDict) -> dict[str, Metric]:
        logp_BT = no_padding_2_padding(model_output["log_probs"], data).detach()
        engine_logp_BT, adv_BT, mask_BT, lag_BT = _padded_inputs(data, logp_BT.shape[1])
        sums = lag_statistics(logp_BT, engine_logp_BT, adv_BT, mask_BT, lag_BT, clip=self._clip)
        metrics = {name: Metric("sum", value.item()) for name, value in sums.items()}
        if self._same_weights:
            gap = logprob_gap(engine_logp_BT, logp_BT, mask_BT & (lag_BT == 0))
            metrics["logprob_gap/max"] = Metric("max", gap.max_abs.item())
            metrics["logprob_gap/abs_sum"] = Metric("sum", gap.sum_abs.item())
            metrics["logprob_gap/tokens"] = Metric("sum", gap.tokens.item())
        return metrics


def _padded_inputs(data: TensorDict, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Engine log-probs, advantages, mask and lag, each [B, width]."""
    fields = ["rollout_log_probs", "advantages", "response_mask"]
    has_versions = VERSION_FIELD in data
    padded = data.select(*fields, *([VERSION_FIELD] if has_versions else [])).to_padded_tensor()
    engine_logp_BT, adv_BT, mask_BT = (padded[name][:, :width] for name in fields)
    mask_BT = mask_BT.bool()
    if has_versions:
        current = tu.get_non_tensor_data(data, CURRENT_VERSION, None)
        version_BT = padded[VERSION_FIELD][:, :width]
        lag_BT = torch.where(mask_BT, current - version_BT, 0)
    else:
        lag_BT = torch.zeros_like(mask_BT, dtype=torch.int64)
    return engine_logp_BT, adv_BT, mask_BT, lag_BT
