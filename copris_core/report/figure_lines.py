"""Panels of lines: how something went over the training steps or the training seconds.

A line is the mean over the seeds, its shade their range. Refuses to compute: that is
`figure_data`. Who did not measure what a panel shows is named under it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from copris_core.report.compared import Method
from copris_core.report.figure_data import (
    SMOOTHED_STEPS,
    Line,
    Pick,
    along_seconds,
    along_steps,
    course,
    key,
)
from copris_core.report.figure_sketch import FEW, UNMEASURED, Look, Panel, with_absent
from copris_core.report.panels import Pen
from copris_core.report.score import score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

X = Literal["steps", "seconds"]

ACCURACY = key("val/accuracy")
ROOM = 0.07
"""Share of the vertical scale above the highest point; half as much below the lowest."""
MOST_MARKERS = 24
"""Markers on a line; of more measurements every second, third and so on has one."""
MINUTE, HOUR = 60.0, 3600.0


def line_panel(
    title: str, pick: Pick, *, x: X = "steps", noisy: bool = False, without: str = UNMEASURED
) -> Panel:
    """A panel of one number.

    Args:
        title: what the number is.
        pick: reads it.
        x: the horizontal scale.
        noisy: whether it is smoothed; a lone seed's own values are then thin behind.
        without: what is said of the methods that have none.
    """

    def panel(axis: Axes, methods: Sequence[Method], look: Look) -> None:
        unit_s, unit = _time_unit(methods) if x == "seconds" else (1.0, "")
        absent = []
        for method, pen in zip(methods, look.pens, strict=True):
            line = _line_of(method, pick, x, window=SMOOTHED_STEPS if noisy else 1)
            if line is None:
                absent.append(method.label)
                continue
            if noisy and line.num_seeds == 1 and len(methods) <= FEW:
                raw = _line_of(method, pick, x, window=1)
                assert raw is not None, "what is smoothed was measured"
                axis.plot(_over(raw.x, unit_s), raw.mean, color=pen.colour, lw=0.8, alpha=0.4)
            draw_line(axis, line, pen, per=unit_s, every_marker=not noisy)
        axis.set(title=title, xlabel=x_name(x, unit, absent, without))
        if x == "steps":
            whole_steps(axis)
        else:
            axis.set_xlim(left=min(0.0, axis.get_xlim()[0]))
        from_zero(axis)

    return panel


def learning_panel(axis: Axes, methods: Sequence[Method], look: Look) -> None:
    """Held-out accuracy (bold, with markers) and the training score (thin) by step."""
    absent = []
    for method, pen in zip(methods, look.pens, strict=True):
        rewards = along_steps(method, score, window=SMOOTHED_STEPS)
        if rewards is not None:
            axis.plot(rewards.x, rewards.mean, color=pen.colour, lw=1.1, alpha=0.6)
        line = along_steps(method, ACCURACY)
        if line is None:
            absent.append(method.label)
        else:
            draw_line(axis, line, pen, per=1.0, every_marker=True)
    title = "Accuracy (bold) and reward (thin)"
    axis.set(title=title, xlabel=x_name("steps", "", absent))
    whole_steps(axis)
    from_zero(axis)


def occupancy_panel(axis: Axes, methods: Sequence[Method], look: Look) -> None:
    """Responses in flight while generating, and the limit N' as a thin line, by step."""
    absent = []
    for method, pen in zip(methods, look.pens, strict=True):
        held = along_steps(method, key("rollout/in_flight"))
        if held is None:
            absent.append(method.label)
            continue
        draw_line(axis, held, pen, per=1.0, every_marker=False)
        limit = along_steps(method, key("rollout/limit"))
        if limit is not None:
            axis.plot(limit.x, limit.mean, color=pen.colour, ls=":", lw=1.6)
    axis.set(title="Responses in flight (dots: N')", xlabel=x_name("steps", "", absent))
    whole_steps(axis)
    from_zero(axis)


def gap_panel(axis: Axes, methods: Sequence[Method], look: Look) -> None:
    """Engine against trainer log-probs: mean over a step's tokens (bold), largest (thin)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    absent = []
    for method, pen in zip(methods, look.pens, strict=True):
        mean = along_steps(method, _positive("logprob_gap/mean"))
        largest = along_steps(method, _positive("logprob_gap/max"))
        if mean is None or largest is None:
            absent.append(method.label)
            continue
        draw_line(axis, mean, pen, per=1.0, every_marker=False)
        axis.plot(largest.x, largest.mean, color=pen.colour, ls=pen.line, lw=1.0, alpha=0.8)
    title = "Log-prob gap: mean (bold), largest (thin)"
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))  # also within one decade
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set(title=title, xlabel=x_name("steps", "", absent))
    whole_steps(axis)


def is_measured(methods: Sequence[Method], pick: Pick) -> bool:
    """Whether any run of any method has a point of it."""
    return any(course(run, pick) for method in methods for run in method.runs)


def draw_line(axis: Axes, line: Line, pen: Pen, *, per: float, every_marker: bool) -> None:
    """The mean, its range where there are several seeds, and markers or the last one alone."""
    x = _over(line.x, per)
    if line.num_seeds > 1:
        axis.fill_between(x, line.low, line.high, color=pen.colour, alpha=0.16, lw=0)
    axis.plot(
        x, line.mean, color=pen.colour, ls=pen.line, lw=2.2, ms=7, marker=pen.marker,
        markevery=-(-len(x) // MOST_MARKERS) if every_marker else [len(x) - 1],
    )  # fmt: skip


def x_name(x: X, unit: str, absent: Sequence[str], without: str = UNMEASURED) -> str:
    """What the horizontal scale is, and which methods have no line: they must not look hidden."""
    return with_absent(
        "training step" if x == "steps" else f"{unit} of training steps", absent, without
    )


def from_zero(axis: Axes) -> None:
    """A vertical scale that holds 0, with room for the markers at its ends."""
    low, high = min(0.0, axis.dataLim.y0), max(0.0, axis.dataLim.y1)
    room = ROOM * (high - low)
    if math.isfinite(room) and room > 0:
        axis.set_ylim(low - room / 2, high + room)


def whole_steps(axis: Axes) -> None:
    """Ticks at whole training steps only."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))


def _line_of(method: Method, pick: Pick, x: X, *, window: int) -> Line | None:
    along: Callable[..., Line | None] = along_steps if x == "steps" else along_seconds
    return along(method, pick, window=window)


def _time_unit(methods: Sequence[Method]) -> tuple[float, str]:
    """Seconds, minutes or hours: whatever keeps the longest run's number small."""
    longest_s = max(run.summary.phases.total_s or 0.0 for each in methods for run in each.runs)
    if longest_s < 5 * MINUTE:
        return 1.0, "seconds"
    return (MINUTE, "minutes") if longest_s < 3 * HOUR else (HOUR, "hours")


def _over(values: Sequence[float], unit: float) -> list[float]:
    return [value / unit for value in values]


def _positive(name: str) -> Pick:
    """A logarithmic scale has no place for 0: an exact step has no point."""
    return lambda row: value if (value := row.get(name)) is not None and value > 0 else None
