"""eval.md: an evaluation's tables for a pull request or a note. Refuses to compute."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from copris_core.evaluation.eval_result import EvalResult
from copris_core.report.eval_notes import eval_notes
from copris_core.report.eval_tables import EvalTable, eval_tables, settings_table


def eval_markdown(result: EvalResult, *, title: str, settings: Mapping[str, object]) -> str:
    """The tables and notes as GitHub's Markdown."""
    tables = [*eval_tables(result), *([settings_table(settings)] if settings else [])]
    notes = [f"- {plain(note)}" for note in eval_notes(result)]
    parts = [f"# {plain(title)}", "\n".join(notes), *(_table(each) for each in tables)]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line and within one cell."""
    # A bracket that no ( [ or : follows opens no link, and intervals stay readable.
    return re.sub(r"([\\`*_<>|#~$]|\](?=[(\[:]))", r"\\\1", " ".join(text.split()))


def _table(table: EvalTable) -> str:
    rule = ["---", *("---" if table.words else "---:" for _ in table.heading[1:])]
    rows = [_row(table.heading), f"| {' | '.join(rule)} |", *(_row(row) for row in table.rows)]
    return "\n".join([f"## {plain(table.title)}", "", plain(table.remark), "", *rows])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(plain(cell) for cell in cells)} |"
