"""compare.png: four panels that show what each run bought.

Accuracy and reward by step, reward by wall-clock, where a step's seconds went, and how full the
engine was. Colours are told apart by colour-blind readers too, and every run has its own marker
and line besides. Refuses to read files: curves in, PNG bytes out.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal

from copris_core.report.panels import PANELS, Curves, pens

Theme = Literal["light", "dark"]
Layout = Literal["wide", "tall"]

INK = {"light": ("#ffffff", "#1f2328", "#dde2e8"), "dark": ("#14181d", "#e3e8ee", "#333b45")}
"""Of each theme: paper, ink, grid."""
SHAPES = {"wide": ((2, 2), (12.0, 8.2)), "tall": ((4, 1), (5.4, 16.0))}
"""Of each layout: rows and columns of panels, and inches; ``tall`` is for a phone."""
DOTS_PER_INCH = 130


def draw(runs: Sequence[Curves], *, theme: Theme = "light", layout: Layout = "wide") -> bytes:
    """PNG of the four panels.

    Raises:
        ValueError: if there is no run.
    """
    if not runs:
        raise ValueError("nothing to draw: give at least one run")
    # Only this function needs the plotting package, and it is slow to import.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shape, inches = SHAPES[layout]
    with rc_context(style(*INK[theme])):
        figure = Figure(figsize=inches, layout="constrained")
        axes = figure.subplots(*shape).ravel()
        for axis, panel in zip(axes, PANELS, strict=True):
            panel(axis, runs, pens(len(runs), dark=theme == "dark"))
        handles, names = axes[0].get_legend_handles_labels()
        num_columns = min(len(runs), 6 if layout == "wide" else 2)
        figure.legend(handles, names, loc="outside upper center", ncols=num_columns)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()


def style(paper: str, ink: str, grid: str) -> dict[Any, Any]:
    """Settings of the drawing package for one theme."""
    inked = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    return {
        "font.family": ["DejaVu Sans"],
        "font.size": 12,
        "axes.titlesize": 13.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": grid,
        "axes.facecolor": paper,
        "figure.facecolor": paper,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": grid,
        "grid.linewidth": 0.8,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "legend.frameon": False,
        "figure.constrained_layout.h_pad": 0.16,
        "figure.constrained_layout.w_pad": 0.16,
        **dict.fromkeys(inked, ink),
    }
