"""Every public tensor function of the pure core, called once on inputs of any device and dtype.

Shapes: B responses, T tokens (padded), G responses a prompt.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import torch
from torch import Tensor

from copris_core.advantages import group_advantages, group_ids
from copris_core.losses import aggregation, correction, importance, kl, policy
from copris_core.methods import CPPO, SampledBatch
from copris_core.pruning import PruningConfig, kept_completions
from copris_core.staleness import staleness_metrics

MODULES = (
    *("losses.aggregation", "losses.correction", "losses.importance", "losses.kl"),
    *("losses.policy", "advantages", "pruning", "staleness", "filtering", "methods"),
)

CLIP = policy.Clip(low=0.2, high=0.28, dual=3.0)

STEPS = (0.0, 0.0625, -0.0625, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0)
"""Log-ratios whose exp lies far from every bound of ``CLIP``, so that rounding flips no clip."""

Outputs = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """One batch; the same numbers in every dtype."""

    logp_BT: Tensor
    """Takes the gradient."""
    behaviour_BT: Tensor
    """Differs by one of ``STEPS``."""
    adv_BT: Tensor
    """One value a row, multiples of 1/8."""
    positive_BT: Tensor
    """Token losses without cancellation, in (0, 2]."""
    mask_BT: Tensor
    """Boolean; rows end at different places, and one row is empty."""
    lag_BT: Tensor
    """int, 0..5."""
    reward_B: Tensor
    """Multiples of 1/8."""
    group_B: Tensor
    """int, G rows each."""

    @property
    def d_BT(self) -> Tensor:
        """Log-ratio without gradient."""
        return (self.logp_BT - self.behaviour_BT).detach()


def draw(*, rows: int, tokens: int, device: str, dtype: torch.dtype) -> Inputs:
    """Numbers that bf16 holds exactly: multiples of 1/16 below 4, of 1/8 below 16."""
    rng = torch.Generator().manual_seed(7)
    behaviour_BT = -torch.randint(1, 33, (rows, tokens), generator=rng) / 16
    step_BT = torch.tensor(STEPS)[torch.randint(len(STEPS), (rows, tokens), generator=rng)]
    lengths_B = torch.randint(1, tokens + 1, (rows,), generator=rng)
    lengths_B[rows // 2] = 0
    real = {
        "logp_BT": behaviour_BT + step_BT,
        "behaviour_BT": behaviour_BT,
        "adv_BT": (torch.randint(-16, 17, (rows, 1), generator=rng) / 8).expand(rows, tokens),
        "positive_BT": torch.randint(1, 17, (rows, tokens), generator=rng) / 8,
        "reward_B": torch.randint(0, 17, (rows,), generator=rng) / 8,
    }
    whole = {
        "mask_BT": torch.arange(tokens) < lengths_B[:, None],
        "lag_BT": torch.randint(0, 6, (rows, tokens), generator=rng),
        "group_B": torch.arange(rows) // 4,
    }
    there = {name: value.to(device, dtype) for name, value in real.items()}
    there["logp_BT"] = there["logp_BT"].clone().requires_grad_()
    return Inputs(**there, **{name: value.to(device) for name, value in whole.items()})


def _loss(x: Inputs, aggregate: aggregation.Aggregate, *, weighted: bool) -> Outputs:
    loss, stats = policy.cross_stage_policy_loss(
        x.logp_BT,
        x.behaviour_BT,
        x.adv_BT,
        x.mask_BT,
        clip=CLIP,
        aggregate=aggregate,
        is_weight_BT=x.positive_BT if weighted else None,
    )
    (gradient_BT,) = torch.autograd.grad(loss, x.logp_BT)
    return {"loss": loss, "gradient": gradient_BT, **stats}


def _differentiated(x: Inputs, values_BT: Tensor) -> Outputs:
    masked_BT = torch.where(x.mask_BT, values_BT, 0.0)
    (gradient_BT,) = torch.autograd.grad(masked_BT.sum(), x.logp_BT)
    return {"values": masked_BT, "gradient": gradient_BT}


def _ratios(x: Inputs) -> Tensor:
    return x.d_BT.exp()


def _weights(x: Inputs, level: str) -> Tensor:
    return correction.importance_weights(x.d_BT, x.mask_BT, level=level)


def _lags(x: Inputs) -> dict[str, Tensor]:
    return importance.lag_statistics(
        x.logp_BT, x.behaviour_BT, x.adv_BT, x.mask_BT, x.lag_BT, clip=CLIP
    )


def _keys(x: Inputs) -> list[str]:
    return [f"row {row}" for row in range(len(x.reward_B))]


def _pruned(x: Inputs) -> Outputs:
    config = PruningConfig(pruning_rate=0.5)
    kept = kept_completions(x.adv_BT[:, 0], x.group_B, _keys(x), config=config, seed=0)
    return {"kept": torch.tensor(kept.kept), "zero": kept.num_zero_variance_groups}


def _method(x: Inputs) -> Outputs:
    batch = SampledBatch(
        step=1,
        keys=_keys(x),
        uids=[str(group) for group in x.group_B.tolist()],
        reward_B=x.reward_B,
        length_B=x.mask_BT.sum(dim=-1),
    )
    method = CPPO(config=PruningConfig(pruning_rate=0.5), normalise_by_std=True, seed=0)
    chosen = method.on_batch_sampled(batch)
    return {"kept": torch.tensor(chosen.kept), "adv": chosen.adv_B, **chosen.metrics}


def _aggregated(name: str, **counts: Any) -> Callable[[Inputs], Outputs]:
    def call(x: Inputs) -> Outputs:
        tensors = {key: value.to(x.mask_BT.device) for key, value in counts.items()}
        return {"loss": getattr(aggregation, name)(**tensors)(x.positive_BT, x.mask_BT)}

    return call


COUNT = torch.tensor(48)

CASES: dict[str, Callable[[Inputs], Outputs]] = {
    "losses.aggregation.masked_sum": lambda x: {
        "all": aggregation.masked_sum(x.positive_BT, x.mask_BT),
        "rows": aggregation.masked_sum(x.positive_BT, x.mask_BT, dim=-1),
    },
    "losses.aggregation.masked_mean": lambda x: {
        "all": aggregation.masked_mean(x.positive_BT, x.mask_BT),
        "rows": aggregation.masked_mean(x.positive_BT, x.mask_BT, dim=-1),
    },
    "losses.aggregation.token_mean": _aggregated("token_mean", batch_num_tokens=COUNT),
    "losses.aggregation.token_sum": _aggregated("token_sum"),
    "losses.aggregation.seq_mean_token_sum": _aggregated(
        "seq_mean_token_sum", global_batch_size=COUNT
    ),
    "losses.aggregation.seq_mean_token_mean": _aggregated("seq_mean_token_mean"),
    "losses.aggregation.seq_mean_token_sum_norm": _aggregated("seq_mean_token_sum_norm"),
    "losses.aggregation.make_aggregate": lambda x: {
        mode: aggregation.make_aggregate(mode)(x.positive_BT, x.mask_BT)
        for mode in aggregation.MODES
    },
    "losses.correction.importance_weights": lambda x: {
        level: _weights(x, level) for level in correction.LEVELS
    },
    "losses.correction.truncated": lambda x: {
        "weights": correction.truncated(_weights(x, "token"), threshold=2.0)
    },
    "losses.correction.rejected": lambda x: {
        "token": correction.rejected(x.d_BT, x.mask_BT, level="token", above=0.75),
        "sequence": correction.rejected(x.d_BT, x.mask_BT, level="sequence", above=0.3),
    },
    "losses.correction.effective_sample_fraction": lambda x: {
        "fraction": correction.effective_sample_fraction(_ratios(x).flatten())
    },
    "losses.correction.weight_statistics": lambda x: correction.weight_statistics(
        _weights(x, "token"), x.mask_BT, level="token", threshold=2.0
    ),
    "losses.correction.rejected_fraction": lambda x: {
        "fraction": correction.rejected_fraction(
            correction.rejected(x.d_BT, x.mask_BT, level="token", above=0.75), x.mask_BT
        )
    },
    "losses.importance.lag_statistics": _lags,
    "losses.importance.merge_lag_statistics": lambda x: importance.merge_lag_statistics(
        [_lags(x), _lags(x)]
    ),
    "losses.importance.logprob_gap": lambda x: importance.logprob_gap(
        x.behaviour_BT, x.logp_BT, x.mask_BT
    )._asdict(),
    "losses.kl.k1": lambda x: _differentiated(x, kl.k1(x.logp_BT, x.behaviour_BT)),
    "losses.kl.absolute": lambda x: _differentiated(x, kl.absolute(x.logp_BT, x.behaviour_BT)),
    "losses.kl.k2": lambda x: _differentiated(x, kl.k2(x.logp_BT, x.behaviour_BT)),
    "losses.kl.k3": lambda x: _differentiated(x, kl.k3(x.logp_BT, x.behaviour_BT)),
    "losses.kl.k3_of_ratio": lambda x: {"kl": kl.k3_of_ratio(_ratios(x), x.d_BT)},
    "losses.kl.kl_estimator": lambda x: {
        name: kl.kl_estimator(name)(x.logp_BT, x.behaviour_BT).detach() for name in kl.ESTIMATORS
    },
    "losses.policy.cross_stage_policy_loss": lambda x: {
        f"{mode} {name}": value
        for mode in aggregation.MODES
        for name, value in _loss(x, aggregation.make_aggregate(mode), weighted=True).items()
    },
    "losses.policy.log_ratio": lambda x: _differentiated(
        x, policy.log_ratio(x.logp_BT, x.behaviour_BT, x.mask_BT)
    ),
    "losses.policy.pessimistic_ratio": lambda x: {
        "ratio": policy.pessimistic_ratio(_ratios(x), x.adv_BT, CLIP)
    },
    "losses.policy.is_clipped": lambda x: {
        "clipped": policy.is_clipped(_ratios(x), x.adv_BT, CLIP)
    },
    "advantages.group_ids": lambda x: {"ids": group_ids(x.group_B.tolist())},
    "advantages.group_advantages": lambda x: {
        f"by std {by_std}": group_advantages(x.reward_B, x.group_B, normalise_by_std=by_std)
        for by_std in (True, False)
    },
    "pruning.kept_completions": _pruned,
    "staleness.staleness_metrics": lambda x: staleness_metrics(
        list(x.lag_BT.sort(dim=-1).values), current_version=5
    ),
    "methods.CPPO": _method,
}
"""Name below ``copris_core`` -> a call; what it gives is compared name by name."""


def tensor_functions() -> Iterator[str]:
    """Names of all public functions that take or give tensors, and of methods of a recipe."""
    for module_name in MODULES:
        module = importlib.import_module(f"copris_core.{module_name}")
        for name, found in vars(module).items():
            if name.startswith("_") or getattr(found, "__module__", "") != module.__name__:
                continue
            if inspect.isfunction(found) and "Tensor" in str(get_type_hints(found)):
                yield f"{module_name}.{name}"
            if hasattr(found, "on_batch_sampled") and not getattr(found, "_is_protocol", False):
                yield f"{module_name}.{name}"
