"""The door: command line and YAML in, a verified config out.

``compose`` reads, ``parse`` types, ``derive`` works out what follows for verl. None of them
changes what it is given, and nothing behind the door reads YAML again.
"""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from copris_core.losses.policy import Clip
from copris_core.pruning import PruningConfig
from copris_core.verl_adapter.config import (
    BatchPlan,
    ClipChoice,
    CorrectionConfig,
    PlatformChoice,
    PolicyChoice,
    ProlongedChoice,
    PruningChoice,
    RunConfig,
    StalenessConfig,
    StrategyConfig,
    TaskChoice,
)
from copris_core.verl_adapter.correction_config import VERLS_OWN
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.hub_model import find_model
from copris_core.verl_adapter.overrides import compose
from copris_core.verl_adapter.own_method import own_method
from copris_core.verl_adapter.park_check import parks
from copris_core.verl_adapter.prolonged_config import (
    filter_choice,
    prolonged_choice,
    shaping_choice,
)
from copris_core.verl_adapter.reading import number, optional, text

ROLLOUT: Final = "actor_rollout_ref.rollout"
PACKAGED: Final = ("tiny_days", "tiny_prorl")
"""Policies whose weights ship with the package, in assets/."""

__all__ = ["compose", "derive", "enter", "parse"]


def enter(overrides: Sequence[str] = ()) -> tuple[DictConfig, RunConfig]:
    """Compose, parse and derive: the config for verl and the typed choices.

    Raises:
        ConfigError: an override or a value is wrong, or two choices contradict each other.
    """
    cfg = compose(overrides)
    run = parse(cfg)
    return derive(cfg, run), run


def parse(cfg: DictConfig) -> RunConfig:
    """Turn a composed config into typed choices.

    Raises:
        ConfigError: a value is missing, of the wrong type, or contradicts another.
    """
    strategy = _strategy(cfg)
    pruning = _pruning(cfg)
    run_dir = optional(cfg, "run.dir", str)
    return RunConfig(
        experiment_name=text(cfg, "experiment_name"),
        seed=number(cfg, "seed"),
        run_root=Path(text(cfg, "run.root")).expanduser(),
        run_dir=None if run_dir is None else Path(run_dir).expanduser(),
        record_trajectories=bool(optional(cfg, "run.record_trajectories", bool)),
        engine_log=bool(optional(cfg, "run.engine_log", bool)),
        weight_sync_timeout_s=number(cfg, "run.weight_sync_timeout_s"),
        strategy=strategy,
        staleness=StalenessConfig(
            max_lag=optional(cfg, "staleness.max_lag", int),
            when_exceeded=text(cfg, "staleness.when_exceeded"),
        ),
        correction=_correction(cfg),
        pruning=pruning,
        clip=_clip(cfg),
        group_filter=filter_choice(cfg),
        shaping=shaping_choice(cfg),
        prolonged=prolonged_choice(cfg),
        method=own_method(cfg),
        task=_task(cfg),
        policy=_policy(cfg),
        platform=PlatformChoice(
            name=text(cfg, "platform.name"),
            devices=number(cfg, "platform.devices"),
            nodes=number(cfg, "platform.nodes"),
            ray_address=optional(cfg, "platform.ray_address", str),
        ),
        plan=_plan(cfg, strategy, pruning),
    )


def _strategy(cfg: DictConfig) -> StrategyConfig:
    return StrategyConfig(
        name=text(cfg, "strategy.name"),
        concurrency=optional(cfg, "strategy.concurrency", int),
        oversample_factor=optional(cfg, "strategy.oversample_factor", float),
        limit=optional(cfg, "strategy.limit", str),
        staleness_cap=optional(cfg, "strategy.staleness_cap", float),
        resume_kv=optional(cfg, "strategy.resume_kv", str),
        park=optional(cfg, "strategy.park", bool),
    )


def _correction(cfg: DictConfig) -> CorrectionConfig:
    for key, default in VERLS_OWN.items():
        value = OmegaConf.select(cfg, f"algorithm.rollout_correction.{key}")
        if value != default:
            raise ConfigError(
                f"algorithm.rollout_correction.{key}={value} is left to the group correction: "
                "use correction=none|cross_stage|stage|decoupled and correction.reject, or "
                "remove it"
            )
    return CorrectionConfig(
        name=text(cfg, "correction.name"),
        level=optional(cfg, "correction.level", str),
        threshold=optional(cfg, "correction.threshold", float),
        reject=text(cfg, "correction.reject"),
        reject_above=optional(cfg, "correction.reject_above", float),
        max_logprob_gap=optional(cfg, "correction.max_logprob_gap", float),
        allow_truncated_sampling=bool(optional(cfg, "correction.allow_truncated_sampling", bool)),
    )


def _pruning(cfg: DictConfig) -> PruningChoice:
    name, options = text(cfg, "pruning.name"), OmegaConf.to_container(cfg.pruning, resolve=True)
    settings: dict[str, Any] = {k: v for k, v in options.items() if k != "name" and v is not None}
    try:
        rule = PruningConfig(**settings) if "pruning_rate" in settings else None
    except ValueError as error:
        raise ConfigError(f"pruning.{error}") from error
    if rule is None and settings:
        raise ConfigError(
            f"pruning.{next(iter(settings))} needs pruning=cppo: add it, or remove it"
        )
    return PruningChoice(name=name, rule=rule)


def _clip(cfg: DictConfig) -> ClipChoice:
    low, high = optional(cfg, "clip.low", float), optional(cfg, "clip.high", float)
    if low is None or high is None:
        raise ConfigError("clip.low and clip.high are needed: PPO uses 0.2 for both")
    try:
        bounds = Clip(low=low, high=high, dual=optional(cfg, "clip.dual", float))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return ClipChoice(name=text(cfg, "clip.name"), bounds=bounds)


def _task(cfg: DictConfig) -> TaskChoice:
    options: Any = OmegaConf.to_container(cfg.task, resolve=True)
    return TaskChoice(name=options.pop("name"), options=options)


def _policy(cfg: DictConfig) -> PolicyChoice:
    name, path = text(cfg, "policy.name"), optional(cfg, "policy.path", str)
    if path is not None:
        place, hub_id = find_model(path)
        return PolicyChoice(name=name, path=place, hub_id=hub_id, architecture=_architecture(cfg))
    if name not in PACKAGED:
        raise ConfigError(f"policy={name} needs policy.path=FOLDER with config.json and weights")
    asset = resources.files("copris_core") / "assets" / name
    return PolicyChoice(name=name, path=Path(str(asset)))


def _architecture(cfg: DictConfig) -> dict[str, Any]:
    section: Any = OmegaConf.to_container(cfg.policy, resolve=True)
    return section.get("architecture") or {}


def _plan(cfg: DictConfig, strategy: StrategyConfig, pruning: PruningChoice) -> BatchPlan:
    asked, group_size = number(cfg, "data.train_batch_size"), number(cfg, f"{ROLLOUT}.n")
    if asked < 1 or group_size < 1:
        raise ConfigError(
            f"data.train_batch_size={asked}, {ROLLOUT}.n={group_size}: set both to 1 or more"
        )
    prompts = pruning.drawn_prompts(asked)
    return BatchPlan(
        prompts=prompts,
        group_size=group_size,
        trained_rows=pruning.trained_rows(prompts, group_size),
        mini_batches=number(cfg, "mini_batches"),
        epochs=number(cfg, "actor_rollout_ref.actor.ppo_epochs"),
        steps=number(cfg, "trainer.total_training_steps"),
        devices=number(cfg, "platform.devices") * number(cfg, "platform.nodes"),
        concurrency=strategy.in_flight(prompts, group_size),
        refills=strategy.name == "copris",
    )


def derive(cfg: DictConfig, run: RunConfig) -> DictConfig:
    """A new config in which everything that follows from the choices is filled in for verl."""
    return OmegaConf.merge(
        cfg,
        {
            "algorithm": {
                "rollout_correction": {"bypass_mode": run.correction.anchors_on_behaviour}
            },
            "data": {
                "train_batch_size": run.plan.prompts,
                # A group that is filtered is replaced by one prompt.
                **({"gen_batch_size": 1} if run.group_filter else {}),
            },
            "strategy": {"park": parks(run, cfg) if run.strategy.is_partial else None},
            "policy": {"path": str(run.policy.path)},
            "actor_rollout_ref": {
                "model": {"path": str(run.policy.path)},
                "actor": _actor(cfg, run),
                "ref": _log_prob_micro_batch(cfg, run, "ref"),
                "rollout": _rollout(cfg, run),
            },
        },
    )


def _actor(cfg: DictConfig, run: RunConfig) -> dict[str, Any]:
    clip = run.clip.bounds
    asked = number(cfg, "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu")
    return {
        **_held_to_reference(run.prolonged),
        **({"policy_loss": {"loss_mode": run.method.loss_mode}} if _brings_loss(run) else {}),
        # verl counts a mini-batch in prompts and multiplies by n itself.
        "ppo_mini_batch_size": run.plan.groups_per_mini_batch,
        "ppo_micro_batch_size_per_gpu": run.plan.micro_batch(at_most=asked),
        "clip_ratio": clip.low,
        "clip_ratio_low": clip.low,
        "clip_ratio_high": clip.high,
        "clip_ratio_c": clip.dual,
    }


def _brings_loss(run: RunConfig) -> bool:
    return run.method is not None and run.method.has_loss


def _held_to_reference(chosen: ProlongedChoice) -> dict[str, Any]:
    """KL and entropy terms of the loss, as they begin."""
    kl = {"kl_loss_coef": chosen.kl_coefficient, "kl_loss_type": chosen.kl_estimator}
    entropy = chosen.entropy
    return {
        "use_kl_loss": chosen.kl is not None,
        **(kl if chosen.kl is not None else {}),
        **({} if entropy is None else {"entropy_coeff": entropy.initial}),
    }


def _rollout(cfg: DictConfig, run: RunConfig) -> dict[str, Any]:
    length = number(cfg, "data.max_prompt_length") + number(cfg, "data.max_response_length")
    plan = run.plan
    most = run.strategy.most_in_flight(plan.prompts, plan.group_size) or plan.in_flight
    max_num_seqs = max(number(cfg, f"{ROLLOUT}.max_num_seqs"), most)
    return {
        "max_model_len": optional(cfg, f"{ROLLOUT}.max_model_len", int) or length,
        # A request the engine does not take waits there, where the gate cannot see it.
        "max_num_seqs": max_num_seqs,
        # An adaptive limit lives on the engine's statistics.
        **({"disable_log_stats": False} if run.strategy.is_adaptive else {}),
        **_log_prob_micro_batch(cfg, run, "rollout"),
    }


def _log_prob_micro_batch(cfg: DictConfig, run: RunConfig, section: str) -> dict[str, int]:
    key = "log_prob_micro_batch_size_per_gpu"
    asked = number(cfg, f"actor_rollout_ref.{section}.{key}")
    return {key: run.plan.micro_batch(at_most=asked)}
