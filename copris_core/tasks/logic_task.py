"""Logic puzzles of reasoning-gym, generated, each judged by its own verifier.

The answer is what stands between the last ``<answer>`` that is closed and its ``</answer>``; there
is no other way to give one, so a response that is cut off before the end has given none. One
question in five is held out by a hash of its text, so no seed and no setting leaks it.
This file refuses to know models and verl; reasoning-gym is behind ``logic_datasets.py``.
"""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from copris_core.tasks.joining import interleave, numbered, shares
from copris_core.tasks.logic_datasets import (
    DEFAULT_TASKS,
    Puzzle,
    check_name,
    judge,
    take_puzzles,
)
from copris_core.tasks.task import Message, Row, Split, Verdict

NAME = "logic"
ROW_KEYS = {"seed": "seed", "size": "rows"}  # of reasoning-gym, and of the task
OPEN, CLOSE = "<answer>", "</answer>"
ANSWER_FORMAT = (
    f"Think step by step, then give the final answer, and nothing else, between {OPEN} and {CLOSE}."
)


@dataclass(frozen=True, kw_only=True)
class LogicTask:
    """Puzzles of several reasoning-gym datasets."""

    tasks: Sequence[str] = DEFAULT_TASKS
    """Names of datasets; none twice."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """By dataset: ``weight`` (1 when left out; 0 leaves the dataset out) and its own settings."""
    rows: int = 8192
    """Training rows of all datasets together; questions may repeat."""
    val_rows: int = 200
    """Held-out rows of all datasets together, no question twice."""
    seed: int = 0
    """Decides which puzzles are drawn; never which split owns a question."""
    system_text: str = ""
    """System message; empty: none."""
    answer_format: str = ANSWER_FORMAT
    """Appended to every question as a line of its own; empty: nothing."""

    def __post_init__(self) -> None:
        """Raise ValueError for a size out of range, or an unknown or refused dataset."""
        for key, value in (("rows", self.rows), ("val_rows", self.val_rows)):
            if value < 1:
                raise ValueError(f"task.{key} is {value}: set it to 1 or more")
        for dataset in self.tasks:
            check_name(dataset)
        for dataset in self.settings:
            if dataset not in self.tasks:
                raise ValueError(f"task.settings.{dataset}: add {dataset} to task.tasks as well")
        if not self._weights():
            raise ValueError("task.tasks names no dataset with a weight above 0: name one, as maze")

    @property
    def name(self) -> str:
        """Name in the registry."""
        return NAME

    def train_rows(self) -> list[Row]:
        """Rows of the training split, shares by weight, in a seeded order.

        Raises:
            TaskDataError: a dataset does not accept its settings, or its own answers.
        """
        return self._rows("train", self.rows)

    def validation_rows(self) -> list[Row]:
        """Rows of the held-out split, shares by weight, in a seeded order.

        Raises:
            TaskDataError: as `train_rows`; or a dataset has too few different questions.
        """
        return self._rows("test", self.val_rows)

    def score(self, text: str, ground_truth: str) -> Verdict:
        """Score the answer by the verifier of its dataset, which may pay a part."""
        answer = last_answer(text)
        if answer is None:
            return Verdict(score=0.0, reason=f"no answer in {OPEN}{CLOSE}")
        score = judge(answer, ground_truth)
        words = {0.0: "wrong answer", 1.0: "correct"}
        return Verdict(score=score, reason=words.get(score, "partly right"))

    def reference_answer(self, row: Row) -> str:
        """A response that scores 1."""
        return f"{OPEN}{json.loads(row.ground_truth)['answer'].strip()}{CLOSE}"

    def _weights(self) -> dict[str, Fraction]:
        weights = {name: _weight(name, self.settings.get(name)) for name in self.tasks}
        return {name: weight for name, weight in weights.items() if weight}

    def _settings(self, dataset: str) -> dict[str, Any]:
        given = self.settings.get(dataset) or {}
        return {key: value for key, value in given.items() if key != "weight"}

    def _rows(self, split: Split, count: int) -> list[Row]:
        drawn = {
            dataset: [
                self._row(puzzle, split)
                for puzzle in take_puzzles(
                    dataset, self._settings(dataset), split=split, seed=self.seed, count=share
                )
            ]
            for dataset, share in shares(self._weights(), count).items()
        }
        mixed = interleave(drawn, random.Random(f"{NAME} {split} {self.seed}"))
        return numbered(mixed, {"dataset": str})

    def _row(self, puzzle: Puzzle, split: Split) -> Row:
        content = f"{puzzle.question.strip()}\n{self.answer_format}".strip()
        system = (Message(role="system", content=self.system_text),) if self.system_text else ()
        return Row(
            data_source=NAME,
            prompt=(*system, Message(role="user", content=content)),
            ability="logic",
            ground_truth=puzzle.truth,
            split=split,
            index=0,
            facts={"dataset": puzzle.dataset},
        )


def last_answer(text: str) -> str | None:
    """What the last closed pair of tags holds, stripped; None without one.

    As reasoning-gym's ``extract_answer``, but in linear time, and with tags in tags the innermost.
    """
    close = text.rfind(CLOSE)
    begin = text.rfind(OPEN, 0, max(close, 0))
    if begin < 0:
        return None
    begin += len(OPEN)
    return text[begin : text.find(CLOSE, begin)].strip()


def _weight(dataset: str, given: object) -> Fraction:
    """The weight of a dataset; a decimal is taken as it is written."""
    if given is None:
        return Fraction(1)
    if not isinstance(given, Mapping):
        raise ValueError(f"task.settings.{dataset} is {given!r}: give settings, as {{weight: 2}}")
    for key in ("seed", "size"):
        if key in given:
            raise ValueError(f"task.settings.{dataset}.{key}: set task.{ROW_KEYS[key]} instead")
    weight = given.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ValueError(f"task.settings.{dataset}.weight is {weight!r}: give a number")
    if not math.isfinite(weight) or weight < 0:
        raise ValueError(f"task.settings.{dataset}.weight is {weight}: set it to 0 or more")
    return Fraction(str(weight))
