"""The comparison as a table for a terminal of 100 columns, one row a method.

Refuses to compute: numbers over the seeds come from `methods_stats`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from copris_core.report.compared import Method
from copris_core.report.methods_stats import (
    Contrast,
    by_seed,
    difference,
    of,
    show_difference,
    show_over,
    show_times,
    times,
)
from copris_core.report.numbers import UNKNOWN, show_accuracy
from copris_core.report.ratios import SPEEDUPS

HEADINGS = ("seeds", "steps", "step, times faster", "accuracy", "against the first")
NAME_WIDTH = 12
"""Columns that a method's name keeps when the terminal is narrow."""
CAPTION = (
    "step, times faster: seconds of a training step, the first method's over this one's. In "
    "brackets: 95% interval over the seeds. ±, with one seed: one binomial standard error. "
    "A hyphen: not measured."
)


def comparison_table(methods: Sequence[Method]) -> Table:
    """One row a method, ratios and differences against the first.

    Raises:
        ValueError: if there is no method.
    """
    if not methods:
        raise ValueError("nothing to compare: give at least one run")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.caption, table.caption_justify = CAPTION, "left"
    table.add_column("method", overflow="fold", min_width=NAME_WIDTH)
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for method in methods:
        # Text, not str: a name with brackets would be read as rich markup.
        table.add_row(Text(method.label), *_cells(method, methods[0]))
    return table


def _cells(method: Method, base: Method) -> list[Text]:
    is_first = method is base
    step, accuracy = of(SPEEDUPS["steps_wall"]), of(lambda run: run.accuracy.after)
    ratio = times(by_seed(method, step), by_seed(base, step))
    gap = difference(by_seed(method, accuracy), by_seed(base, accuracy))
    one = len(method.runs) == 1
    rates = [run.summary.accuracy for run in method.runs]
    return [
        Text(str(len(method.runs))),
        Text(show_over([run.summary.steps for run in method.runs], 0)),
        Text(UNKNOWN) if is_first else Text(show_times(ratio), style=_style(ratio)),
        Text(show_accuracy(rates[0]) if one else show_over([x.after for x in rates], 3, most=1)),
        Text(UNKNOWN if is_first else show_difference(gap, 3)),
    ]


def _style(found: Contrast | None) -> str:
    """Coloured as far as it can be told from 1; without an interval by the printed decimals."""
    if found is None or found.differs_from(1) is False:
        return ""
    printed = round(found.estimate, 2)
    return "" if printed == 1 else "green" if printed > 1 else "red"
