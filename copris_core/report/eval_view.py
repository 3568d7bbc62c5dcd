"""An evaluation in a terminal of 100 columns. Refuses to compute: words come from `eval_tables`."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from copris_core.evaluation.eval_result import EvalResult
from copris_core.report.eval_notes import eval_notes
from copris_core.report.eval_tables import EvalTable, eval_tables


def print_eval(result: EvalResult, console: Console) -> None:
    """Print the tables and what weakens them."""
    console.print(eval_view(result), soft_wrap=False)


def eval_view(result: EvalResult) -> RenderableType:
    """Every table, then the notes."""
    tables = [_view(table) for table in eval_tables(result)]
    # Text, not str: a name with brackets would be read as rich markup.
    spaced = [part for table in tables for part in (table, Text())]
    return Group(*spaced, *(Text(note, style="yellow") for note in eval_notes(result)))


def _view(content: EvalTable) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.title, table.title_justify = Text(content.title), "left"
    table.caption, table.caption_justify = Text(content.remark), "left"
    first, *others = content.heading
    table.add_column(Text(first), overflow="fold")
    for heading in others:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for row in content.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
