"""report.md as a code host would read it."""

from __future__ import annotations

import pytest

from copris_core.report.compared import Table
from copris_core.report.markdown import plain, render_markdown
from tests.report.compare_house import method_of, run_of

TABLE = Table(
    title="Numbers",
    remark="",
    header=("", "a|b"),
    rows=(("x", "0.5 [0.4, 0.6]"), ("y_z", "<b>")),
)


def test_headings_notes_pictures_and_tables_stand_in_their_order() -> None:
    text = render_markdown(
        [method_of("grpo", run_of())],
        tables=[TABLE],
        notes=["One.", "Two."],
        pictures=[("Curve", "How.", "figures/curve.png")],
    )
    assert text == (
        "# Comparison of grpo\n\n## In words\n\n- One.\n- Two.\n\n"
        "## Curve\n\nHow.\n\n![Curve](figures/curve.png)\n\n"
        "## Numbers\n\n|  | a\\|b |\n| --- | ---: |\n| x | 0.5 [0.4, 0.6] |\n| y_z | \\<b> |\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[x](http://evil.test)", "[x\\](http://evil.test)"),
        ("*a* `b` _c_ a_b", "\\*a\\* \\`b\\` \\_c\\_ a_b"),
        ("# no heading", "\\# no heading"),
        ("grpo #2", "grpo #2"),
        ("two\nlines", "two lines"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_no_text_becomes_markup(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_a_table_of_words_is_not_aligned_to_the_right() -> None:
    words = Table(title="W", remark="", header=("k", "v"), rows=(("a", "b"),), words=True)
    text = render_markdown([method_of("g", run_of())], tables=[words], notes=[], pictures=[])
    assert "| --- | --- |" in text
