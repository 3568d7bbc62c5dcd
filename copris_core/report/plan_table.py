"""A plan as a table for a terminal of 100 columns, one row for each strategy and N'.

Refuses to compute: the object of plan.json in, a table out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from copris_core.report.numbers import show, show_ratio, show_seconds

Prediction = Mapping[str, Any]

COLUMNS: dict[str, Callable[[Prediction], str]] = {
    "step": lambda each: show_seconds(each["step_s"]),
    "gen.": lambda each: show_seconds(each["generate_s"]),
    "samples/s": lambda each: f"{each['samples_per_s']:.4g}",
    "gain": lambda each: show_ratio(each["gain"]),
    "tok/s": lambda each: _thousands(each["tokens_per_s"]),
    "occ.": lambda each: show(each["occupancy"], 2),
    "idle": lambda each: f"{each['idle_generate']:.0%}",
    "intr": lambda each: _short(each["interruptions"]),
    "lag": lambda each: show(each["lag_mean"], 1),
    "p95": lambda each: str(each["lag_p95"]),
    "again": lambda each: f"{each['prefilled_again']:.0%}",
    "pre.": lambda each: _short(each["preemptions"]),
}
"""Heading and content of each column after the strategy and its N'."""

CAPTION = (
    "gen.: seconds of generation. samples/s, tok/s: of the whole step; gain: samples/s over "
    "sync's. occ.: in flight over N'. idle: slots in which nothing runs while generating. intr: "
    "interruptions per response. lag, p95: versions from sampling to training, mean and 95th "
    "percentile of the tokens. again: tokens prefilled again per sampled one. pre.: preemptions "
    "per step. *: recommended. k: the knee, beyond which little is gained."
)


def plan_table(plan: Mapping[str, Any]) -> Table:
    """The table of the object of plan.json."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.caption, table.caption_justify = CAPTION, "left"
    table.add_column("strategy", no_wrap=True)
    table.add_column("N'", justify="right", no_wrap=True)
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for each in plan["predictions"]:
        name = each["strategy"].removeprefix("copris_")
        cells = [name, _limit(each, plan), *(cell(each) for cell in COLUMNS.values())]
        table.add_row(*map(Text, cells), style="bold" if is_chosen(each, plan) else "")
    return table


def is_chosen(each: Prediction, plan: Mapping[str, Any]) -> bool:
    """Whether this is the recommended one."""
    return bool(each["strategy"] == "copris" and each["concurrency"] == plan["chosen"])


def _short(value: float) -> str:
    """Two decimals below 10, one below 100, none above."""
    return show(value, 2 if value < 9.995 else 1 if value < 99.95 else 0)


def _thousands(value: float) -> str:
    """Such as ``387``, ``12,345``, ``123k`` or ``1.23M``."""
    if value < 99_999.5:
        return f"{value:,.0f}"
    return f"{value / 1e3:.0f}k" if value < 999_500 else f"{value / 1e6:.3g}M"


def _limit(each: Prediction, plan: Mapping[str, Any]) -> str:
    is_knee = each["strategy"] == "copris" and each["concurrency"] == plan["knee"]
    marks = f"{'k' if is_knee else ''}{'*' if is_chosen(each, plan) else ''}"
    return f"{marks} {each['concurrency']}".lstrip()
