import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from copris_core.report.page import Images, config_differences, render_page
from copris_core.report.run_folder import Row, RunFolder, write_json
from copris_core.report.summary import Accuracy, Summary
from copris_core.report.write import write_report

Make = Callable[..., Summary]
MakeRows = Callable[..., list[Row]]

IMAGES = Images(light_wide=b"lw", light_tall=b"lt", dark_wide=b"dw", dark_tall=b"dt")
EVIL = """<script src="http://evil.test/x.js">alert('1' & "2")</script>"""


class _Reader(HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [x or "" for key, x in attrs if key in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text += data


def _page(*runs: Summary, configs: list[dict[str, object]] | None = None) -> str:
    return render_page(runs, configs=configs or [{} for _ in runs], images=IMAGES)


def test_the_page_asks_nothing_of_the_network(make_summary: Make) -> None:
    page = _page(make_summary("grpo"), make_summary("copris"))
    reader = _Reader(page)
    assert len(reader.addresses) == 4
    assert all(x.startswith("data:image/png;base64,") for x in reader.addresses)
    assert not {"script", "link", "iframe", "base"} & set(reader.tags)
    assert not any(x in page for x in ("http:", "https:", "@import", "url(", "//"))


def test_each_screen_gets_its_own_picture(make_summary: Make) -> None:
    # base64 of b"dt", b"dw", b"lt", b"lw", in the order in which a browser tries them
    ends = [x.rpartition(",")[2] for x in _Reader(_page(make_summary())).addresses]
    assert ends == ["ZHQ=", "ZHc=", "bHQ=", "bHc="]


def test_every_text_is_escaped(make_summary: Make) -> None:
    plain = _Reader(_page(make_summary("grpo"), make_summary("cppo"))).tags
    evil = replace(make_summary("cppo"), experiment=EVIL, revision=EVIL, packages={EVIL: EVIL})
    configs: list[dict[str, object]] = [{"a": 1}, {"a": EVIL, EVIL: 2}]
    page = _page(make_summary("grpo"), evil, configs=configs)
    assert "<script" not in page
    reader = _Reader(page)
    assert set(reader.tags) == set(plain)
    assert reader.text.count(EVIL) > 5


def test_light_and_dark_and_phone_are_provided_for(make_summary: Make) -> None:
    page = _page(make_summary())
    assert "@media (prefers-color-scheme: dark)" in page
    assert "@media (max-width: 640px)" in page
    assert 'name="viewport" content="width=device-width' in page


def test_the_page_says_what_the_notes_say(make_summary: Make) -> None:
    slow = make_summary("copris", wall_s=1e5, samples_per_s=0.5)
    text = _Reader(_page(make_summary("grpo"), slow)).text
    assert "copris finished FEWER samples per second of generation" in text
    assert "copris was faster than grpo per training step but SLOWER than it overall" in text


def test_an_unmeasured_number_is_a_hyphen(make_summary: Make) -> None:
    blank = Accuracy(before=None, after=None, n=None, stderr=None)
    text = _Reader(_page(make_summary(accuracy=blank, samples=None, revision=None))).text
    assert "None\n" not in text.replace("None.", "")
    assert "nan" not in text.split()
    assert "- -> -" in text
    assert not {"\u2013", "\u2014"} & set(text)


def test_config_differences_are_flat_sorted_and_only_differences() -> None:
    configs = [
        {"trainer": {"steps": 40, "save": None}, "strategy": {"name": "sync"}, "list": [1, 2]},
        {"trainer": {"steps": 40}, "strategy": {"name": "copris", "limit": 64}, "list": [1, 3]},
    ]
    assert config_differences(configs) == [
        ["list", "[1, 2]", "[1, 3]"],
        ["strategy.limit", "-", "64"],
        ["strategy.name", "sync", "copris"],
        ["trainer.save", "null", "-"],
    ]
    assert config_differences([configs[0], configs[0]]) == []


def test_a_config_for_each_run_is_demanded(make_summary: Make) -> None:
    with pytest.raises(ValueError, match="1 runs and 2 configs"):
        _page(make_summary(), configs=[{}, {}])


def _finished(root: Path, rows: list[Row], summary: Summary) -> Path:
    folder = RunFolder.create(root, summary.experiment, "t0")
    for row in rows:
        folder.append_metrics(row)
    folder.write_config(f"strategy: {{name: {summary.experiment}}}\n")
    write_json(folder.summary_path, summary.to_json())
    return folder.path


def test_run_folders_become_the_three_report_files(
    tmp_path: Path, make_rows: MakeRows, make_summary: Make
) -> None:
    folders = [
        _finished(tmp_path, make_rows(x, num_steps=12), make_summary(x)) for x in ("grpo", "copris")
    ]
    torn: list[str] = []
    with (folders[0] / "metrics.jsonl").open("a") as file:
        file.write('{"st')
    paths = write_report(folders, tmp_path / "report", on_torn=torn.append)
    assert [len(torn), "line 14" in torn[0]] == [1, True]
    assert paths.picture.read_bytes().startswith(b"\x89PNG")
    report = json.loads(paths.json.read_text())
    assert [x["experiment"] for x in report["runs"]] == ["grpo", "copris"]
    assert "strategy.name" in _Reader(paths.page.read_text()).text
    assert sorted(x.name for x in paths.json.parent.iterdir()) == [
        *("compare.png", "report.html", "report.json")
    ]


def test_a_folder_without_a_summary_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"summary\.json: the run has not finished"):
        write_report([tmp_path], tmp_path / "report")
    assert not (tmp_path / "report").exists()
