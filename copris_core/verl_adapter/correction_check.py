"""What ``copris check`` refuses and notes about the correction: ratios that would not be ratios.

This file refuses to change anything.
"""

from collections.abc import Iterator
from typing import Final

from omegaconf import DictConfig

from copris_core.verl_adapter.config import RunConfig
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.reading import optional, text

ROLLOUT: Final = "actor_rollout_ref.rollout"
ACTOR: Final = "actor_rollout_ref.actor"
FULL_SAMPLING: Final = {"top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0}
"""What sampling from the policy itself is; verl 0.9.1 hands the engine no other such setting."""


def refuse_correction(run: RunConfig, cfg: DictConfig) -> None:
    """Refuse a ratio that is biased, has nothing to be taken against, or would do nothing.

    Raises:
        ConfigError: see above.
    """
    if text(cfg, f"{ACTOR}.policy_loss.loss_mode") == "bypass_mode":
        raise ConfigError(
            f"{ACTOR}.policy_loss.loss_mode=bypass_mode takes its own correction: use "
            "loss_mode=cross_stage and the group correction"
        )
    if run.correction.name == "stage" and not run.strategy.is_partial:
        raise ConfigError(
            f"correction=stage does nothing with strategy={run.strategy.name}: every token is of "
            "the present stage; use correction=none, or strategy=copris"
        )
    if run.correction.takes_ratio:
        _refuse_biased_ratio(run, cfg)
        _refuse_missing_log_probs(run, cfg)
    _refuse_counted_rejects(run, cfg)


def correction_notes(run: RunConfig, cfg: DictConfig) -> Iterator[str]:
    """What is allowed but odd or costly about the correction, one sentence each."""
    cut = _truncations(cfg)
    if cut:
        yield (
            f"{_told(cut)}: the engine's log-probs are of what was left to sample from, so "
            "ratios and logprob_gap carry a bias; correction.max_logprob_gap may end the run"
        )
    if run.correction.rejects and run.correction.anchors_on_behaviour:
        yield (
            f"correction.reject={run.correction.reject} needs the log-probs of the policy of the "
            "update: a forward pass over the trained responses"
        )
    if run.correction.name == "stage":
        yield (
            "correction=stage forwards every response that got a token: about "
            f"{run.plan.samples} finished and {run.plan.in_flight} unfinished ones a step"
        )


def _refuse_biased_ratio(run: RunConfig, cfg: DictConfig) -> None:
    """Truncated sampling renormalises what the engine sampled with; the trainer does not."""
    cut = _truncations(cfg)
    if cut and not run.correction.allow_truncated_sampling:
        mends = " ".join(f"{ROLLOUT}.{key}={FULL_SAMPLING[key]:g}" for key in cut)
        raise ConfigError(
            f"{_named(run)} with {_told(cut)} has a biased ratio: set {mends}, use "
            "correction=none, or accept it with correction.allow_truncated_sampling=true"
        )
    mode, temperature = (
        text(cfg, f"{ROLLOUT}.logprobs_mode"),
        optional(cfg, f"{ROLLOUT}.temperature", float),
    )
    if mode != "processed_logprobs" and temperature != 1.0:
        raise ConfigError(
            f"{_named(run)} with temperature={temperature} and {ROLLOUT}.logprobs_mode={mode} has "
            "a wrong ratio, the trainer applies the temperature: remove logprobs_mode"
        )


def _refuse_missing_log_probs(run: RunConfig, cfg: DictConfig) -> None:
    if not optional(cfg, f"{ROLLOUT}.calculate_log_probs", bool):
        raise ConfigError(
            f"{_named(run)} needs {ROLLOUT}.calculate_log_probs=true: the ratio is taken "
            "against the engine's log-probs"
        )


def _refuse_counted_rejects(run: RunConfig, cfg: DictConfig) -> None:
    """Verl's means over sequences divide by all rows of a mini-batch, trained on or not."""
    mode = text(cfg, f"{ACTOR}.loss_agg_mode")
    if run.correction.reject == "sequence" and mode.startswith("seq-mean"):
        raise ConfigError(
            f"correction.reject=sequence with {ACTOR}.loss_agg_mode={mode} would count rejected "
            "responses as zeros: use token-mean, or correction.reject=token"
        )


def _truncations(cfg: DictConfig) -> dict[str, float]:
    """The settings that make the engine sample from something else than the policy."""
    values = {key: optional(cfg, f"{ROLLOUT}.{key}", float) for key in FULL_SAMPLING}
    return {key: x for key, x in values.items() if x is not None and x != FULL_SAMPLING[key]}


def _told(settings: dict[str, float]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _named(run: RunConfig) -> str:
    """The choice that takes a ratio: rejection where the correction itself takes none."""
    choice = run.correction
    if choice.name == "none":
        return f"correction.reject={choice.reject}"
    return f"correction={choice.name}"
