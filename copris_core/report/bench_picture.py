"""One PNG for each workload: where a step's seconds went, and each ratio beside its limits.

Blue is work that trains: generating at full width, log-probs, the update. Warm is what a better
schedule could win back. Grey is neither. Refuses to read files: a report in, PNG bytes out.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from copris_core.report.bench_groups import Group, MethodReading
from copris_core.report.picture import DOTS_PER_INCH, INK, Theme, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PIECES: Final = {
    "generate_full": ("generating, full width", "#1F4E8C"),
    "log_prob": ("log-probs", "#4F86C6"),
    "update": ("update", "#8FB8E3"),
    "tail_bubble": ("empty slots", "#D7301F"),
    "prefill_again": ("prefill again", "#F16913"),
    "engine_gap": ("between iterations", "#FDAE4B"),
    "waiting": ("waiting", "#FDD49E"),
    "unsplit": ("generating, not split", "#7A7F87"),
    "sync": ("weight sync", "#A8AEB5"),
    "other": ("other", "#D0D4D9"),
}
"""Field of `Waterfall` -> its name and colour, in the order of the bar."""

LIMIT_LOOKS: Final = {
    "slots": ("|", "limit by empty slots"),
    "cost": ("x", "limit by engine costs"),
}
ROW_INCHES, HEAD_INCHES, WIDTH_INCHES = 0.42, 1.5, 13.0


def draw_workload(groups: Sequence[Group], *, theme: Theme = "light") -> bytes:
    """PNG of one workload, a row of panels for each batch.

    Raises:
        ValueError: there is no group.
    """
    if not groups:
        raise ValueError("nothing to draw: give at least one workload and batch")
    # Only this function needs the plotting package, and it is slow to import.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    heights = [HEAD_INCHES + ROW_INCHES * len(group.methods) for group in groups]
    paper, ink, grid = INK[theme]
    with rc_context(style(paper, ink, grid)):
        figure = Figure(figsize=(WIDTH_INCHES, 0.8 + sum(heights)), layout="constrained")
        shape = {"width_ratios": [1.55, 1], "height_ratios": heights}
        axes = figure.subplots(len(groups), 2, squeeze=False, gridspec_kw=shape)
        for group, (left, right) in zip(groups, axes, strict=True):
            seconds(left, group)
            ratios(right, group, ink=ink)
        found = {name: x for row in axes for x, name in zip(*_legend(row[0]), strict=True)}
        names = [name for name, _ in PIECES.values() if name in found]
        figure.legend([found[x] for x in names], names, loc="outside upper center", ncols=5)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()


def seconds(axis: Axes, group: Group) -> None:
    """The waterfall of each method as one bar."""
    ends = [0.0] * len(group.methods)
    rows = range(len(group.methods))
    for piece, (name, colour) in PIECES.items():
        widths = [getattr(each.waterfall, piece) for each in group.methods]
        if any(widths):
            axis.barh(rows, widths, 0.66, left=ends, color=colour, label=name)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    for row, (end, each) in enumerate(zip(ends, group.methods, strict=True)):
        is_told = each.values["reprefill_tokens"] is not None or each.waterfall.unsplit
        remark = "" if is_told else "  (prefill again not told apart)"
        axis.annotate(f"{end:.2f} s{remark}", (end, row), (5, 0), **PLACE)
    _name_rows(axis, group)
    axis.margins(x=0.1)
    axis.set_xlim(left=0)
    axis.set(title=f"{group.workload} {group.batch}: seconds of a training step")


def ratios(axis: Axes, group: Group, *, ink: str) -> None:
    """Whole-step samples/s over the baseline's: median, range, and the limits."""
    for row, each in enumerate(group.methods):
        found = each.ratios.get("step_samples_per_s")
        if found is None:
            axis.annotate("not measured", (1.0, row), (6, 0), **PLACE)
            continue
        axis.plot([found.low, found.high], [row, row], color=DOT, lw=2.2, alpha=0.6)
        axis.plot([found.median], [row], "o", color=DOT, ms=8)
        axis.annotate(f"{found.median:.2f}x", (found.median, row), (0, 9), **ABOVE)
        _limits(axis, each, row, ink)
    axis.axvline(1.0, color=ink, lw=0.8, alpha=0.5)
    _name_rows(axis, group)
    axis.set_yticklabels([])
    axis.margins(x=0.15)
    axis.set(title=f"whole-step samples/s over {group.baseline or 'nothing'}")
    handles, names = _legend(axis)
    by_name = dict(zip(names, handles, strict=True))
    if by_name:
        axis.legend(by_name.values(), by_name.keys(), fontsize=10.5, **BELOW)


DOT: Final = "#1F4E8C"
PLACE: Final[dict[str, Any]] = {"textcoords": "offset points", "va": "center", "fontsize": 10.5}
ABOVE: Final[dict[str, Any]] = {"textcoords": "offset points", "ha": "center", "fontsize": 9.5}
BELOW: Final[dict[str, Any]] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.08), "ncols": 2}


def _limits(axis: Axes, reading: MethodReading, row: int, ink: str) -> None:
    for kind, limit in reading.limits.items():
        marker, name = LIMIT_LOOKS[kind]
        size = 12 if marker == "|" else 7
        axis.plot([limit.step], [row], marker, color=ink, ms=size, mew=2, ls="", label=name)


def _name_rows(axis: Axes, group: Group) -> None:
    axis.set_yticks(range(len(group.methods)), [each.method for each in group.methods])
    axis.set_ylim(len(group.methods) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")


def _legend(axis: Axes) -> tuple[list[Any], list[str]]:
    handles, names = axis.get_legend_handles_labels()
    return list(handles), list(names)
