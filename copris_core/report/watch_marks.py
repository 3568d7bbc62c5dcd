"""Numbers as characters: histories, bars and stacked shares, in Unicode or plain ASCII.

Refuses to know what a number means, and to colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The characters of one kind of terminal."""

    levels: str
    """Of a history, low to high."""
    full: str
    """Of a bar, what is reached."""
    rest: str
    """Of a bar, what is not."""
    fills: str
    """Of stacked shares, one each, told apart without colour too."""


UNICODE = Marks(levels="▁▂▃▄▅▆▇█", full="━", rest="╌", fills="█▓▒░▞▄")
ASCII = Marks(levels="_.-~=+*#", full="=", rest="-", fills="#*+=%/")


def marks_for(encoding: str) -> Marks:
    """What a terminal of this encoding can show."""
    return UNICODE if encoding.lower().replace("-", "").startswith("utf") else ASCII


def history(values: Sequence[float | None], width: int, marks: Marks) -> str:
    """A line at most ``width`` wide from the lowest value to the highest.

    Longer histories are averaged over stretches of steps; a gap is where nothing was measured.
    """
    cells = _stretched(values, width)
    known = [cell for cell in cells if cell is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    top = len(marks.levels) - 1
    flat = marks.levels[top // 2]
    return "".join(
        " " if cell is None else marks.levels[round((cell - low) / span * top)] if span else flat
        for cell in cells
    )


def bar(share: float, width: int, marks: Marks) -> tuple[str, str]:
    """A share in [0, 1] as what is reached and what is not, together ``width`` wide."""
    reached = round(min(1.0, max(0.0, share)) * width)
    return marks.full * reached, marks.rest * (width - reached)


def widths(shares: Sequence[float], width: int) -> list[int]:
    """Whole characters for shares that sum to 1, by largest remainder; together ``width``."""
    if not any(shares):
        return [0] * len(shares)
    exact = [share * width for share in shares]
    whole = [int(each) for each in exact]
    by_rest = sorted(range(len(exact)), key=lambda i: whole[i] - exact[i])
    for i in by_rest[: width - sum(whole)]:
        whole[i] += 1
    return whole


def _stretched(values: Sequence[float | None], width: int) -> list[float | None]:
    """``values`` as at most ``width`` means of neighbours; None where none of them is known."""
    num = min(len(values), max(0, width))
    cuts = [i * len(values) // num for i in range(num + 1)] if num else []
    return [_mean(values[begin:end]) for begin, end in pairwise(cuts)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
