"""A sketch is what a picture shows; drawing it gives the same panels for every screen and theme.

Wide screens get the panels in columns, phones one under another. Every method has its colour, its
marker and its line in all pictures, so that they are told apart without colour too. Refuses to
know what the panels show.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from copris_core.report.compared import Method
from copris_core.report.panels import Pen, pens
from copris_core.report.picture import DOTS_PER_INCH, INK, Layout, Theme, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["png", "svg"]

WIDTH = {"wide": 12.0, "tall": 4.9}
"""Inches of a picture; on a phone a point is then about a pixel."""
LEGEND_CHARACTERS = {"wide": 120, "tall": 46}
"""About as many fit beside each other, a legend's line and gap counted as `LEGEND_SPACE`."""
LEGEND_SPACE = 8
LEGEND_ROW = 0.24
"""Inches of one row of a legend."""
TITLE_WIDTH = 27
"""Characters of a title in one line where rows have names at their left."""
FEW = 3
"""With more methods a panel shows less of each."""
UNMEASURED = "not measured"
LONGEST_LABEL = 40
"""Longer labels are cut in pictures; the tables have them whole."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a panel must know of the theme."""

    pens: tuple[Pen, ...]
    """One a method."""
    ink: str
    """Colour of text, as ``#rrggbb``."""


Panel = Callable[["Axes", Sequence[Method], Look], None]


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """One picture before it is drawn."""

    name: str
    """Name for files and links, of letters and underscores."""
    title: str
    """Heading."""
    remark: str
    """How to read it, in a sentence or two."""
    panels: tuple[Panel, ...]
    """What it shows; at least one."""
    columns: int
    """Panels beside each other on a wide screen."""
    height: float
    """Inches of a panel."""
    has_legend: bool = True
    """Whether the methods' lines are explained at the top."""


def draw_sketch(
    sketch: Sketch, methods: Sequence[Method], *, theme: Theme, layout: Layout, form: Format
) -> bytes:
    """The picture as PNG, or as SVG whose text is text."""
    # Only this function needs the plotting package, and it is slow to import.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    look = Look(pens=tuple(pens(len(methods), dark=theme == "dark")), ink=INK[theme][1])
    columns = min(sketch.columns, len(sketch.panels)) if layout == "wide" else 1
    rows = -(-len(sketch.panels) // columns)
    with rc_context(_settings(theme, layout, salt=f"{sketch.name}-{layout}")):
        legend_rows = -(-len(methods) // _legend_columns(methods, layout))
        extra = 0.3 + LEGEND_ROW * legend_rows if sketch.has_legend else 0.0
        inches = (WIDTH[layout], rows * sketch.height + extra)
        figure = Figure(figsize=inches, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, panel in zip(axes, sketch.panels, strict=False):
            panel(axis, methods, look)
        for axis in axes[len(sketch.panels) :]:
            axis.remove()
        if sketch.has_legend:
            _legend(figure, methods, look, layout)
        content = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if form == "svg" else {}
        figure.savefig(content, format=form, dpi=DOTS_PER_INCH, metadata=metadata)
    return content.getvalue()


def short(label: str) -> str:
    """A label as a picture can hold it."""
    cut = label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 3] + "..."
    # The plotting package leaves labels that begin so out of a legend.
    return f" {cut}" if cut.startswith("_") else cut


def stacked(title: str) -> str:
    """A title in lines that stand beside a phone's row names; words may be joined by ``_``."""
    spaced = title.replace("_", "_ ")  # a space is where a line may end
    lines = textwrap.wrap(spaced, TITLE_WIDTH, break_long_words=True)
    return "\n".join(line.replace("_ ", "_") for line in lines)


def with_absent(name: str, absent: Sequence[str], without: str = UNMEASURED) -> str:
    """The name of a scale, and under it which methods the panel does not show."""
    labels = textwrap.wrap(f"{without}: {', '.join(map(short, absent))}", LONGEST_LABEL)
    return "\n".join([name, *labels]) if absent else name


def _settings(theme: Theme, layout: Layout, *, salt: str) -> dict[Any, Any]:
    return style(*INK[theme]) | {
        "axes.titlesize": 13.5 if layout == "wide" else 13,
        "text.parse_math": False,  # a dollar in a label is a dollar
        "svg.fonttype": "none",
        "svg.hashsalt": salt,  # names inside are the same every time, and no other picture's
    }


def _legend(figure: Figure, methods: Sequence[Method], look: Look, layout: Layout) -> None:
    from matplotlib.lines import Line2D

    names = [short(method.label) for method in methods]
    handles = [
        Line2D([], [], color=pen.colour, marker=pen.marker, ls=pen.line, lw=2.2, ms=7)
        for pen in look.pens
    ]
    columns = _legend_columns(methods, layout)
    figure.legend(handles, names, loc="outside upper center", ncols=columns, borderaxespad=0)


def _legend_columns(methods: Sequence[Method], layout: Layout) -> int:
    longest = max(len(short(method.label)) for method in methods) + LEGEND_SPACE
    return max(1, min(len(methods), LEGEND_CHARACTERS[layout] // longest))
