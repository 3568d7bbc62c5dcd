"""One benchmark in numbers: pass@k and maj@k with intervals, lengths, what was cut off.

Judged samples in, frozen values out. Refuses to know models, engines, tasks and files.

Shapes: P prompts, n samples of each, M measures, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from copris_core.evaluation.bootstrap import (
    bootstrap_means,
    mean_intervals,
    percentile_interval,
)
from copris_core.evaluation.intervals import Interval
from copris_core.evaluation.majority import majority_at_k
from copris_core.evaluation.pass_at_k import pass_at_k
from copris_core.evaluation.sample_grid import SampleGrid

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TokenStats:
    """Lengths of some responses, in tokens; None where there is no response."""

    n: int
    """Responses."""
    mean: float | None
    """Mean."""
    median: float | None
    """Median."""
    p95: float | None
    """Length that one in twenty exceeds."""
    max: int | None
    """Longest."""


@dataclass(frozen=True, kw_only=True)
class PartResult:
    """The prompts of one subject or one level."""

    name: str
    """Of the subject or the level."""
    num_prompts: int
    """Prompts."""
    pass_at_1: Interval
    """Share of correct samples."""
    majority: Interval | None
    """maj@n: all samples of a prompt vote. None where no sample of the task has an answer."""
    truncated: float
    """Share of samples cut off at their token limit."""
    mean_tokens: float
    """Mean length of a response."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One benchmark. Rates are means over prompts with 95% bootstrap intervals over prompts."""

    task: str
    """Benchmark."""
    num_prompts: int
    """P."""
    num_samples: int
    """Samples of each prompt, n."""
    pass_at: Mapping[int, Interval]
    """Unbiased pass@k by k; pass@1 is the share of correct samples."""
    majority_at: Mapping[int, Interval]
    """maj@k by k; empty where no sample has an answer."""
    score: Interval
    """Reward of the verifier."""
    truncated: Interval
    """Share of samples cut off at their token limit."""
    unparsable: Interval
    """Share of samples in which no final answer was found."""
    num_truncated: int
    """Samples cut off."""
    truncated_accuracy: float | None
    """Share of correct samples among those cut off; None where none was."""
    lengths: TokenStats
    """Of all responses."""
    lengths_correct: TokenStats
    """Of the correct ones."""
    lengths_wrong: TokenStats
    """Of the others."""
    subjects: Sequence[PartResult]
    """By name; empty where none is known."""
    levels: Sequence[PartResult]
    """By name; empty where none is known."""


def sum_up(
    grid: SampleGrid, ks: Sequence[int], *, rng: np.random.Generator, resamples: int
) -> tuple[TaskResult, Floats]:
    """The result, and [R] bootstrap draws of pass@1.

    Args:
        grid: the samples.
        ks: k of pass@k and maj@k, each 1..n, 1 and n among them.
        rng: the only source of randomness.
        resamples: R.
    """
    columns = _columns(grid, ks, rng)
    values_PM = np.stack(list(columns.values()), axis=1)
    draws_RM = bootstrap_means(values_PM, rng=rng, resamples=resamples)
    found = {
        name: percentile_interval(float(values_P.mean()), draws_R)
        for (name, values_P), draws_R in zip(columns.items(), draws_RM.T, strict=True)
    }
    correct_Pn, truncated_Pn = grid.correct_Pn, grid.truncated_Pn
    result = TaskResult(
        task=grid.task,
        num_prompts=grid.num_prompts,
        num_samples=grid.num_samples,
        pass_at={k: found[f"pass@{k}"] for k in ks},
        majority_at={k: found[f"maj@{k}"] for k in ks if f"maj@{k}" in found},
        score=found["score"],
        truncated=found["truncated"],
        unparsable=found["unparsable"],
        num_truncated=int(truncated_Pn.sum()),
        truncated_accuracy=float(correct_Pn[truncated_Pn].mean()) if truncated_Pn.any() else None,
        lengths=token_stats(grid.tokens_Pn),
        lengths_correct=token_stats(grid.tokens_Pn[correct_Pn]),
        lengths_wrong=token_stats(grid.tokens_Pn[~correct_Pn]),
        subjects=_parts(grid, "subject", columns, rng, resamples),
        levels=_parts(grid, "level", columns, rng, resamples),
    )
    return result, draws_RM[:, 0]


def _columns(grid: SampleGrid, ks: Sequence[int], rng: np.random.Generator) -> dict[str, Floats]:
    """[P] each measure of each prompt, by name; pass@1 comes first."""
    n, correct_Pn = grid.num_samples, grid.correct_Pn
    count_P = correct_Pn.sum(axis=1)
    answers = grid.answers
    columns = {
        f"pass@{k}": np.array([pass_at_k(n, count, k) for count in range(n + 1)])[count_P]
        for k in ks
    }
    if not grid.unparsable_Pn.all():
        columns |= {f"maj@{k}": majority_at_k(answers, correct_Pn, k, rng=rng) for k in ks}
    columns |= {
        "score": grid.score_Pn.mean(axis=1),
        "truncated": grid.truncated_Pn.mean(axis=1),
        "unparsable": grid.unparsable_Pn.mean(axis=1),
    }
    return columns


def _parts(
    grid: SampleGrid,
    field: str,
    columns: Mapping[str, Floats],
    rng: np.random.Generator,
    resamples: int,
) -> tuple[PartResult, ...]:
    shown = ["pass@1", f"maj@{grid.num_samples}", "truncated"]
    shown = [name for name in shown if name in columns]
    found = []
    for name, places in grid.places_by(field).items():
        part_PM = np.stack([columns[measure][places] for measure in shown], axis=1)
        means = mean_intervals(part_PM, rng=rng, resamples=resamples)
        by_name = dict(zip(shown, means, strict=True))
        found.append(
            PartResult(
                name=name,
                num_prompts=len(places),
                pass_at_1=by_name["pass@1"],
                majority=by_name.get(f"maj@{grid.num_samples}"),
                truncated=by_name["truncated"].estimate,
                mean_tokens=float(grid.tokens_Pn[places].mean()),
            )
        )
    return tuple(found)


def token_stats(tokens: NDArray[np.int64]) -> TokenStats:
    """The numbers of some lengths, of any shape."""
    if not tokens.size:
        return TokenStats(n=0, mean=None, median=None, p95=None, max=None)
    median, p95 = np.quantile(tokens, (0.5, 0.95))
    return TokenStats(
        n=tokens.size,
        mean=float(tokens.mean()),
        median=float(median),
        p95=float(p95),
        max=int(tokens.max()),
    )
