r"""Takes canonical LaTeX apart: lists, sets, points, intervals, unions and matrices.

This file refuses to know when two items are equal.
"""

import re
from dataclasses import dataclass
from enum import Enum

_MATRIX = re.compile(r"\\begin\{([pbBvV]?)(?:small)?matrix\}(.*)\\end\{\1(?:small)?matrix\}")
_JOINT = re.compile(r"(?<![a-zA-Z\\])(?:or|and)(?![a-zA-Z])")
_OPEN, _CLOSE = "([{", ")]}"


class Kind(Enum):
    """What holds the items together, and so what makes two of them comparable."""

    ITEM = "one item alone"
    LIST = "1,2"
    SET = "{1,2}"
    POINT = "(1,2)"
    CLOSED = "[1,2]"
    OPEN_CLOSED = "(1,2]"
    CLOSED_OPEN = "[1,2)"
    UNION = "A u B"
    MATRIX = "matrix"
    DETERMINANT = "|matrix|"


UNORDERED = frozenset({Kind.LIST, Kind.SET, Kind.UNION})
_BRACKETED = {"()": Kind.POINT, "[]": Kind.CLOSED, "(]": Kind.OPEN_CLOSED, "[)": Kind.CLOSED_OPEN}
# A set may be written as a list, and one solution as a set of one; a point without its brackets.
_STAND_FOR = {
    Kind.ITEM: {Kind.ITEM, Kind.SET},
    Kind.LIST: {Kind.LIST, Kind.SET},
    Kind.SET: {Kind.SET, Kind.LIST, Kind.ITEM},
    Kind.POINT: {Kind.POINT, Kind.LIST},
    Kind.UNION: {Kind.UNION, Kind.LIST},  # x < 2 or x > 3
}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """An answer of several items."""

    kind: Kind
    """What holds them together."""
    items: tuple[str, ...]
    """Canonical LaTeX of each; of a matrix, row by row."""
    rows: int = 1
    """Rows of a matrix."""

    @property
    def ordered(self) -> bool:
        """Whether the order of the items counts."""
        return self.kind not in UNORDERED

    @classmethod
    def single(cls, text: str) -> "Parts":
        """One item alone."""
        return cls(kind=Kind.ITEM, items=(text,))


def comparable(stated: Parts, known: Parts) -> bool:
    """Whether an answer's kind and shape may stand for the known one's."""
    if len(stated.items) != len(known.items):
        return False
    if known.kind is Kind.MATRIX and stated.kind is Kind.POINT:  # (1,2) for a vector
        return known.rows in (1, len(known.items))
    return stated.rows == known.rows and stated.kind in _STAND_FOR.get(known.kind, {known.kind})


def parts_of(text: str) -> Parts | None:
    r"""Take an answer in canonical form apart; None when it is a single item.

    ``a \pm b`` is a list of two; ``(a)`` is a single item, its brackets only group.
    """
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        return _matrix_parts(matrix[1], matrix[2])
    pieces = _split(text, "\\cup")
    if len(pieces) > 1:
        return Parts(kind=Kind.UNION, items=tuple(pieces))
    pieces = _listed(_JOINT.sub(",", text))
    if len(pieces) > 1:
        return Parts(kind=Kind.LIST, items=tuple(pieces))
    return _bracket_parts(text)


def _bracket_parts(text: str) -> Parts | None:
    if text.startswith("\\{") and text.endswith("\\}") and "\\{" not in text[2:]:
        return Parts(kind=Kind.SET, items=tuple(_listed(text[2:-2])))
    kind = _BRACKETED.get(text[:1] + text[-1:])
    if kind is None or not _wrapped(text):
        return None
    items = [piece.strip() for piece in _split(text[1:-1], ",")]
    if len(items) == 1 and kind is Kind.POINT:
        return parts_of(items[0])
    return Parts(kind=kind, items=tuple(items))


def _listed(text: str) -> list[str]:
    r"""Items between commas or semicolons, each ``\pm`` counted as two."""
    items = []
    for piece in (each for half in _split(text, ";") for each in _split(half, ",")):
        item = piece.strip()
        if len(_split(item, "\\pm")) > 1:
            items += [item.replace("\\pm", "+"), item.replace("\\pm", "-")]
        elif item:
            items.append(item)
    return [item.replace("+ ", "+").replace("- ", "-").removeprefix("+") for item in items]


def _matrix_parts(bars: str, body: str) -> Parts:
    rows = [row.split("&") for row in re.split(r"\\\\", body) if row.strip()]
    cells = tuple(cell.strip() for row in rows for cell in row)
    kind = Kind.DETERMINANT if bars in ("v", "V") else Kind.MATRIX
    return Parts(kind=kind, items=cells, rows=len(rows))


def _split(text: str, mark: str) -> list[str]:
    """Pieces between marks that are in no bracket; a mark of letters ends as a word does."""
    pieces, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth == 0 and text.startswith(mark, position):
            pieces.append(text[start:position])
            start = position + len(mark)
    return [piece.strip() for piece in (*pieces, text[start:])]


def _wrapped(text: str) -> bool:
    """Whether the first bracket closes at the end and nowhere before."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth == 0:
            return position == len(text) - 1
    return False
