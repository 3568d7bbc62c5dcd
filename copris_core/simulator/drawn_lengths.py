"""The lengths that a run was given, in the order in which its prompts were drawn."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from copris_core.rollout.events import Event
from copris_core.rollout.ledger import LEDGER_FILE, SavedLedger
from copris_core.simulator.measured_run import MeasuredRun, setting
from copris_core.tasks.forced import LENGTHS_FACT, ForcedTask
from copris_core.tasks.forced import NAME as FORCED

FORCED_FIELDS: Final = ("rows", "seed", "group_size", "median", "sigma", "floor", "cap")
"""Settings of the task that decide its lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedLengths:
    """Measured groups, handed out in the order in which they were drawn, over and over."""

    groups: Iterator[tuple[int, ...]]
    """Lengths of each group's responses, in tokens, without end."""

    def draw(self, rng: np.random.Generator, group_size: int) -> list[int]:
        """Lengths of the next group."""
        return list(next(self.groups))[:group_size]


def drawn_groups(run: MeasuredRun) -> list[tuple[int, ...]]:
    """Lengths of a run's groups as drawn; empty without a ledger.

    Where the lengths come with the rows they are looked up; else they are those of the groups that
    were sampled to their end.
    """
    path = run.path / LEDGER_FILE
    if not path.is_file():
        return []
    rows: dict[str, int | None] = {}
    lengths: dict[str, dict[int, int]] = {}
    sizes: dict[str, int] = {}
    for line in SavedLedger(path):
        fact = line.fact
        if fact.event is Event.DRAWN and fact.uid is not None:
            rows[fact.uid], sizes[fact.uid] = fact.row, fact.size or 0
        elif fact.event is Event.FINISHED and fact.uid is not None and fact.index is not None:
            lengths.setdefault(fact.uid, {})[fact.index] = fact.tokens or 1
    task = setting(run.config, "task") or {}
    if task.get("name") == FORCED:
        table = forced_lengths(task)
        return [table[row] for row in rows.values() if row is not None]
    return [
        tuple(lengths[uid].values())
        for uid in rows
        if uid in lengths and len(lengths[uid]) == sizes[uid]
    ]


def forced_lengths(task: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """The lengths that come with the rows of the forced task, by row."""
    made = ForcedTask(**{key: task[key] for key in FORCED_FIELDS if key in task})
    return [tuple(map(int, str(row.facts[LENGTHS_FACT]).split())) for row in made.train_rows()]
