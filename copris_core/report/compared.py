"""What a comparison is about: methods, each with a run for every seed, and tables about them.

Data only. Refuses to read files, to compute or to draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from copris_core.report.audit import Audit
from copris_core.report.run_folder import Row
from copris_core.report.summary import Summary


@dataclass(frozen=True, kw_only=True)
class RunData:
    """One finished run."""

    path: Path
    """Its folder."""
    summary: Summary
    """What summary.json holds."""
    rows: Sequence[Row]
    """Rows of metrics.jsonl, one a step (`summary.merge_steps`), by step."""
    config: Mapping[str, Any]
    """The composed config; empty where the folder has none."""
    audit: Audit | None
    """What its ledger proves; None without a ledger."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """What it ran on; empty where nobody noted it."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One column of the comparison: an experiment with its overrides, over its seeds."""

    label: str
    """Name in tables and legends, distinct in a comparison."""
    runs: tuple[RunData, ...]
    """One a seed, by seed; at least one."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs."""
        return tuple(run.summary.seed for run in self.runs)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the report, ready to be shown."""

    title: str
    """Heading."""
    remark: str
    """A sentence or two on how to read it; may be empty."""
    header: tuple[str, ...]
    """Names of the columns; the first names the rows."""
    rows: tuple[tuple[str, ...], ...]
    """Cells as text, each row as long as the header."""
    words: bool = False
    """True when the cells are words, which may wrap, rather than numbers."""
