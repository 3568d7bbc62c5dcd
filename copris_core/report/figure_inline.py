"""A drawn picture as part of a page: its colours become the page's, so that dark is truly dark.

Parses what the plotting package wrote and writes it anew: labels are escaped by the writer, and
nothing but shapes and text comes through. Refuses to draw.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from copris_core.report.panels import DARK_RUN_COLOURS, RUN_COLOURS
from copris_core.report.picture import INK

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
DROPPED = {"metadata", "style", "title", "desc"}
SHAPES = {"svg", "g", "defs", "clipPath", "path", "rect", "use", "text", "tspan"}
"""What the plotting package draws with; anything else is refused."""
COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
THEMES = {
    light.lower(): dark.lower()
    for light, dark in (
        *zip(INK["light"], INK["dark"], strict=True),
        *zip(RUN_COLOURS, DARK_RUN_COLOURS, strict=True),
    )
}
"""Each colour that dark paper changes, and what it becomes there."""


def variable(colour: str) -> str:
    """Name of the style variable that holds a colour of the pictures."""
    return f"--c{colour.lower().removeprefix('#')}"


def theme_variables(theme: str) -> str:
    """Style declarations of the colours for the theme ``light`` or ``dark``."""
    pairs = ((light, dark if theme == "dark" else light) for light, dark in THEMES.items())
    return " ".join(f"{variable(light)}: {value};" for light, value in pairs)


def inline(svg: bytes, *, name: str, title: str) -> str:
    """The picture as one ``svg`` element that is as wide as its place.

    Args:
        svg: as `draw_sketch` gives it.
        name: class of the element.
        title: what it is called for those who do not see it.

    Raises:
        ValueError: the picture holds something that no picture of ours does.
    """
    root = ElementTree.fromstring(svg)
    _clean(root)
    used = set(re.findall(r"#([\w-]+)", " ".join(_texts(root))))
    for each in root.iter():
        if each.get("id") not in used:
            each.attrib.pop("id", None)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update({"class": name, "viewBox": box, "role": "img", "aria-label": title})
    return ElementTree.tostring(root, encoding="unicode")


def _clean(node: ElementTree.Element) -> None:
    """Drop names of spaces and what a page does not need, and lend it the page's colours."""
    node.tag = _bare(node.tag)
    if node.tag not in SHAPES:
        raise ValueError(f"a picture holds <{node.tag}>: draw it with shapes and text alone")
    node.attrib = {_bare(key): _themed(value) for key, value in node.attrib.items()}
    for child in list(node):
        if _bare(child.tag) in DROPPED:
            node.remove(child)
        else:
            _clean(child)


def _bare(name: str) -> str:
    return name.rpartition("}")[2]


def _themed(value: str) -> str:
    value = value.replace("'DejaVu Sans'", FONT)
    return COLOUR.sub(lambda found: _colour(found.group().lower()), value)


def _colour(colour: str) -> str:
    return f"var({variable(colour)})" if colour in THEMES else colour


def _texts(root: ElementTree.Element) -> list[str]:
    """Values that may point at another element."""
    return [value for each in root.iter() for key, value in each.attrib.items() if key != "id"]
