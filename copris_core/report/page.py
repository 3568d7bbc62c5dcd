"""report.html: the comparison as one file that needs nothing else, light and dark, also on a phone.

Refuses to fetch: style is inline, pictures are part of the page, and every text is escaped, so that
a label or a config value can never become markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from copris_core.report.compared import Method, Table
from copris_core.report.figure_inline import inline, variable
from copris_core.report.figures import Picture
from copris_core.report.headline import MOST_NAMED, cards, headline
from copris_core.report.page_style import style
from copris_core.report.page_template import FIGURE, PAGE
from copris_core.report.panels import pens

GLYPHS = {"o": "\u25cf", "s": "\u25a0", "D": "\u25c6", "^": "\u25b2", "v": "\u25bc", "P": "\u271a"}
"""What stands in a card for the marker of the pictures."""
DENSE_COLUMNS = 6
"""With as many columns or more the intervals stand below their numbers."""
MOST_NOTES = 12
"""Sentences that are shown; more can be opened."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One entry of the contents."""

    title: str
    """What it is called."""
    anchor: str
    """Where it is, as the id of an element."""
    inner: tuple[Part, ...] = ()
    """Entries below it."""


def render_page(
    methods: Sequence[Method],
    *,
    tables: Sequence[Table],
    notes: Sequence[str],
    figures: Sequence[Picture],
    command: str | None = None,
) -> str:
    """The page as text.

    Args:
        methods: the first is the baseline.
        tables: shown in this order.
        notes: plain sentences on what weakens the comparison, and what it means.
        figures: the first stands at the top.
        command: what makes this comparison; None puts it together from experiments and seeds.

    Raises:
        ValueError: there is no method.
    """
    if not methods:
        raise ValueError("nothing to show: give at least one finished run")
    # Only the page needs the template engine.
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    engine = Environment(autoescape=True, undefined=StrictUndefined)
    engine.filters["breakable"] = _breakable
    figure = engine.from_string(FIGURE)

    def drawn(picture: Picture) -> Markup:
        """Our own drawing; every label in it was escaped when it was written."""
        name = f"{picture.title}. {picture.remark}"
        wide = Markup(inline(picture.svg, name="wide", title=name))
        tall = Markup(inline(picture.svg_tall, name="tall", title=name))
        texts = {"anchor": _anchor(picture), "title": picture.title, "remark": picture.remark}
        return Markup(figure.render(wide=wide, tall=tall, **texts))

    return engine.from_string(PAGE).render(
        title=_title(methods),
        style=Markup(style()),
        headline=headline(methods),
        cards=_cards(methods),
        drawn=drawn,
        first=figures[:1],
        rest=figures[1:],
        notes=notes[:MOST_NOTES],
        more_notes=notes[MOST_NOTES:],
        tables=[_shown(table, place) for place, table in enumerate(tables)],
        parts=_parts(tables, figures),
        again=_again(methods, command),
    )


def cell(text: str) -> tuple[str, str]:
    """A number and the interval behind it, such as ``0.930`` and ``[0.901, 0.959]``."""
    main, bracket, interval = text.partition(" [")
    return (main, f"[{interval}") if bracket and text.endswith("]") else (text, "")


def _title(methods: Sequence[Method]) -> str:
    *most, last = [method.label for method in methods]
    if len(most) >= MOST_NAMED:
        return f"{most[0]} and {len(most)} others compared"
    return f"{', '.join(most)} and {last} compared" if most else f"{last}: one method"


def _cards(methods: Sequence[Method]) -> list[dict[str, Any]]:
    looks = pens(len(methods), dark=False)
    return [
        asdict(card) | {"colour": variable(pen.colour), "marker": GLYPHS[pen.marker]}
        for card, pen in zip(cards(methods), looks, strict=True)
    ]


def _shown(table: Table, place: int) -> dict[str, Any]:
    """The table with its cells cut; a cell of words stays whole."""
    rows = [[(x, "") if table.words else cell(x) for x in row] for row in table.rows]
    look = "words" if table.words else "dense" if len(table.header) >= DENSE_COLUMNS else "plain"
    return {**asdict(table), "rows": rows, "anchor": f"table-{place}", "look": look}


def _breakable(text: str) -> Any:
    """The text, escaped, with places where a long name may be broken: behind dots and lines."""
    from markupsafe import Markup, escape

    safe = str(escape(text))  # what escaping writes holds neither dots nor lines
    return Markup(safe.replace(".", ".<wbr>").replace("_", "_<wbr>"))


def _parts(tables: Sequence[Table], figures: Sequence[Picture]) -> list[Part]:
    pictures = [Part(title=each.title, anchor=_anchor(each)) for each in figures]
    listed = [Part(title=x.title, anchor=f"table-{place}") for place, x in enumerate(tables)]
    parts = [*pictures[:1], Part(title="In words", anchor="notes")]
    if pictures[1:]:
        inner = tuple(pictures[1:])
        parts.append(Part(title="Pictures", anchor=inner[0].anchor, inner=inner))
    if listed:
        parts.append(Part(title="Tables", anchor=listed[0].anchor, inner=tuple(listed)))
    return [*parts, Part(title="Do it again", anchor="again")]


def _anchor(picture: Picture) -> str:
    return f"figure-{picture.name}"


def _again(methods: Sequence[Method], command: str | None) -> dict[str, str]:
    if command is not None:
        return {"remark": "The command of this comparison.", "command": command}
    names = " ".join(dict.fromkeys(x.runs[0].summary.experiment for x in methods))
    seeds = sorted({seed for method in methods for seed in method.seeds})
    return {
        "remark": "Trains these experiments with these seeds; settings of your own, such as those "
        "under the differences of the config, go behind the names.",
        "command": f"copris compare {names} --seeds {','.join(map(str, seeds))}",
    }
