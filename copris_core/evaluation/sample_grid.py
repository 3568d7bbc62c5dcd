"""The samples of one task as arrays: a row a prompt, a column a sample.

Refuses what is no whole evaluation: a sample twice, a sample missing, a prompt with two faces.

Shapes: P prompts, n samples of each.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from copris_core.evaluation.eval_sample import EvalSample


@dataclass(frozen=True, kw_only=True)
class SampleGrid:
    """All samples of one task; prompts by uid, samples by index."""

    task: str
    """Benchmark."""
    rows: Sequence[Sequence[EvalSample]]
    """[P, n] the samples."""

    @property
    def num_prompts(self) -> int:
        """P."""
        return len(self.rows)

    @property
    def num_samples(self) -> int:
        """Samples of each prompt, n."""
        return len(self.rows[0])

    @property
    def answers(self) -> list[list[str | None]]:
        """[P, n] final answers."""
        return [[sample.answer for sample in row] for row in self.rows]

    @property
    def correct_Pn(self) -> NDArray[np.bool_]:
        """Which samples are correct."""
        return np.array([[sample.correct for sample in row] for row in self.rows])

    @property
    def tokens_Pn(self) -> NDArray[np.int64]:
        """Tokens of each response."""
        return np.array([[sample.num_tokens for sample in row] for row in self.rows], np.int64)

    @property
    def truncated_Pn(self) -> NDArray[np.bool_]:
        """Which responses were cut off at their limit."""
        return np.array([[sample.truncated for sample in row] for row in self.rows])

    @property
    def unparsable_Pn(self) -> NDArray[np.bool_]:
        """Which responses hold no final answer."""
        return np.array([[sample.answer is None for sample in row] for row in self.rows])

    @property
    def score_Pn(self) -> NDArray[np.float64]:
        """Rewards of the verifier."""
        return np.array([[sample.score for sample in row] for row in self.rows], np.float64)

    def places_by(self, field: str) -> dict[str, list[int]]:
        """Row numbers of the prompts by their ``subject`` or ``level``, by name.

        Prompts without one are left out. Names with numbers come in their order: 2 before 10.
        """
        places: dict[str, list[int]] = defaultdict(list)
        for place, row in enumerate(self.rows):
            places[getattr(row[0], field)].append(place)
        return {name: places[name] for name in sorted(filter(None, places), key=_natural)}


def grids_by_task(samples: Sequence[EvalSample]) -> list[SampleGrid]:
    """One grid a task, by name; the order of the samples does not matter.

    Raises:
        ValueError: no sample, a sample twice, a prompt with fewer samples than another of its
            task, or samples of one prompt that disagree about it. One line that says what to do.
    """
    if not samples:
        raise ValueError("an evaluation without samples: run copris eval first")
    tasks: dict[str, dict[str, dict[int, EvalSample]]] = defaultdict(lambda: defaultdict(dict))
    for sample in samples:
        row = tasks[sample.task][sample.uid]
        if sample.index in row:
            raise ValueError(
                f"sample {sample.index} of {sample.uid} is there twice: delete one of the two "
                "lines of samples.jsonl"
            )
        row[sample.index] = sample
    return [_grid(task, tasks[task]) for task in sorted(tasks, key=_natural)]


def _grid(task: str, prompts: Mapping[str, Mapping[int, EvalSample]]) -> SampleGrid:
    width = max(max(row) for row in prompts.values()) + 1
    lacking = sum(len(row) < width for row in prompts.values())
    if lacking:
        have = sum(len(row) for row in prompts.values())
        raise ValueError(
            f"{task} has {have} of {width * len(prompts)} samples, {lacking} of {len(prompts)} "
            "prompts are not finished: run the same copris eval again to continue it"
        )
    rows = [
        [prompts[uid][index] for index in range(width)] for uid in sorted(prompts, key=_natural)
    ]
    for row in rows:
        _check_prompt(row)
    return SampleGrid(task=task, rows=rows)


def _check_prompt(row: Sequence[EvalSample]) -> None:
    for field in ("question", "ground_truth", "subject", "level"):
        if len({getattr(sample, field) for sample in row}) > 1:
            raise ValueError(
                f"samples of {row[0].uid} differ in their {field}: samples.jsonl holds two "
                "evaluations; give each its own folder with --out"
            )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Order of names in which ``gsm8k:9`` comes before ``gsm8k:10``."""
    parts = re.split(r"(\d{1,18})", name)
    return [(0, int(x), "") if x.isdecimal() and x.isascii() else (1, 0, x) for x in parts]
