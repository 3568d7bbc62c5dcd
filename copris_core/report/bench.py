"""The whole bench: what was asked, what each cell came to, and what follows. One bench.json.

Everything that follows is worked out of the cells, so reading the file back needs only them.
Refuses to read run folders and to draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Final

from copris_core.report.bench_cell import Cell
from copris_core.report.bench_goals import Goal, goals
from copris_core.report.bench_groups import Group, group_cells
from copris_core.report.bench_names import Batch, CellKey
from copris_core.report.bench_stats import measured

VERSION: Final = 1
"""Of the form of bench.json."""


@dataclass(frozen=True, kw_only=True)
class BenchSetup:
    """What was asked for."""

    workloads: tuple[str, ...]
    """Names."""
    batches: tuple[Batch, ...]
    """Prompts and responses of a step."""
    methods: tuple[str, ...]
    """Names, limit and pruning included."""
    rounds: int
    """Runs of each method on each workload and batch."""
    steps: int
    """Training steps of a run."""
    warmup_steps: int
    """The first of them, which do not count."""
    concurrency: int | None
    """N' of methods that take one and do not name it; None: by the batch."""
    seed: int
    """Of every run."""
    overrides: tuple[str, ...]
    """Of every run, besides those of method, workload and batch."""

    @property
    def order(self) -> tuple[CellKey, ...]:
        """The cells as they are run: within a workload and batch A B C A B C."""
        return tuple(
            CellKey(workload=workload, batch=batch, method=method, round=number)
            for workload in self.workloads
            for batch in self.batches
            for number in range(1, self.rounds + 1)
            for method in self.methods
        )

    def after(self, earlier: BenchSetup) -> BenchSetup:
        """Both together: a bench grows by naming further workloads, batches or methods.

        Raises:
            ValueError: their runs would not compare.
        """
        for name in ("steps", "warmup_steps", "seed", "overrides"):
            mine, theirs = getattr(self, name), getattr(earlier, name)
            if mine != theirs:
                raise ValueError(
                    f"the bench there has {name}={theirs}, not {mine}: name another --out"
                )
        return replace(
            self,
            workloads=tuple(dict.fromkeys((*earlier.workloads, *self.workloads))),
            batches=tuple(dict.fromkeys((*earlier.batches, *self.batches))),
            methods=tuple(dict.fromkeys((*earlier.methods, *self.methods))),
            rounds=max(earlier.rounds, self.rounds),
        )

    def to_json(self) -> dict[str, Any]:
        """An object of bench.json."""
        return {**asdict(self), "batches": [str(batch) for batch in self.batches]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BenchSetup:
        """Read such an object back."""
        lists = {key: tuple(value[key]) for key in ("workloads", "methods", "overrides")}
        batches = tuple(Batch.parse(word) for word in value["batches"])
        return cls(**{**value, **lists, "batches": batches})


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A cell that came to nothing."""

    key: CellKey
    """Which run."""
    reason: str
    """In one line."""
    seconds: float
    """Until it was over."""


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """A bench, finished or on its way."""

    setup: BenchSetup
    """What was asked for."""
    command: str
    """The command line, folders outside left out."""
    machine: Mapping[str, Any]
    """Cores, memory, CPU and system; no name of a host."""
    cells: tuple[Cell, ...]
    """Finished runs, in the order of the setup."""
    failures: tuple[Failure, ...]
    """Runs that failed, in the order of the setup."""

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The cells by workload and batch."""
        return group_cells(self.cells)

    @cached_property
    def goals(self) -> tuple[Goal, ...]:
        """Every goal, measured or not."""
        return goals(self.groups)

    @property
    def revisions(self) -> tuple[str, ...]:
        """Revisions of the source that ran; more than one means that cells don't compare."""
        return tuple(sorted({cell.revision for cell in self.cells if cell.revision}))

    def to_json(self) -> dict[str, Any]:
        """The object of bench.json."""
        packages = self.cells[-1].packages if self.cells else {}
        return {
            "version": VERSION,
            "setup": self.setup.to_json(),
            "command": self.command,
            "machine": dict(self.machine),
            "packages": dict(packages),
            "revisions": list(self.revisions),
            "order": [key.path for key in self.setup.order],
            "cells": [{**cell.to_json(), "numbers": measured(cell)} for cell in self.cells],
            "failures": [{**asdict(each), "key": each.key.path} for each in self.failures],
            "groups": [{**asdict(group), "batch": str(group.batch)} for group in self.groups],
            "goals": [{**asdict(goal), "met": goal.met} for goal in self.goals],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BenchReport:
        """Read the object of bench.json back; what follows from the cells is worked out anew.

        Raises:
            ValueError: it is of another version.
        """
        if value.get("version") != VERSION:
            raise ValueError(
                f"bench.json is of version {value.get('version')}, not {VERSION}: name another "
                "--out, or remove the file and measure anew"
            )
        cells = [{k: v for k, v in cell.items() if k != "numbers"} for cell in value["cells"]]
        return cls(
            setup=BenchSetup.from_json(value["setup"]),
            command=value["command"],
            machine=value["machine"],
            cells=tuple(Cell.from_json(cell) for cell in cells),
            failures=tuple(
                Failure(**{**each, "key": CellKey.parse(each["key"])}) for each in value["failures"]
            ),
        )
