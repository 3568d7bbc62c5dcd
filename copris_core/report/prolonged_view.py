"""A prolonged run as two tables for a terminal of 100 columns. Refuses to compute."""

from __future__ import annotations

from collections.abc import Callable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from copris_core.report.numbers import UNKNOWN, show
from copris_core.report.prolonged import BLENDED, Course, ProlongedRun, Stretch

COLUMNS: dict[str, Callable[[Stretch], str]] = {
    "steps": lambda each: f"{each.first_step}-{each.last_step}",
    "blended": lambda each: _course(each.blended),
    "KL": lambda each: _short(each.kl_median),
    "max": lambda each: _short(each.kl_max),
    "high": lambda each: UNKNOWN if each.kl_above is None else f"{each.kl_above:.0%}",
    "coef.": lambda each: _short(each.coefficient),
    "entr.": lambda each: show(each.entropy, 2),
    "len.": lambda each: show(each.length, 0),
    "filt.": lambda each: show(each.filtered, 1),
    "cut": lambda each: UNKNOWN if each.truncated is None else f"{each.truncated:.0%}",
    "ended by": lambda each: "" if each.ended_by is None else each.ended_by.why,
}
"""Heading and content of each column of the stretches."""

CAPTION = (
    "A row for each reference. blended: validation accuracy, first/best/last. KL, max: to the "
    "reference, in nats per token, median and largest; high: share of the steps above the band. "
    "coef.: of the last update. entr.: nats per token. len.: tokens. filt.: groups filtered per "
    "step. cut: responses cut off. A hyphen: not measured."
)


def prolonged_view(run: ProlongedRun) -> RenderableType:
    """What the run is, its stretches, its resets in words, and its domains."""
    return Group(
        Text(_head(run)),
        _stretches(run),
        *(Text(reset.sentence) for reset in run.resets),
        _domains(run),
    )


def _head(run: ProlongedRun) -> str:
    many = "reset" if len(run.resets) == 1 else "resets"
    again = ", ".join(str(step) for step in run.restarts)
    restarts = f"restarted at step {again}" if again else "never restarted"
    return f"{run.name}: {run.last_step} steps, {len(run.resets)} {many}, {restarts}"


def _stretches(run: ProlongedRun) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.caption, table.caption_justify = CAPTION, "left"
    for heading in COLUMNS:
        is_words = heading in ("steps", "ended by")
        table.add_column(heading, justify="left" if is_words else "right", no_wrap=not is_words)
    for each in run.stretches():
        table.add_row(*(Text(cell(each)) for cell in COLUMNS.values()))
    return table


def _domains(run: ProlongedRun) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("accuracy of")
    for heading in ("first", "best", "at step", "last"):
        table.add_column(heading, justify="right")
    keys = {name: f"val/{name}/accuracy" for name in run.domains} | {"blended": BLENDED}
    for name, key in keys.items():
        course = run.course(key)
        if course is not None:
            best = (show(course.best, 3), str(course.best_step))
            table.add_row(Text(name), show(course.first, 3), *best, show(course.last, 3))
    return table


def _course(course: Course | None) -> str:
    if course is None:
        return UNKNOWN
    return "/".join(show(value, 2) for value in (course.first, course.best, course.last))


def _short(value: float | None) -> str:
    """Two digits that count: KL and its coefficient run over decades."""
    return UNKNOWN if value is None else f"{value:.2g}"
