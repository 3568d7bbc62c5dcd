"""The comparison as a table for a terminal of 100 columns, one row a run.

Refuses to compute: ratios come from `ratios`, words for numbers from `numbers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from copris_core.report.numbers import (
    show,
    show_accuracy,
    show_gap,
    show_ratio,
    show_seconds,
)
from copris_core.report.ratios import labels, speedup
from copris_core.report.summary import Summary

Ratios = dict[str, float | None]
Cell = Callable[[Summary, Ratios], Text]

COLUMNS: dict[str, Cell] = {
    "steps": lambda run, _: Text(str(run.steps)),
    "wall": lambda run, _: Text(show_seconds(run.wall_s)),
    "generate": lambda run, _: Text(show_seconds(run.phases.generate)),
    "samples/s": lambda run, ratios: _with_ratio(run.samples_per_s, ratios["samples_per_s"]),
    "occup.": lambda run, _: Text(show(run.occupancy, 2)),
    "segm.": lambda run, _: Text(show(run.segments_per_sample, 2)),
    "accuracy": lambda run, _: Text(show_accuracy(run.accuracy)),
    "max gap": lambda run, _: Text(show_gap(run.max_logprob_gap)),
}
"""Heading and content of each column after the run's name."""

CAPTION = (
    "samples/s: finished responses per second of generation, with the ratio to the first run. "
    "segm.: sampling segments per trained response. ±: one binomial standard error. "
    "max gap: largest |engine - trainer| log-prob. A hyphen: not measured."
)


def comparison_table(summaries: Sequence[Summary]) -> Table:
    """One row a run, ratios against the first.

    Raises:
        ValueError: if there is no run.
    """
    if not summaries:
        raise ValueError("nothing to compare: give at least one run")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.caption, table.caption_justify = CAPTION, "left"
    table.add_column("experiment", overflow="fold")
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, run in zip(labels(summaries), summaries, strict=True):
        ratios = speedup(run, summaries[0])
        # Text, not str: a name with brackets would be read as rich markup.
        table.add_row(Text(name), *(cell(run, ratios) for cell in COLUMNS.values()))
    return table


def _with_ratio(value: float | None, times: float | None) -> Text:
    text = Text(f"{show(value, 1)} ")
    # The printed two decimals decide the colour, as they decide the words of `notes`.
    printed = None if times is None else round(times, 2)
    style = "" if printed is None or printed == 1 else "green" if printed > 1 else "red"
    return text.append(f"{show_ratio(times):>5}", style=style)
