"""Our loss and verl's on one made-up micro-batch, each as verl calls it: what a benchmark runs.

Shapes: B responses, T tokens each (none is padding: the most that a loss can have to do).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.utils import tensordict_utils as tu
from verl.workers.config import ActorConfig
from verl.workers.utils.losses import ppo_loss

from copris_core.verl_adapter.fields import CURRENT_VERSION, VERSION_FIELD
from copris_core.verl_adapter.losses import MeasuredLoss

PROMPT_TOKENS = 16
NOW = 5
"""The version under update; tokens are of this one and of the four before it."""

Run = Callable[[], None]
"""One forward and backward."""


class Pair(NamedTuple):
    """The same work by both."""

    verls: Run
    """verl's own ``vanilla``, unmeasured."""
    ours: Run
    """Our ``cross_stage``."""


def make_pairs(num_responses: int, num_tokens: int, *, device: str = "cpu") -> dict[str, Pair]:
    """What is compared, by name; all on the same float32 numbers.

    - ``loss``: the two policy losses alone, on padded tensors
    - ``loss + measuring``: the same, and on our side all that ``MeasuredLoss`` measures
    - ``actor call``: verl's ``ppo_loss`` from the nested batch, and on our side measured
    """
    data = _micro_batch(num_responses, num_tokens, device)
    logp = data.pop("log_probs")
    return {
        "loss": Pair(
            verls=partial(_step, _padded_loss("vanilla", data), logp, data),
            ours=partial(_step, _padded_loss("cross_stage", data), logp, data),
        ),
        "loss + measuring": Pair(
            verls=partial(_step, _padded_loss("vanilla", data), logp, data),
            ours=partial(_step, _measured(_padded_loss("cross_stage", data)), logp, data),
        ),
        "actor call": Pair(
            verls=partial(_step, partial(ppo_loss, config=_config("vanilla")), logp, data),
            ours=partial(
                _step, _measured(partial(ppo_loss, config=_config("cross_stage"))), logp, data
            ),
        ),
    }


def _step(loss_fn: Callable[..., tuple[Tensor, Any]], logp: Tensor, data: TensorDict) -> None:
    values = logp.values().requires_grad_()
    values.grad = None
    output = {"log_probs": torch.nested.nested_tensor_from_jagged(values, logp.offsets())}
    loss_fn(model_output=output, data=data)[0].backward()
    values.grad = None


def _measured(loss_fn: Callable[..., tuple[Tensor, Any]]) -> MeasuredLoss:
    loss = MeasuredLoss(loss_fn, _config("cross_stage"))
    loss.begin()
    return loss


def _padded_loss(name: str, data: TensorDict) -> Callable[..., tuple[Tensor, Any]]:
    """The registered loss on views of the flat fields: rows are equally long, so none is copied."""
    config = _config(name)
    config.global_batch_info.update(dp_size=1, batch_num_tokens=data["batch_num_tokens"])
    num_responses = data.batch_size[0]
    old_BT, adv_BT, mask_BT = (
        data[field].values().view(num_responses, -1)
        for field in ("old_log_probs", "advantages", "response_mask")
    )
    kept_BT = mask_BT.bool()

    def loss_fn(*, model_output: dict[str, Tensor], **_: Any) -> tuple[Tensor, Any]:
        logp_BS = model_output["log_probs"].values().view(num_responses, -1)
        return get_policy_loss_fn(name)(
            old_log_prob=old_BT,
            log_prob=logp_BS[:, PROMPT_TOKENS - 1 : -1],
            advantages=adv_BT,
            response_mask=kept_BT,
            loss_agg_mode="token-mean",
            config=config,
        )

    return loss_fn


def _config(loss_mode: str) -> ActorConfig:
    return ActorConfig(
        strategy="fsdp",
        rollout_n=1,
        use_dynamic_bsz=True,
        clip_ratio_low=0.2,
        clip_ratio_high=0.28,
        clip_ratio_c=3.0,
        policy_loss={"loss_mode": loss_mode},
    )


def _micro_batch(num_responses: int, num_tokens: int, device: str) -> TensorDict:
    """Log-probs apart enough to meet every bound, versions that rise along each response."""
    draw = partial(torch.randn, num_responses, generator=torch.Generator().manual_seed(0))
    logp_BS = -draw(PROMPT_TOKENS + num_tokens).abs()
    engine_BT = logp_BS[:, PROMPT_TOKENS - 1 : -1] + 0.3 * draw(num_tokens)
    age_BT = torch.arange(num_tokens) * 5 // num_tokens + torch.arange(num_responses)[:, None] % 6
    ids = partial(torch.zeros, num_responses, dtype=torch.int64)
    padded = {
        "log_probs": logp_BS,
        "prompts": ids(PROMPT_TOKENS),
        "responses": ids(num_tokens),
        "response_mask": ids(num_tokens) + 1,
        "rollout_log_probs": engine_BT,
        "old_log_probs": engine_BT + 0.01 * draw(num_tokens),
        "advantages": draw(1).expand(-1, num_tokens),
        VERSION_FIELD: age_BT.clamp(max=NOW),
    }
    data = TensorDict({}, batch_size=[num_responses], device=device)
    for name, value in padded.items():
        data[name] = torch.nested.as_nested_tensor(list(value), layout=torch.jagged)
    counts = {"batch_num_tokens": num_responses * num_tokens, "global_batch_size": num_responses}
    tu.assign_non_tensor(data, dp_size=1, **counts, **{CURRENT_VERSION: NOW})
    return data
