"""The files of the report and how they hang together; the pictures are drawn elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from copris_core.report import write
from tests.report.compare_house import method_of, run_of, settings_of

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3"><g></g></svg>'


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    drawn = [
        SimpleNamespace(
            name=name, title=name.title(), remark="How.", light_wide=name.encode(), svg=SVG,
            svg_tall=SVG,
        )
        for name in ("headline", "curves")
    ]  # fmt: skip
    monkeypatch.setattr(write, "draw_all", lambda methods: tuple(drawn))
    methods = [
        method_of("grpo", run_of()),
        method_of("cppo", run_of(config=settings_of(pruning_rate=0.5))),
    ]
    write.write_report(methods, tmp_path, failures=["copris: died"], command="copris compare grpo")
    return tmp_path


def test_every_picture_is_there_as_png_and_svg_and_the_first_as_compare_png(out: Path) -> None:
    assert sorted(x.name for x in (out / "figures").iterdir()) == [
        "curves.png", "curves.svg", "headline.png", "headline.svg",
    ]  # fmt: skip
    assert (out / "compare.png").read_bytes() == b"headline"


def test_text_page_and_json_say_the_same(out: Path) -> None:
    report = json.loads((out / "report.json").read_text())
    text, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    assert report["command"] == "copris compare grpo"
    assert report["failures"] == ["copris: died"]
    assert report["notes"][-1] == "No result: copris: died"
    for note in report["notes"]:
        assert note in text
    for table in report["tables"]:
        assert f"## {table['title']}" in text
        assert table["title"] in page
    titles = [table["title"] for table in report["tables"]]
    assert titles[0] == "Methods"
    assert "Pruning, as the CPPO paper tabulates it" in titles


def test_the_text_links_its_pictures_relatively(out: Path) -> None:
    links = re.findall(r"!\[.*\]\((.*)\)", (out / "report.md").read_text())
    assert links == ["figures/headline.png", "figures/curves.png"]
    assert all((out / link).is_file() for link in links)


def test_no_method_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run"):
        write.write_report([], tmp_path / "x")
    assert not (tmp_path / "x").exists()
