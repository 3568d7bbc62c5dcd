"""How the runs of a picture are told apart: colours, markers and lines.

Refuses to draw: that is `figure_lines` and `figure_bars`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

# Okabe and Ito's set (2008), lightened for dark paper.
RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9")
DARK_RUN_COLOURS = ("#56B4E9", "#F0803C", "#2FC39A", "#E39BC6", "#F0B429", "#B8C4CE")
MARKERS = "osD^vP"
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)))
# Tol's bright set, in the order of `Phases`: it reads on light and on dark paper.
PHASE_COLOURS = ("#4477AA", "#66CCEE", "#228833", "#D9566A", "#CCBB44", "#A8AEB5")
PHASE_NAMES = ("generate", "old log-prob", "reference", "update", "weight sync", "other")


@dataclass(frozen=True, kw_only=True)
class Pen:
    """How the lines of one run look in every panel."""

    colour: str
    """Colour of line and marker, as ``#rrggbb``."""
    marker: str
    """Marker of measured points."""
    line: Any
    """Line style: a dash name or (offset, dashes in points)."""


def pens(num_runs: int, *, dark: bool) -> list[Pen]:
    """A pen for each run; beyond six runs they repeat."""
    colours = DARK_RUN_COLOURS if dark else RUN_COLOURS
    looks = islice(cycle(zip(colours, MARKERS, LINES, strict=True)), num_runs)
    return [Pen(colour=colour, marker=marker, line=line) for colour, marker, line in looks]
