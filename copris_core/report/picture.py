"""The looks that all pictures of the room share: paper, ink, grid, letters.

Refuses to draw, and to know what a picture shows.
"""

from __future__ import annotations

from typing import Any, Literal

Theme = Literal["light", "dark"]
Layout = Literal["wide", "tall"]
"""``tall`` is for a phone."""

INK = {"light": ("#ffffff", "#1f2328", "#dde2e8"), "dark": ("#14181d", "#e3e8ee", "#333b45")}
"""Of each theme: paper, ink, grid."""
DOTS_PER_INCH = 130


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
