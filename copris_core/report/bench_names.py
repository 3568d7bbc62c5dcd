"""What the cells of a bench are called.

A method may carry an in-flight limit and pruning: ``copris``, ``copris@48``, ``copris@48+cppo``.
"""

from __future__ import annotations

from dataclasses import dataclass

BASELINE = "sync"
"""verl's synchronous trainer without its poll: what every ratio is taken against."""
RELEASED = "sync_released"
"""The same as verl ships it; the baseline where the other was not run."""
ASYNC = "colocate_async"
"""verl's own partial rollout."""
COPRIS = "copris"
PRUNED = "+cppo"
"""Suffix of a method whose batches CPPO prunes."""


@dataclass(frozen=True, order=True)
class Batch:
    """What a training step trains on."""

    prompts: int
    """B, prompts."""
    group_size: int
    """n, responses to each."""

    def __str__(self) -> str:
        """As on the command line: ``4x8``."""
        return f"{self.prompts}x{self.group_size}"

    @property
    def samples(self) -> int:
        """Responses of a step."""
        return self.prompts * self.group_size

    @classmethod
    def parse(cls, word: str) -> Batch:
        """Read ``4x8``.

        Raises:
            ValueError: ``word`` is not of that form, or a count is below 1.
        """
        prompts, _, group_size = word.partition("x")
        if not (prompts.isdecimal() and group_size.isdecimal() and int(prompts) * int(group_size)):
            raise ValueError(f"batch {word!r}: write PROMPTSxRESPONSES, such as 4x8")
        return cls(int(prompts), int(group_size))


@dataclass(frozen=True, kw_only=True)
class CellKey:
    """Which run of the bench."""

    workload: str
    """Name of the workload."""
    batch: Batch
    """Prompts and responses of a step."""
    method: str
    """Name of the method, limit and pruning included."""
    round: int
    """Round, from 1."""

    @property
    def path(self) -> str:
        """The run folder, below that of the bench."""
        return f"{self.workload}/{self.batch}/{self.method}/round{self.round}"

    @classmethod
    def parse(cls, path: str) -> CellKey:
        """Read ``path`` back."""
        workload, batch, method, round_name = path.split("/")
        return cls(
            workload=workload,
            batch=Batch.parse(batch),
            method=method,
            round=int(round_name.removeprefix("round")),
        )


def base_of(method: str) -> str:
    """The method without limit and pruning."""
    return method.removesuffix(PRUNED).partition("@")[0]


def is_pruned(method: str) -> bool:
    """Whether CPPO prunes."""
    return method.endswith(PRUNED)
