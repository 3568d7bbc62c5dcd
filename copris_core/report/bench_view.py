"""A bench in a terminal of 100 columns: rates, where the seconds went, sentences, goals.

Refuses to compute; sentences come from `bench_words`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from copris_core.report import bench_groups
from copris_core.report.bench import BenchReport
from copris_core.report.bench_goals import Goal
from copris_core.report.bench_groups import MethodReading
from copris_core.report.bench_stats import Spread
from copris_core.report.bench_words import show_spread, words
from copris_core.report.numbers import UNKNOWN, show, show_ratio

RATE_REMARK = (
    "Medians over the rounds with (lowest..highest); ratios are paired with {baseline} of the same "
    "round. rollout: of the generate phase. A hyphen: not measured."
)
RATIO_REMARK = (
    "Ratios to {baseline}. tokens, finished: sampled tokens and finished responses per second of "
    "generation. equal: seconds to train equally many samples | samples trained in equal seconds. "
    "slots, cost: limit of the whole step by empty slots, by the engine's costs; of it: measured, "
    "above 1 where a phase besides generation got shorter."
)
SECONDS_REMARK = (
    "Seconds of a training step. full, empty: engine busy times filled, empty slots; again: "
    "prefill of continued responses; gap: between engine iterations; wait: before the first and "
    "after the last one; unsplit: generation without an engine log; probs: log-probs. again with a "
    "hyphen: not told by the trainer, and in full and empty."
)
ENGINE_REMARK = (
    "occup.: in flight over N', by the gate's clock; engine: requests run over the width, by the "
    "engine's. iterations, again (response tokens prefilled again): of a training step. "
    "lag: policy versions, of tokens; lag 1st: of first tokens."
)

Column = Callable[[MethodReading], str]

RATES: dict[str, Column] = {
    "rollout samples/s": lambda x: show_spread(x.values["generate_samples_per_s"], 1),
    "ratio": lambda x: _ratio(x, "generate_samples_per_s"),
    "step samples/s": lambda x: show_spread(x.values["step_samples_per_s"], 1),
    "ratio ": lambda x: _ratio(x, "step_samples_per_s"),
}
RATIOS: dict[str, Column] = {
    "tokens": lambda x: _ratio_only(x, "generate_tokens_per_s"),
    "finished": lambda x: _ratio_only(x, "generate_finished_per_s"),
    "equal": lambda x: (
        f"{_ratio_only(x, 'equal_samples')} | {_ratio_only(x, 'equal_wall')}"
        if x.ratios
        else UNKNOWN
    ),
    "slots": lambda x: _limit(x, "slots"),
    "of it": lambda x: _of_limit(x, "slots"),
    "cost": lambda x: _limit(x, "cost"),
    "of it ": lambda x: _of_limit(x, "cost"),
}
ENGINE: dict[str, Column] = {
    "occup.": lambda x: _median(x, "gate_occupancy", 3),
    "engine": lambda x: _median(x, "engine_occupancy", 3),
    "width": lambda x: _median(x, "width", 0),
    "iterations": lambda x: _median(x, "decode_steps", 0),
    "ms each": lambda x: _median(x, "decode_step_s", 1, scale=1000),
    "again": lambda x: _median(x, "reprefill_tokens", 0),
    "lag": lambda x: _median(x, "lag_mean", 2),
    "lag 1st": lambda x: _median(x, "first_token_lag", 2),
    "lag max": lambda x: _median(x, "lag_max", 0),
    "length": lambda x: _median(x, "trained_length", 0),
}
"""Heading and content of each column after the method's name."""

PIECES = {
    "full": "generate_full",
    "empty": "tail_bubble",
    "again": "prefill_again",
    "gap": "engine_gap",
    "wait": "waiting",
    "unsplit": "unsplit",
    "probs": "log_prob",
    "update": "update",
    "sync": "sync",
    "other": "other",
}
"""Heading -> field of `Waterfall`."""

MET = {True: ("yes", "green"), False: ("no", "bold red"), None: ("not measured", "yellow")}


def print_bench(report: BenchReport, console: Console) -> None:
    """Print tables, sentences and goals."""
    console.print(bench_view(report), soft_wrap=False)


def bench_view(report: BenchReport) -> RenderableType:
    """Everything, the goals last."""
    parts: list[RenderableType] = []
    for group in report.groups:
        parts += [*_tables(group), Text()]
    parts += [Text(f"- {sentence}") for sentence in words(report)]
    return Group(*parts, Text(), goals_table(report.goals))


def _tables(group: bench_groups.Group) -> list[Table]:
    title = f"{group.workload} {group.batch}"
    baseline = group.baseline or "nothing"
    return [
        _table(title, RATES, group.methods, RATE_REMARK.format(baseline=baseline)),
        _table(f"{title}: ratios", RATIOS, group.methods, RATIO_REMARK.format(baseline=baseline)),
        _table(f"{title}: engine", ENGINE, group.methods, ENGINE_REMARK),
        _seconds_table(f"{title}: seconds", group.methods),
    ]


def _table(
    title: str, columns: dict[str, Column], methods: Sequence[MethodReading], remark: str
) -> Table:
    table = _empty_table(title, columns, remark)
    for each in methods:
        table.add_row(Text(each.method), *(Text(column(each)) for column in columns.values()))
    return table


def _seconds_table(title: str, methods: Sequence[MethodReading]) -> Table:
    table = _empty_table(title, ["step", *PIECES], SECONDS_REMARK)
    for each in methods:
        seconds = asdict(each.waterfall)
        if each.values["reprefill_tokens"] is None:
            seconds["prefill_again"] = None
        pieces = ["" if seconds[x] == 0 else show(seconds[x], 2) for x in PIECES.values()]
        table.add_row(Text(each.method), show(each.waterfall.total, 2), *pieces)
    return table


def _empty_table(title: str, headings: Sequence[str] | dict[str, Column], remark: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.title, table.title_justify = Text(title, style="bold"), "left"
    table.caption, table.caption_justify = remark, "left"
    table.add_column("method", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def goals_table(goals: Sequence[Goal]) -> Table:
    """One row a goal; where one was not measured anywhere, its places share a row."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.title, table.title_justify = Text("goals", style="bold"), "left"
    for heading in ("goal", "where"):
        table.add_column(heading, overflow="fold")
    for heading in ("measured", "wanted", "met"):
        table.add_column(heading, justify="right", no_wrap=True)
    absent: dict[tuple[str, str], list[str]] = {}
    for goal in goals:
        if goal.met is None:
            absent.setdefault((goal.kind, _wanted(goal)), []).append(goal.where)
        else:
            table.add_row(goal.kind, goal.where, show(goal.measured, 3), _wanted(goal), _met(goal))
    for (kind, wanted), places in absent.items():
        table.add_row(kind, ", ".join(places), UNKNOWN, wanted, Text(*MET[None]))
    return table


def _wanted(goal: Goal) -> str:
    return f"{'<=' if goal.is_upper else '>='} {goal.wanted:.2f}"


def _met(goal: Goal) -> Text:
    return Text(*MET[goal.met])


def _ratio(reading: MethodReading, name: str) -> str:
    return show_spread(reading.ratios.get(name), 2, unit="x")


def _ratio_only(reading: MethodReading, name: str) -> str:
    found = reading.ratios.get(name)
    return show_ratio(None if found is None else found.median)


def _limit(reading: MethodReading, kind: str) -> str:
    return show_ratio(reading.limits[kind].step) if kind in reading.limits else UNKNOWN


def _of_limit(reading: MethodReading, kind: str) -> str:
    return show(reading.limits[kind].of_limit if kind in reading.limits else None, 2)


def _median(reading: MethodReading, name: str, digits: int, *, scale: float = 1) -> str:
    found: Spread | None = reading.values[name]
    return show(None if found is None else found.median * scale, digits)
