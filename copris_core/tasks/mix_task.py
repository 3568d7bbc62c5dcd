"""Several tasks in one run, each with its share of the training rows.

    task=mix +task.parts.logic.weight=2 +task.parts.days.weight=1 +task.parts.days.rows=5000

Every row keeps its own data source, so each is judged by its own task, with that task's default
settings. This file refuses to know any task by name.
"""

import functools
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from copris_core.tasks.joining import fact_kinds, interleave, largest_total, numbered, shares
from copris_core.tasks.registry import get_task
from copris_core.tasks.row_checks import first_shared_prompt, prompt_text
from copris_core.tasks.task import Row, Task, TaskDataError, Verdict

NAME = "mix"
EXAMPLE = "+task.parts.days.weight=2 +task.parts.logic.weight=1"
SHOWN_CHARS = 60


@dataclass(frozen=True, kw_only=True)
class Part:
    """One task of a mixture."""

    task: Task
    """Where the rows come from."""
    weight: Fraction
    """Share of the training rows, relative to the other parts'; above 0."""


@dataclass(frozen=True, kw_only=True)
class MixTask:
    """A mixture of tasks."""

    parts: Mapping[str, Any] = field(default_factory=dict)
    """By task: ``weight`` (1 when left out; 0 leaves the part out) and that task's own settings.
    Under a name of your own, ``task`` says which task it is."""
    rows: int | None = None
    """Training rows of all parts together; None: as many as need no row twice."""
    seed: int = 0
    """Decides the order of the rows; never which rows there are."""

    def __post_init__(self) -> None:
        """Raise ValueError for a wrong size, weight, task, or setting of a task."""
        if self.rows is not None and self.rows < 1:
            raise ValueError(f"task.rows is {self.rows}: set it to 1 or more, or null")
        if not self._parts:
            raise ValueError(f"task.parts names no task with a weight above 0: add {EXAMPLE}")

    @property
    def name(self) -> str:
        """Name in the registry; no row has it as its data source."""
        return NAME

    def train_rows(self) -> list[Row]:
        """Rows of all parts, shares by weight (largest remainder), in a seeded order.

        Raises:
            TaskDataError: a part has too few rows or malformed ones, or trains on a prompt that
                some part validates on.
        """
        return list(self._drawn[0])

    def validation_rows(self) -> list[Row]:
        """All validation rows of every part, part after part.

        Raises:
            TaskDataError: as `train_rows`.
        """
        return list(self._drawn[1])

    def score(self, text: str, ground_truth: str) -> Verdict:
        """Refuse: which task judges a response only its row knows.

        Raises:
            ValueError: always.
        """
        raise ValueError("a mix judges nothing: ask task_for(row.data_source)")

    @functools.cached_property
    def _parts(self) -> dict[str, Part]:
        weights = {label: _weight(label, given) for label, given in self.parts.items()}
        return {
            label: Part(task=_task(label, self.parts[label]), weight=weight)
            for label, weight in weights.items()
            if weight
        }

    @functools.cached_property
    def _drawn(self) -> tuple[list[Row], list[Row]]:
        """Training and validation rows; both at once, since they share their set of facts."""
        train = self._train()
        held_out = [row for part in self._parts.values() for row in part.task.validation_rows()]
        shared = first_shared_prompt(train, held_out)
        if shared is not None:
            ours, theirs = train[shared[0]], held_out[shared[1]]
            raise TaskDataError(
                f"a prompt that {ours.data_source} trains on is one that {theirs.data_source} "
                f"validates on ({prompt_text(ours)[:SHOWN_CHARS]!r}): give one of them other rows"
            )
        kinds = fact_kinds([*train, *held_out])
        return numbered(train, kinds), numbered(held_out, kinds)

    def _train(self) -> list[Row]:
        rows = {label: part.task.train_rows() for label, part in self._parts.items()}
        weights = {label: part.weight for label, part in self._parts.items()}
        available = {label: len(rows[label]) for label in rows}
        total = self.rows or largest_total(weights, available)
        counts = shares(weights, total)
        for label, count in counts.items():
            if count > available[label]:
                raise TaskDataError(
                    f"task.parts.{label} has {available[label]} training rows, its share of "
                    f"task.rows={total} is {count}: raise its rows, or lower task.rows"
                )
        chosen = {label: rows[label][:count] for label, count in counts.items()}
        return interleave(chosen, random.Random(f"{NAME} {self.seed}"))


def _weight(label: str, given: object) -> Fraction:
    """The weight of a part; a decimal is taken as it is written."""
    if not isinstance(given, Mapping):
        raise ValueError(
            f"task.parts.{label} is {given!r}: give settings, such as +task.parts.{label}.weight=1"
        )
    weight = given.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ValueError(f"task.parts.{label}.weight is {weight!r}: give a number")
    if not math.isfinite(weight) or weight < 0:
        raise ValueError(f"task.parts.{label}.weight is {weight}: set it to 0 or more")
    return Fraction(str(weight))


def _task(label: str, given: Mapping[str, Any]) -> Task:
    settings = {key: value for key, value in given.items() if key not in ("task", "weight")}
    name = given.get("task", label)
    if name == NAME:
        raise ValueError(f"task.parts.{label} is a mix itself: name its parts here")
    try:
        return get_task(str(name), **settings)
    except (TypeError, ValueError) as error:
        raise ValueError(_of_part(label, str(error))) from error


def _of_part(label: str, message: str) -> str:
    """A part's complaint about ``task.rows``, told of ``task.parts.<label>.rows``."""
    told = re.sub(r"(?<![\w./-])task\.(?=[a-z_])", f"task.parts.{label}.", message)
    return told if told != message else f"task.parts.{label}: {message}"
