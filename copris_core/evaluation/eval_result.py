"""An evaluation in numbers: each benchmark, and the average over them.

Judged samples in, frozen values out. Refuses to know models, engines, tasks and files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from copris_core.evaluation.bootstrap import percentile_interval
from copris_core.evaluation.eval_sample import EvalSample
from copris_core.evaluation.eval_task import TaskResult, sum_up
from copris_core.evaluation.intervals import Interval
from copris_core.evaluation.pass_at_k import powers_of_two
from copris_core.evaluation.sample_grid import SampleGrid, grids_by_task

RESAMPLES = 2000
"""Bootstrap draws: the ends of a 95% interval then stand on 50 draws each."""


@dataclass(frozen=True, kw_only=True)
class EvalResult:
    """A whole evaluation."""

    tasks: Sequence[TaskResult]
    """By name."""
    average: Interval | None
    """pass@1, each task counting once; None with a single task."""
    rng_seed: int
    """Of the bootstrap and of the votes' subsets."""
    resamples: int
    """Bootstrap draws, R."""

    def to_json(self) -> dict[str, Any]:
        """The object of result.json; k are strings there, as JSON has it."""
        return asdict(self)


def evaluate(
    samples: Sequence[EvalSample],
    *,
    ks: Sequence[int] | None = None,
    rng_seed: int = 0,
    resamples: int = RESAMPLES,
) -> EvalResult:
    """Sum an evaluation up. One seed gives one result, whatever the order of the samples.

    Args:
        samples: all of them; every prompt of a task has the same number n.
        ks: k of pass@k and maj@k, 1..n; None: powers of two up to n, and n.
        rng_seed: of the only randomness.
        resamples: bootstrap draws.

    Raises:
        ValueError: samples that are no whole evaluation (see `sample_grid`), or a number out of
            range; one line that says what to do.
    """
    results, draws = [], []
    for grid in grids_by_task(samples):
        # By name: a task's numbers do not depend on which other tasks were evaluated with it.
        rng = np.random.default_rng([rng_seed, *grid.task.encode()])
        result, draws_R = sum_up(grid, _ks(ks, grid), rng=rng, resamples=resamples)
        results.append(result)
        draws.append(draws_R)
    average = None
    if len(results) > 1:
        accuracy = float(np.mean([each.pass_at[1].estimate for each in results]))
        average = percentile_interval(accuracy, np.mean(draws, axis=0))
    return EvalResult(tasks=tuple(results), average=average, rng_seed=rng_seed, resamples=resamples)


def _ks(ks: Sequence[int] | None, grid: SampleGrid) -> list[int]:
    n = grid.num_samples
    chosen = {1, n, *(powers_of_two(n) if ks is None else ks)}
    if not all(1 <= k <= n for k in chosen):
        raise ValueError(
            f"{grid.task} has {n} samples a prompt: give k of 1..{n}, or more samples with --n"
        )
    return sorted(chosen)
