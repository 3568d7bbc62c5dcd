"""report.md: the comparison as text that a code host shows, with the pictures beside it.

Refuses to compute: tables, notes and pictures come as they are shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from copris_core.report.compared import Method, Table

MARKUP = re.compile(r"[\\`*<|]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])|^#")
"""What would become markup; ``_`` within a word and ``]`` behind an interval would not."""


def render_markdown(
    methods: Sequence[Method],
    *,
    tables: Sequence[Table],
    notes: Sequence[str],
    pictures: Sequence[tuple[str, str, str]],
) -> str:
    """The whole report.

    Args:
        methods: the first is the baseline.
        tables: in their order.
        notes: sentences.
        pictures: title, remark and relative path of each.
    """
    names = ", ".join(method.label for method in methods)
    parts = [f"# Comparison of {plain(names)}", "## In words", _bullets(notes)]
    for title, remark, path in pictures:
        parts += [f"## {plain(title)}", plain(remark), f"![{plain(title)}]({path})"]
    for table in tables:
        parts += [f"## {plain(table.title)}", plain(table.remark), _table(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: str) -> str:
    """``text`` such that no character of it becomes markup, in one line."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {plain(sentence)}" for sentence in sentences)


def _table(table: Table) -> str:
    rule = ["---", *(["---" if table.words else "---:"] * (len(table.header) - 1))]
    lines = [[plain(x) for x in table.header], rule, *([plain(x) for x in y] for y in table.rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
