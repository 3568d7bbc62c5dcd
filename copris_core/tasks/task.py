"""What a task is: rows to train on, rows to validate on, and a verifier.

This file refuses to know file formats, verl, and any particular task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Split = Literal["train", "test"]


class TaskDataError(ValueError):
    """A data file is missing or malformed; the message is one line with the place and the mend."""


class HubUnreachable(TaskDataError):
    """A hub data set, ``hub_id``, is not on this machine and cannot be fetched now."""

    def __init__(self, line: str, *, hub_id: str) -> None:
        super().__init__(line)
        self.hub_id = hub_id


@dataclass(frozen=True, kw_only=True)
class Message:
    """One chat message of a prompt."""

    role: Literal["system", "user"]
    """Who speaks."""
    content: str
    """The text, before the chat template."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One prompt with its known answer."""

    data_source: str
    """Name under which ``task_for`` finds the verifier."""
    prompt: tuple[Message, ...]
    """Chat messages, in order."""
    ability: str
    """Kind of skill, for grouping in reports; "math" here."""
    ground_truth: str
    """What ``Task.score`` compares a response with."""
    split: Split
    """Which split the row belongs to."""
    index: int
    """Position within its split, from 0; unique there."""
    facts: Mapping[str, int | str] = field(default_factory=dict)
    """More about the row (difficulty, source line); the same keys in every row of a task."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a verifier says about one response."""

    score: float
    """Reward in [0, 1]."""
    reason: str
    """Why, in a few words: "correct", "wrong number", "no answer"."""


class Task(Protocol):
    """A source of rows and the verifier that belongs to them."""

    @property
    def name(self) -> str:
        """Name in the registry; also the rows' ``data_source``."""
        ...

    def train_rows(self) -> list[Row]:
        """Rows to train on; the same list every time it is asked."""
        ...

    def validation_rows(self) -> list[Row]:
        """Rows held out from training; the same list every time it is asked."""
        ...

    def score(self, text: str, ground_truth: str) -> Verdict:
        """Judge one response, with special tokens removed, against its row's ground truth."""
        ...
