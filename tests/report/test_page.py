"""The comparison as one page: whole, escaped, self-contained, for every screen."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pytest

from copris_core.report.compared import Method, RunData, Table
from copris_core.report.figure_data import LAGS
from copris_core.report.figure_inline import variable
from copris_core.report.figures import draw_all
from copris_core.report.page import GLYPHS, MOST_NOTES, cell, render_page
from copris_core.report.page_style import style
from copris_core.report.panels import MARKERS, pens
from tests.report.compare_house import method_of, run_of

EVIL = """<script src="http://evil.test/x.js">alert('1' & "2")</script>"""
NUMBERS = Table(
    title="Against grpo",
    remark="In brackets the interval.",
    header=("", "copris"),
    rows=(("speed", "1.55x [1.40, 1.72]"), ("steps", "-")),
)
WORDS = Table(
    title="Config", remark="", header=("key", "grpo"), rows=(("a.b_c", "[1, 2]"),), words=True
)
VOID = {"meta", "wbr"}
KB = 1000


class _Reader(HTMLParser):
    """Tags, attributes and text of a page; complains of a tag that is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all_of(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


def _methods(*labels: str) -> list[Method]:
    return [method_of(label, run_of()) for label in labels]


def _page(*labels: str, tables: Sequence[Table], notes: Sequence[str]) -> str:
    """A page with the two pictures that are drawn fastest."""
    methods = _methods(*labels)
    return render_page(methods, tables=tables, notes=notes, figures=draw_all(methods)[2:])


@cache
def _plain() -> str:
    return _page("grpo", "copris", tables=(NUMBERS, WORDS), notes=["A note."])


def test_the_page_asks_nothing_of_the_network() -> None:
    page = _plain()
    reader = _Reader(page)
    assert not {"script", "link", "iframe", "base", "img", "object"} & set(reader.tags)
    assert all(x.startswith("#") for x in reader.all_of("href"))
    assert not any(x in page for x in ("http:", "https:", "@import", "url(http", "//"))


def test_every_text_is_escaped() -> None:
    plain = set(_Reader(_plain()).tags)
    table = Table(title=EVIL, remark=EVIL, header=(EVIL, EVIL), rows=((EVIL, EVIL),), words=True)
    page = _page("grpo", EVIL, tables=(NUMBERS, table), notes=[EVIL])
    assert "<script" not in page
    reader = _Reader(page)
    assert set(reader.tags) <= plain
    assert reader.text.count(EVIL) >= 8
    assert not [x for x in reader.attributes if x[0].startswith("on") or x[0] == "src"]


def test_every_entry_of_the_contents_leads_somewhere_and_no_name_is_used_twice() -> None:
    reader = _Reader(_plain())
    names = reader.all_of("id")
    assert len(set(names)) == len(names)
    anchors = [x for x in reader.all_of("href") if not re.match(r"#[mp][0-9a-f]{8}", x)]
    assert {"#top", "#notes", "#again", "#table-0", "#table-1", "#figure-waterfall"} <= set(anchors)
    assert all(x.removeprefix("#") in names for x in reader.all_of("href"))


def test_the_headline_comes_first_and_then_a_card_a_method() -> None:
    text = _Reader(_plain()).text
    places = [
        text.index(x)
        for x in ("grpo and copris compared", "times as many training steps", "seconds a step")
    ]
    assert places == sorted(places)
    assert text.count("seconds a step") == 2


def test_each_picture_is_there_for_wide_and_narrow_screens_with_its_words() -> None:
    reader = _Reader(_plain())
    classes = reader.all_of("class")
    assert classes.count("wide") == classes.count("tall") == 2
    assert reader.tags.count("figure") == 2
    names = reader.all_of("aria-label")
    assert any(x.startswith("Where a step's seconds go. Seconds of a mean") for x in names)
    assert "Seconds of a mean training step" in reader.text


def test_tables_show_numbers_with_their_intervals_behind() -> None:
    page = _plain()
    assert '<td>1.55x<span class="extent"> [1.40, 1.72]</span></td>' in page
    assert "<td>-</td>" in page
    assert cell("0.93 [0.9, 1.0]") == ("0.93", "[0.9, 1.0]")
    assert cell("[1, 2]") == ("[1, 2]", "")


def test_words_stay_whole_and_may_break_at_their_joints() -> None:
    page = _plain()
    assert '<th scope="row">a.<wbr>b_<wbr>c</th>' in page
    assert "<td>[1, 2]</td>" in page


def test_a_table_of_many_columns_has_its_intervals_below() -> None:
    wide = Table(title="Wide", remark="", header=tuple("abcdef"), rows=(tuple("abcdef"),))
    page = render_page(_methods("grpo"), tables=(NUMBERS, wide), notes=(), figures=())
    assert re.findall(r'<table class="(\w+)">', page) == ["plain", "dense"]


def test_every_note_is_there_and_many_are_folded() -> None:
    notes = [f"note number {i}." for i in range(MOST_NOTES + 3)]
    page = render_page(_methods("grpo"), tables=(), notes=notes, figures=())
    assert all(note in page for note in notes)
    shown, folded = page.split("<details>")
    assert f"note number {MOST_NOTES - 1}." in shown
    assert f"note number {MOST_NOTES}." in folded
    assert "3 more" in folded
    assert "<details>" not in _plain()


def test_the_page_says_how_to_make_it_again() -> None:
    assert "copris compare grpo --seeds 0" in _plain()
    methods = _methods("grpo")
    given = render_page(methods, tables=(), notes=(), figures=(), command="copris compare x & y")
    assert "copris compare x &amp; y" in given
    assert "--seeds" not in given


def test_a_page_without_pictures_tables_and_notes_stands() -> None:
    text = _Reader(render_page(_methods("grpo"), tables=(), notes=(), figures=())).text
    assert "Nothing to warn of." in text
    assert "Pictures" not in text
    assert "Tables" not in text


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one finished run"):
        render_page([], tables=(), notes=(), figures=())


def test_light_and_dark_phone_desk_and_paper_are_provided_for() -> None:
    rules = style()
    for query in (
        "@media screen and (prefers-color-scheme: dark)",
        "@media (max-width: 640px)",
        "@media (min-width: 1180px)",
        "@media print",
    ):
        assert query in rules
    assert 'name="viewport" content="width=device-width' in _plain()
    assert rules.count("{") == rules.count("}")


def test_every_style_variable_that_is_used_is_set_in_both_themes() -> None:
    used = set(re.findall(r"var\((--[\w-]+)\)", _plain())) - {"--pen"}
    light, dark = style().split("@media screen", 1)
    for theme in (light, dark.split("@media", 1)[0]):
        assert used <= set(re.findall(r"(--[\w-]+):", theme))


def test_dark_is_a_theme_of_its_own() -> None:
    light, dark = style().split("@media screen", 1)
    for mine, other in zip(pens(6, dark=False), pens(6, dark=True), strict=True):
        name = variable(mine.colour)
        assert f"{name}: {mine.colour.lower()};" in light
        assert f"{name}: {other.colour.lower()};" in dark
    assert "--paper: #14181d" in dark


def test_cards_have_a_glyph_for_every_marker() -> None:
    assert set(GLYPHS) == set(MARKERS)


def test_the_page_is_written_in_plain_signs() -> None:
    assert not {"\u2013", "\u2014"} & set(_plain())


def test_many_methods_have_a_short_title() -> None:
    methods = _methods(*"abcdef")
    text = _Reader(render_page(methods, tables=(), notes=(), figures=())).text
    assert "a and 5 others compared" in text


@pytest.mark.slow  # draws every picture twice
def test_three_methods_over_thousands_of_noisy_steps_stay_small() -> None:
    methods = [
        method_of(name, *(_noisy(seed) for seed in (0, 1))) for name in ("grpo", "copris", "cppo")
    ]
    pictures = draw_all(methods)
    page = render_page(methods, tables=(NUMBERS,) * 12, notes=["A note."], figures=pictures)
    assert [picture.name for picture in pictures] == [
        *("headline", "curves", "waterfall", "staleness", "clipping", "gap")
    ]
    assert len(page.encode()) < 2500 * KB


def _noisy(seed: int) -> RunData:
    """Every curve that there is, each step's number far from the last one's."""
    names = ["reward/mean", "length/drawn_mean", "update/entropy", "update/kl_loss"]
    names += ["update/clip_fraction", "rollout/in_flight", "logprob_gap/max", "logprob_gap/mean"]
    names += [f"lag{lag}/{what}" for lag in LAGS for what in ("clip_fraction", "token_fraction")]
    run = run_of(seed=seed, seconds=[1.0] * 3000)
    rng = np.random.default_rng(seed)
    rows = [row | dict(zip(names, rng.random(len(names)), strict=True)) for row in run.rows]
    return replace(run, rows=rows)
