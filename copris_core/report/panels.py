"""The panels of compare.png, each drawn on an axis it is given.

Refuses to know size, theme and file format. What a run did not measure is named in the panel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from copris_core.report.ratios import per_step
from copris_core.report.run_folder import Row
from copris_core.report.score import score
from copris_core.report.summary import Phases, Summary, merge_steps, training

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's set (2008), lightened for dark paper.
RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9")
DARK_RUN_COLOURS = ("#56B4E9", "#F0803C", "#2FC39A", "#E39BC6", "#F0B429", "#B8C4CE")
MARKERS = "osD^vP"
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)))
# Tol's bright set, in the order of `Phases`: it reads on light and on dark paper.
PHASE_COLOURS = ("#4477AA", "#66CCEE", "#228833", "#D9566A", "#CCBB44", "#A8AEB5")
PHASE_NAMES = ("generate", "old log-prob", "reference", "update", "weight sync", "other")
SMOOTHED_STEPS = 5
"""Reward lines are means of this many steps up to the one shown."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """One run as the picture needs it."""

    label: str
    """Name of the run, distinct in the picture."""
    summary: Summary
    """The run in numbers."""
    rows: Sequence[Row]
    """Rows of metrics.jsonl, in any order."""


@dataclass(frozen=True, kw_only=True)
class Pen:
    """How the lines of one run look in every panel."""

    colour: str
    """Colour of line and marker, as ``#rrggbb``."""
    marker: str
    """Marker of measured points."""
    line: Any
    """Line style: a dash name or (offset, dashes in points)."""


SCORE = "score"
"""Our name for what `numbers.score` finds in a row."""

Panel = Callable[["Axes", Sequence[Curves], Sequence[Pen]], None]


def pens(num_runs: int, *, dark: bool) -> list[Pen]:
    """A pen for each run; beyond six runs they repeat."""
    colours = DARK_RUN_COLOURS if dark else RUN_COLOURS
    looks = islice(cycle(zip(colours, MARKERS, LINES, strict=True)), num_runs)
    return [Pen(colour=colour, marker=marker, line=line) for colour, marker, line in looks]


def learning(axis: Axes, runs: Sequence[Curves], looks: Sequence[Pen]) -> None:
    """Validation accuracy (bold, with markers) and training score (thin) by step."""
    for run, pen in zip(runs, looks, strict=True):
        rows = merge_steps(run.rows)
        steps, rewards = _points(_scored(rows), "step", SCORE)
        axis.plot(steps, rewards, color=pen.colour, lw=1, alpha=0.45)
        steps, rates = _points(rows, "step", "val/accuracy")
        axis.plot(
            steps,
            rates,
            color=pen.colour,
            marker=pen.marker,
            ls=pen.line,
            lw=2.2,
            ms=7,
            label=run.label,
        )
    axis.set(title="Accuracy (bold) and reward (thin)", xlabel="training step")
    axis.set_ylim(bottom=0)
    _name_unmeasured(axis, runs, "val/accuracy")


def reward_by_time(axis: Axes, runs: Sequence[Curves], looks: Sequence[Pen]) -> None:
    """Training score by minutes since the start of the run, smoothed."""
    for run, pen in zip(runs, looks, strict=True):
        seconds, rewards = _points(_scored(merge_steps(run.rows)), "time_s", SCORE)
        minutes = [x / 60 for x in seconds]
        axis.plot(minutes, rewards, color=pen.colour, lw=0.8, alpha=0.3)
        axis.plot(minutes, _trailing_mean(rewards), color=pen.colour, ls=pen.line, lw=2.2)
        axis.plot(minutes[-1:], _trailing_mean(rewards)[-1:], color=pen.colour, marker=pen.marker)
    axis.set(title="Reward by wall-clock", xlabel="minutes since the start")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    _name_unmeasured(axis, runs, "reward/mean")


def step_seconds(axis: Axes, runs: Sequence[Curves], looks: Sequence[Pen]) -> None:
    """Where the seconds of a mean training step went, one bar a run."""
    del looks  # colours stand for phases here
    ends = [0.0] * len(runs)
    for phase, name, colour in zip(fields(Phases), PHASE_NAMES, PHASE_COLOURS, strict=True):
        widths = [per_step(getattr(x.summary.phases, phase.name), x.summary) or 0 for x in runs]
        if any(widths):
            bars = axis.barh(range(len(runs)), widths, 0.62, left=ends, color=colour, label=name)
            axis.bar_label(bars, _roomy(widths), label_type="center", color="white", fontsize=11)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    place: dict[str, Any] = {"textcoords": "offset points", "va": "center", "weight": "bold"}
    for row, end in enumerate(ends):
        text = f"{end:.1f} s" if end else "not measured"
        axis.annotate(text, (end, row), (6, 0), **place)
    axis.set_yticks(range(len(runs)), [x.label for x in runs])
    axis.set_ylim(len(runs) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.margins(x=0.14)
    axis.set(title="Seconds of a training step", xlabel="seconds, mean over the steps")
    axis.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=3, fontsize=10.5)


def in_flight(axis: Axes, runs: Sequence[Curves], looks: Sequence[Pen]) -> None:
    """Responses in flight while generating, and the limit N' as a thin line."""
    for run, pen in zip(runs, looks, strict=True):
        rows = [x for x in merge_steps(run.rows) if training(x)]
        seconds, held = _points(rows, "time_s", "rollout/in_flight")
        minutes = [x / 60 for x in seconds]
        axis.plot(minutes, held, color=pen.colour, ls=pen.line, lw=2.2)
        axis.plot(minutes[-1:], held[-1:], color=pen.colour, marker=pen.marker)
        seconds, limits = _points(rows, "time_s", "rollout/limit")
        axis.plot([x / 60 for x in seconds], limits, color=pen.colour, ls=":", lw=1.4)
    axis.set(title="Responses in flight (dotted: limit)", xlabel="minutes since the start")
    axis.margins(y=0.12)
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    _name_unmeasured(axis, runs, "rollout/in_flight")


PANELS: tuple[Panel, ...] = (learning, reward_by_time, step_seconds, in_flight)


def _points(rows: Sequence[Row], x_key: str, y_key: str) -> tuple[list[float], list[float]]:
    """The x and y of the rows that have both."""
    pairs = [
        (x, y)
        for row in rows
        if (x := row.get(x_key)) is not None and (y := row.get(y_key)) is not None
    ]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _scored(rows: Sequence[Row]) -> list[Row]:
    return [{**row, SCORE: score(row)} for row in rows]


def _trailing_mean(values: Sequence[float]) -> list[float]:
    windows = [values[max(0, i - SMOOTHED_STEPS) : i] for i in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]


def _roomy(widths: Sequence[float]) -> list[str]:
    """Labels of bar pieces; none where the piece is too narrow to hold one."""
    return [f"{x:.1f}" if x > 0.15 * max(widths) and x >= 1 else "" for x in widths]


def _name_unmeasured(axis: Axes, runs: Sequence[Curves], key: str) -> None:
    """An absent line must not look like one that lies under another."""
    absent = [x.label for x in runs if all(row.get(key) is None for row in x.rows)]
    if absent:
        text = f"not measured: {', '.join(absent)}"
        axis.text(0.02, 0.03, text, transform=axis.transAxes, fontsize=10.5, style="italic")
