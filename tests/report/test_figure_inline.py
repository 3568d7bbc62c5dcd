"""A picture inside a page: in the page's colours, with nothing but shapes and text."""

import re
from xml.etree import ElementTree

import pytest

from copris_core.report.figure_inline import THEMES, inline, theme_variables, variable
from copris_core.report.figures import draw_all
from copris_core.report.panels import DARK_RUN_COLOURS, RUN_COLOURS
from tests.report.compare_house import method_of, run_of

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def _svg(inner: str) -> bytes:
    return f'{HEAD} width="9pt" height="9pt" viewBox="0 0 9 9">{inner}</svg>'.encode()


def test_colours_of_the_theme_become_the_pages() -> None:
    light, dark = RUN_COLOURS[0].lower(), DARK_RUN_COLOURS[0].lower()
    text = inline(_svg(f'<path style="fill: {light}; stroke: #123456"/>'), name="wide", title="x")
    assert f"fill: var({variable(light)}); stroke: #123456" in text
    assert f"{variable(light)}: {light};" in theme_variables("light")
    assert f"{variable(light)}: {dark};" in theme_variables("dark")


def test_every_colour_of_the_light_theme_has_a_dark_one() -> None:
    assert len(THEMES) == 3 + len(RUN_COLOURS)
    assert all(light != dark for light, dark in THEMES.items())


def test_the_element_fills_its_place_and_has_a_name_for_those_who_do_not_see_it() -> None:
    text = inline(_svg("<g/>"), name="wide", title='a "b" <c>')
    root = ElementTree.fromstring(text)
    assert root.attrib == {
        "class": "wide", "viewBox": "0 0 9 9", "role": "img", "aria-label": 'a "b" <c>'
    }  # fmt: skip


def test_names_of_spaces_dates_and_styles_do_not_come_through() -> None:
    inner = '<metadata><a href="http://evil.test"/></metadata><defs><style>*{}</style></defs><g/>'
    text = inline(_svg(inner), name="wide", title="x")
    assert "http" not in text
    assert "style" not in text
    assert "xmlns" not in text


def test_a_reference_stays_and_an_unused_name_goes() -> None:
    inner = '<defs><path id="p1"/></defs><g id="axes_1"><use xlink:href="#p1"/></g>'
    text = inline(_svg(inner), name="wide", title="x")
    assert 'href="#p1"' in text
    assert 'id="p1"' in text
    assert "axes_1" not in text


def test_a_label_stays_text() -> None:
    text = inline(_svg("<text>&lt;script&gt;alert(1)&lt;/script&gt;</text>"), name="w", title="x")
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("tag", ["script", "foreignObject", "image", "a", "animate"])
def test_anything_but_shapes_and_text_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match=f"holds <{tag}>"):
        inline(_svg(f"<g><{tag}/></g>"), name="wide", title="x")


def test_two_pictures_of_a_page_share_no_name() -> None:
    pictures = draw_all([method_of("grpo", run_of())])[2:]
    found = [
        set(re.findall(r'id="([^"]+)"', inline(svg, name="wide", title="x")))
        for each in pictures
        for svg in (each.svg, each.svg_tall)
    ]
    assert all(found)
    assert len(set.union(*found)) == sum(map(len, found))
