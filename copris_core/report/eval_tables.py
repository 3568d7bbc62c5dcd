"""An evaluation as tables of words: the same for the terminal, eval.md and eval.html.

Refuses to compute and to know where a table is shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from copris_core.evaluation.eval_result import EvalResult
from copris_core.evaluation.eval_task import PartResult, TaskResult, TokenStats
from copris_core.evaluation.intervals import Interval
from copris_core.report.numbers import UNKNOWN, show, show_count


@dataclass(frozen=True, kw_only=True)
class EvalTable:
    """One table."""

    title: str
    """Heading of the table."""
    remark: str
    """A sentence under the heading."""
    heading: Sequence[str]
    """Of each column; the first is what the rows are."""
    rows: Sequence[Sequence[str]]
    """Cells, as many as headings."""
    words: bool = False
    """True when the cells are words, which may wrap, rather than numbers."""


def eval_tables(result: EvalResult) -> list[EvalTable]:
    """Accuracy first, then each task by k, subject and level, then lengths."""
    tables = [_accuracy(result)]
    for task in result.tasks:
        if task.num_samples > 1:
            tables.append(_by_k(task))
        for field, parts in (("subject", task.subjects), ("level", task.levels)):
            if len(parts) > 1:
                tables.append(_by_part(task, field, parts))
    return [*tables, _cut(result), _lengths(result)]


def settings_table(settings: Mapping[str, object]) -> EvalTable:
    """How the samples were made."""
    return EvalTable(
        title="Settings",
        remark="How the samples were made.",
        heading=("setting", "value"),
        rows=[
            [name, value if isinstance(value, str) else json.dumps(value, default=str)]
            for name, value in settings.items()
        ],
        words=True,
    )


def show_interval(value: Interval | None) -> str:
    """An estimate with the ends of its interval: ``0.655 [0.641, 0.667]``."""
    if value is None:
        return UNKNOWN
    return f"{value.estimate:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _accuracy(result: EvalResult) -> EvalTable:
    rows = [
        [
            task.task,
            show_count(task.num_prompts),
            show_count(task.num_samples),
            show_interval(task.pass_at[1]),
            show_interval(task.majority_at.get(task.num_samples)),
            show_interval(task.pass_at[task.num_samples]),
        ]
        for task in result.tasks
    ]
    if result.average is not None:
        prompts = show_count(sum(task.num_prompts for task in result.tasks))
        average = show_interval(result.average)
        rows.append(["average", prompts, UNKNOWN, average, UNKNOWN, UNKNOWN])
    return EvalTable(
        title="Accuracy",
        remark=(
            "n: samples of each prompt. pass@1: share of correct samples. maj@n: the most "
            "frequent answer is right. pass@n: one sample of n is right. "
            f"[95% interval]: percentile bootstrap over prompts, {result.resamples:,} resamples, "
            f"seed {result.rng_seed}. average: each task counts once."
        ),
        heading=("task", "prompts", "n", "pass@1", "maj@n", "pass@n"),
        rows=rows,
    )


def _by_k(task: TaskResult) -> EvalTable:
    return EvalTable(
        title=f"{task.task} by k",
        remark="pass@k is unbiased; maj@k is the mean over subsets of k samples, ties shared.",
        heading=("k", "pass@k", "maj@k"),
        rows=[
            [str(k), show_interval(value), show_interval(task.majority_at.get(k))]
            for k, value in task.pass_at.items()
        ],
    )


def _by_part(task: TaskResult, field: str, parts: Sequence[PartResult]) -> EvalTable:
    return EvalTable(
        title=f"{task.task} by {field}",
        remark=f"maj@{task.num_samples}: all samples of a prompt vote. cut off: share of samples.",
        heading=(field, "prompts", "pass@1", f"maj@{task.num_samples}", "cut off", "tokens"),
        rows=[
            [
                part.name,
                show_count(part.num_prompts),
                show_interval(part.pass_at_1),
                show_interval(part.majority),
                show(part.truncated, 3),
                show(part.mean_tokens, 0),
            ]
            for part in parts
        ],
    )


def _cut(result: EvalResult) -> EvalTable:
    return EvalTable(
        title="Cut off and unparsable",
        remark=(
            "cut off: share of samples that reached the token limit, and how many of those are "
            "correct all the same. unparsable: share of samples without a final answer."
        ),
        heading=("task", "cut off", "correct of those", "unparsable", "score"),
        rows=[
            [
                task.task,
                show_interval(task.truncated),
                show(task.truncated_accuracy, 3),
                show_interval(task.unparsable),
                show_interval(task.score),
            ]
            for task in result.tasks
        ],
    )


def _lengths(result: EvalResult) -> EvalTable:
    parts: list[tuple[str, TokenStats]] = []
    for task in result.tasks:
        parts += [
            (task.task, task.lengths),
            (f"{task.task}, correct", task.lengths_correct),
            (f"{task.task}, wrong", task.lengths_wrong),
        ]
    return EvalTable(
        title="Lengths",
        remark="Tokens of a response. 95%: the length that one in twenty exceeds.",
        heading=("responses", "number", "mean", "median", "95%", "longest"),
        rows=[
            [
                name,
                show_count(each.n),
                show(each.mean, 1),
                show(each.median, 1),
                show(each.p95, 1),
                show_count(each.max),
            ]
            for name, each in parts
        ],
    )
