"""``copris check``: what a run would do, said before anything starts, and what it may not do.

Reads the rows and looks at the model folder, so that a bad file costs seconds, not a start of the
stack. This file refuses to change anything.
"""

from collections.abc import Iterator
from typing import Final

from omegaconf import DictConfig

from copris_core.tasks import Row, get_task
from copris_core.tasks.code_task import NAME as CODE
from copris_core.tasks.code_verdict import sandbox_trouble
from copris_core.tasks.task import HubUnreachable
from copris_core.verl_adapter.config import ConfigError, RunConfig, TaskChoice
from copris_core.verl_adapter.correction_check import correction_notes, refuse_correction
from copris_core.verl_adapter.keep_check import keep_notes, refuse_keep
from copris_core.verl_adapter.loggers import logger_lines, refuse_loggers
from copris_core.verl_adapter.memory_check import memory_lines
from copris_core.verl_adapter.model_check import model_notes, refuse_model
from copris_core.verl_adapter.nodes_check import joining_notes, refuse_verls_address
from copris_core.verl_adapter.park_check import park_notes
from copris_core.verl_adapter.prolonged_check import (
    prolonged_lines,
    prolonged_notes,
    refuse_other_domains,
    refuse_prolonged,
)
from copris_core.verl_adapter.reading import optional, text

CUSTOM: Final = "custom"
ROLLOUT: Final = "actor_rollout_ref.rollout"
ACTOR: Final = "actor_rollout_ref.actor"
NOTE: Final = "[yellow]note[/yellow]           "
MUCH_STALENESS: Final = 1.0
"""Interruptions per response above which most tokens are older than the policy they train."""


def check(run: RunConfig, cfg: DictConfig) -> list[str]:
    """Refuse what cannot work, and say what would happen.

    Args:
        run: the typed choices.
        cfg: the derived config.

    Returns:
        Lines with rich markup.

    Raises:
        ConfigError: two choices contradict each other, or a file is missing.
        TaskDataError: a data file is missing or malformed; the message names the line.
    """
    _refuse_given_files(cfg)
    refuse_loggers(cfg)
    refuse_verls_address(cfg)
    model = refuse_model(run, cfg)
    refuse_correction(run, cfg)
    refuse_keep(run, cfg)
    refuse_prolonged(run, cfg)
    _refuse_unsafe_checkpoints(cfg)
    _refuse_lost_advantages(run, cfg)
    rows, not_here = _rows_line(run)
    memory, too_much = memory_lines(run, cfg, model)
    return [
        *_choices(run),
        *prolonged_lines(run),
        *logger_lines(cfg),
        rows,
        *_arithmetic(run),
        *memory,
        *_warnings(run, cfg),
        *(f"{NOTE}{note}" for note in [*model_notes(run), *not_here, *too_much]),
    ]


def _rows_line(run: RunConfig) -> tuple[str, list[str]]:
    """How many rows there are, and what is not known of them; refuses rows that cannot work."""
    try:
        train_rows, validation_rows = _rows(run.task)
    except HubUnreachable as error:
        return "rows           not here yet", [
            f"{error.hub_id} is not here: fetched when training starts; rows are not checked"
        ]
    refuse_other_domains(run, validation_rows)
    _refuse_missing_sandbox([*train_rows, *validation_rows])
    if len(train_rows) < run.plan.prompts:
        raise ConfigError(
            f"task={run.task.name} has {len(train_rows)} training rows, fewer than the "
            f"{run.plan.prompts} prompts of a step: lower data.train_batch_size or add rows"
        )
    _refuse_broken_verifier(run.task, train_rows)
    line = f"rows           {len(train_rows)} training, {len(validation_rows)} validation"
    if len(validation_rows) < len(train_rows):
        return line, []
    return line, [
        "no fewer rows are held out than are trained on: lower task.val_rows, or set task.val_path"
    ]


def _refuse_broken_verifier(choice: TaskChoice, rows: list[Row]) -> None:
    """A user's own verifier is asked once here, rather than after the stack has started."""
    if choice.name != CUSTOM:
        return
    try:
        get_task(choice.name, **choice.options).score("", rows[0].ground_truth)
    except Exception as error:  # whatever the user's own code raises
        told = (str(error) or repr(error)).partition("\n")[0]
        raise ConfigError(
            f"task.cls={choice.options['cls']}: score('', ...) failed ({type(error).__name__}: "
            f"{told}): it must judge any text, with Verdict(score=0..1, reason=...)"
        ) from error


def _rows(choice: TaskChoice) -> tuple[list[Row], list[Row]]:
    try:
        task = get_task(choice.name, **choice.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"task={choice.name}: {error}") from error
    return task.train_rows(), task.validation_rows()


def _refuse_missing_sandbox(rows: list[Row]) -> None:
    if any(row.data_source == CODE for row in rows) and (trouble := sandbox_trouble()):
        raise ConfigError(f"task={CODE} runs what a model writes, and cannot here: {trouble}")


def _refuse_given_files(cfg: DictConfig) -> None:
    for key in ("data.train_files", "data.val_files"):
        if optional(cfg, key, str) is not None:
            raise ConfigError(
                f"{key} is written by the run itself: use task=gsm8k task.path=FILE, or remove it"
            )


def _refuse_unsafe_checkpoints(cfg: DictConfig) -> None:
    """A checkpoint counts once all its files are written; until then the one before must stay."""
    if optional(cfg, "trainer.max_actor_ckpt_to_keep", int) == 1:
        raise ConfigError(
            "trainer.max_actor_ckpt_to_keep=1 removes the last whole checkpoint before the new one "
            "counts: set it to 2 or more, or remove it"
        )
    if optional(cfg, f"{ACTOR}.checkpoint.async_save", bool):
        raise ConfigError(
            f"{ACTOR}.checkpoint.async_save=true goes on writing after the checkpoint is sealed: "
            "set it to false"
        )


def _refuse_lost_advantages(run: RunConfig, cfg: DictConfig) -> None:
    """Pruning needs advantages before any forward pass, so it works them out as GRPO does."""
    if run.pruning.rule is None:
        return
    if text(cfg, "algorithm.adv_estimator") != "grpo":
        raise ConfigError(
            f"pruning={run.pruning.name} prunes by GRPO's advantages: set "
            "algorithm.adv_estimator=grpo, or pruning=none"
        )
    if optional(cfg, "algorithm.use_kl_in_reward", bool):
        raise ConfigError(
            f"pruning={run.pruning.name} needs the reward before any forward pass: set "
            f"algorithm.use_kl_in_reward=false and {ACTOR}.use_kl_loss=true, or pruning=none"
        )


def _choices(run: RunConfig) -> Iterator[str]:
    clip = run.clip.bounds
    yield f"[bold]{run.experiment_name}[/bold], seed {run.seed}"
    yield (
        f"choices        strategy {run.strategy.name}, correction {run.correction.name}, "
        f"pruning {run.pruning.name}, clip {clip.low}/{clip.high}/{clip.dual}"
    )
    if run.method is not None:
        hooks = {"rows": run.method.chooses_rows, "loss": run.method.has_loss}
        does = " and ".join(name for name, has in hooks.items() if has)
        yield f"               {does} by {run.method.reference}"
    yield (
        f"               task {run.task.name}, policy {run.policy.name}, platform "
        f"{run.platform.name} x {run.platform.devices}"
        + f" on each of {run.platform.nodes} nodes"
        * (run.platform.nodes > 1)
    )


def _trained(run: RunConfig) -> str:
    if run.method is not None and run.method.chooses_rows:
        return "your method chooses those that are trained on"
    return f"{run.plan.trained_rows} are trained on"


def _arithmetic(run: RunConfig) -> Iterator[str]:
    plan = run.plan
    yield (
        f"each step      {plan.prompts} prompts x {plan.group_size} = {plan.samples} samples, "
        f"of which {_trained(run)}"
    )
    yield (
        f"               {plan.mini_batches} mini-batches of {plan.rows_per_mini_batch} rows "
        f"({plan.groups_per_mini_batch} group{'s' * (plan.groups_per_mini_batch > 1)}), "
        f"{plan.epochs} epoch{'s' * (plan.epochs > 1)}"
    )
    yield (
        f"the run        {plan.steps} steps, {plan.optimizer_updates_total} optimizer updates, "
        f"{plan.steps * plan.samples} samples"
    )
    if plan.concurrency is not None:
        yield _in_flight(run)
    if run.staleness.max_lag is not None:
        late = "an update waits for" if run.staleness.when_exceeded == "wait" else "gives up"
        yield (
            f"staleness      at most {run.staleness.max_lag} versions: {late} whoever would be late"
        )


def _in_flight(run: RunConfig) -> str:
    plan = run.plan
    most = run.strategy.most_in_flight(plan.prompts, plan.group_size)
    number = f"{plan.concurrency} at first, {most} at most" if run.strategy.is_adaptive else most
    division = f"{plan.concurrency}/{plan.samples} = " if plan.refills else "at most "
    return (
        f"in flight      {number}; interruptions per response "
        f"{division}{plan.interruptions_per_response:.2f}"
    )


def _warnings(run: RunConfig, cfg: DictConfig) -> Iterator[str]:
    plan = run.plan
    mark = NOTE
    if plan.interruptions_per_response > MUCH_STALENESS:
        yield (
            f"{mark}above {MUCH_STALENESS:g} interruption per response most tokens are stale: "
            "lower strategy.concurrency or raise data.train_batch_size"
        )
    if plan.concurrency is not None and run.staleness.max_lag is not None:
        startable = (run.staleness.max_lag + 1) * plan.samples
        if run.staleness.when_exceeded == "wait" and plan.concurrency > startable:
            yield (
                f"{mark}staleness.max_lag={run.staleness.max_lag} lets {startable} responses start "
                f"before they are trained: {plan.concurrency} in flight are never reached"
            )
    if run.staleness.when_exceeded == "drop" and run.staleness.max_lag is not None:
        yield f"{mark}when_exceeded=drop drops long responses: only to compare with wait"
    if plan.concurrency is not None and plan.concurrency < plan.group_size:
        yield f"{mark}{plan.concurrency} in flight is less than one group of {plan.group_size}"
    if run.strategy.name == "copris" and run.correction.name == "none":
        yield f"{mark}correction=none forgets which policy sampled a token: an ablation"
    if run.pruning.rule is not None and run.pruning.rule.zero_variance == "drop":
        yield f"{mark}zero_variance=drop may train on fewer rows than said above"
    yield from (f"{mark}{note}" for note in correction_notes(run, cfg))
    yield from (f"{mark}{note}" for note in joining_notes(run))
    yield from (f"{mark}{note}" for note in keep_notes(run))
    yield from (f"{mark}{note}" for note in park_notes(run, cfg))
    yield from (f"{mark}{note}" for note in prolonged_notes(run, cfg))
