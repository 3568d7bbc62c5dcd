"""What ``copris check`` says of DAPO's and ProRL's choices, and what it refuses."""

from collections.abc import Iterator, Sequence

from omegaconf import DictConfig

from copris_core.evaluation.validation import domain_names
from copris_core.tasks import Row
from copris_core.verl_adapter.config import RunConfig
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.reading import number, optional
from copris_core.verl_adapter.reference_check import refuse_reference_reset
from copris_core.verl_adapter.reward import compute_score


def refuse_prolonged(run: RunConfig, cfg: DictConfig) -> None:
    """Refuse what cannot be carried out.

    Raises:
        ConfigError: the mend in one line.
    """
    if run.prolonged.reset is not None:
        refuse_reference_reset(cfg)
        if run.prolonged.reset.validation is not None:
            _refuse_blind_trigger(cfg)
    if run.group_filter is not None and run.plan.group_size < 2:
        raise ConfigError(
            "group_filter: a group of 1 has no spread: raise actor_rollout_ref.rollout.n, or "
            "group_filter=none"
        )
    if run.shaping is not None:
        _refuse_unshaped(cfg)


def _refuse_unshaped(cfg: DictConfig) -> None:
    """Rewards that do not come from our verifiers are taken as they are."""
    manager, path = cfg.reward.reward_manager.name, cfg.reward.custom_reward_function.path
    if manager != "naive":
        raise ConfigError(
            f"reward_shaping and reward.reward_manager.name={manager} both shape the reward: set "
            "reward_shaping=none, or remove the reward manager"
        )
    if path != f"pkg://{compute_score.__module__}":
        raise ConfigError(
            "reward_shaping shapes what a task says, not "
            f"reward.custom_reward_function.path={path}: set reward_shaping=none, or remove that"
        )


def refuse_other_domains(run: RunConfig, validation_rows: Sequence[Row]) -> None:
    """Refuse weights for other domains than the validation has.

    Raises:
        ConfigError: see above.
    """
    reset = run.prolonged.reset
    trigger = None if reset is None else reset.validation
    if trigger is None or trigger.weights is None:
        return
    domains = domain_names(sorted({row.data_source for row in validation_rows})).values()
    if set(trigger.weights) != set(domains):
        raise ConfigError(
            f"reference_reset.weights is for {', '.join(sorted(map(str, trigger.weights)))}, the "
            f"validation has {', '.join(sorted(domains))}: set one weight for each of these"
        )


def _refuse_blind_trigger(cfg: DictConfig) -> None:
    if number(cfg, "trainer.test_freq") < 1:
        raise ConfigError(
            "reference_reset.window looks at validations that are never made: set "
            "trainer.test_freq to 1 or more"
        )


def prolonged_lines(run: RunConfig) -> Iterator[str]:
    """What was chosen; nothing when nothing was."""
    named = {
        "group filter": _of_filter(run),
        "reward": _of_shaping(run),
        "KL": _of_kl(run),
        "reference": _of_reset(run),
        "entropy": None
        if run.prolonged.entropy is None
        else f"bonus from {run.prolonged.entropy.initial:g}, follows the trend",
        "length": None
        if run.prolonged.length is None
        else f"{run.prolonged.length.minimum} to {run.prolonged.length.maximum} tokens",
    }
    yield from (f"{name:<15}{text}" for name, text in named.items() if text is not None)


def _of_filter(run: RunConfig) -> str | None:
    chosen = run.group_filter
    if chosen is None:
        return None
    then = "are trained" if chosen.when_exceeded == "keep" else "end the run"
    most = chosen.max_batches * run.plan.prompts
    return f"groups without spread are replaced; after {most} groups in a step they {then}"


def _of_shaping(run: RunConfig) -> str | None:
    chosen = run.shaping
    if chosen is None:
        return None
    parts = []
    if chosen.overlong_share is not None:
        parts.append(f"up to -{chosen.overlong_penalty:g} in the last {chosen.overlong_share:.0%}")
    if chosen.truncated_factor is not None:
        parts.append(f"times {chosen.truncated_factor:g} when cut off")
    if chosen.cosine_weight is not None:
        parts.append(f"plus {chosen.cosine_weight:g} x cosine of the length when correct")
    return ", ".join(parts) or "as scored"


def _of_kl(run: RunConfig) -> str | None:
    chosen = run.prolonged
    if chosen.kl is None:
        return None
    target = "" if isinstance(chosen.kl, float) else f", target {chosen.kl.target:g} nats a token"
    return f"{chosen.kl_estimator} in the loss, coefficient {chosen.kl_coefficient:g}{target}"


def _of_reset(run: RunConfig) -> str | None:
    chosen = run.prolonged.reset
    if chosen is None:
        return None
    when = []
    if chosen.interval is not None:
        when.append(f"every {chosen.interval} steps")
    if chosen.kl_above is not None:
        when.append(f"KL above {chosen.kl_above:g}")
    if chosen.validation is not None:
        when.append(f"validation worse or stalled over {chosen.validation.window}")
    also = " with the optimizer" if chosen.reset_optimizer else ""
    return f"reset{also}: {', or '.join(when)}; {chosen.min_spacing} steps apart at least"


def prolonged_notes(run: RunConfig, cfg: DictConfig) -> Iterator[str]:
    """What one might not expect."""
    rule, reset = run.pruning.rule, run.prolonged.reset
    if run.group_filter is not None and rule is not None and rule.zero_variance == "drop":
        yield (
            "group_filter leaves pruning.zero_variance=drop nothing to drop but what "
            "group_filter.when_exceeded=keep lets through"
        )
    if reset is not None and reset.validation is not None:
        every = number(cfg, "trainer.test_freq")
        validations = run.total_steps // every
        if validations < reset.validation.window:
            yield (
                f"{validations} validations in this run are fewer than reference_reset.window="
                f"{reset.validation.window}: lower trainer.test_freq={every}"
            )
    if (
        reset is not None
        and optional(cfg, "trainer.save_freq", int) == -1
        and run.total_steps > 100
    ):
        yield "no checkpoints (trainer.save_freq=-1): a prolonged run that dies starts over"
