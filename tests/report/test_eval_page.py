"""eval.html: nothing that a model writes becomes markup, and what it carries is what there is."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from copris_core.evaluation.eval_result import evaluate
from copris_core.evaluation.eval_sample import EvalSample
from copris_core.evaluation.sample_grid import grids_by_task
from copris_core.report.eval_page import render_eval
from copris_core.report.eval_page_data import PageData, json_text, page_data
from copris_core.report.eval_report import write_eval
from tests.evaluation.eval_house import prompt, sample

EVIL = "</script><img src=x onerror=\"document.title='pwned'\"><!--<script>alert(1)\u2028&amp;"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)


class _Reader(HTMLParser):
    """Tags, addresses, text and scripts of a page."""

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


def samples(text: str = "plain") -> list[EvalSample]:
    fields = {"response": text, "subject": f"add{text}", "level": f"1{text}"}
    return [
        *prompt(0, ["right", "b", None, text], task=f"sums{text}", **fields),
        *prompt(1, ["right"] * 4, task=f"sums{text}", **{**fields, "subject": "mul"}),
    ]


def page(found: list[EvalSample], *, title: str = "t", **settings: object) -> str:
    data = page_data(grids_by_task(found), rng_seed=0)
    return render_eval(evaluate(found, resamples=20), data=data, title=title, settings=settings)


def carried(text: str) -> list[dict[str, object]]:
    """The prompts that a page carries."""
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(block)


def test_the_page_asks_nothing_of_the_network() -> None:
    text = page(samples())
    reader = _Reader(text)
    assert reader.addresses == []
    assert not {"link", "iframe", "base", "img", "object", "form"} & set(reader.tags)
    assert not any(x in text for x in ("http:", "https:", "@import", "url(", "fetch("))
    assert "default-src 'none'" in text


def test_no_text_becomes_markup() -> None:
    harmless, evil = (
        _Reader(page(samples(text), title=text, **{text: text})) for text in ("plain", EVIL)
    )
    assert evil.tags == harmless.tags
    assert evil.tags.count("script") == 2


def test_the_page_carries_every_sample_as_it_is() -> None:
    found = samples(EVIL)
    first, second = carried(page(found))
    assert first["uid"] == f"sums{EVIL}:0"
    assert first["truth"] == "right"
    assert first["samples"] == [
        [EVIL, x.answer, x.score, int(x.correct), x.reason, x.num_tokens, 0] for x in found[:4]
    ]
    assert second["subject"] == "mul"


def test_only_the_script_of_the_page_may_run() -> None:
    text = page(samples(EVIL))
    (policy,) = re.findall(r"script-src '(sha256-[^']*)'", text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"sha256-{digest}"
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|eval\(", script)


def test_text_that_utf8_does_not_know_is_replaced() -> None:
    assert json.loads(json_text("a\ud800b")) == "a?b"
    assert json.loads(json_text("\x00\r\n\u2028")) == "\x00\r\n\u2028"


def many() -> list[EvalSample]:
    return [
        sample(uid=f"sums:{number}", response="x" * (10 * number), index=0) for number in range(200)
    ]


def test_a_big_evaluation_carries_a_random_part_and_says_so() -> None:
    grids = grids_by_task(many())
    part = page_data(grids, rng_seed=0, max_bytes=50_000)
    assert len(part.json.encode()) <= 50_000
    assert 0 < part.shown == len(json.loads(part.json)) < part.total == 200
    assert f"carries {part.shown} of the 200 prompts, drawn at random" in part.remark
    assert part == page_data(grids, rng_seed=0, max_bytes=50_000)
    assert part.json != page_data(grids, rng_seed=1, max_bytes=50_000).json
    # neither the first nor the short ones: about as many of either half
    uids = [int(x["uid"].partition(":")[2]) for x in json.loads(part.json)]
    assert uids == sorted(uids)
    assert 0.25 < sum(uid >= 100 for uid in uids) / len(uids) < 0.75


def test_the_part_is_told_on_the_page_while_the_tables_are_of_all(tmp_path: Path) -> None:
    paths = write_eval(many(), tmp_path, max_page_bytes=50_000, resamples=20)
    text = paths.page.read_text()
    assert re.search(r"This page carries \d+ of the 200 prompts, drawn at random", text)
    assert paths.result.tasks[0].num_prompts == 200
    assert len(carried(text)) < 200


def test_all_prompts_are_carried_without_a_remark_where_they_fit() -> None:
    whole = page_data(grids_by_task(many()), rng_seed=0)
    assert (whole.shown, whole.total, whole.remark) == (200, 200, "")


def test_at_least_one_prompt_can_be_read() -> None:
    assert page_data(grids_by_task(many()), rng_seed=0, max_bytes=1).shown == 1


def test_light_and_dark_and_phone_are_provided_for() -> None:
    text = page(samples())
    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media (max-width: 640px)" in text
    assert 'name="viewport" content="width=device-width' in text


def test_every_control_that_the_script_asks_for_is_there() -> None:
    text = page(samples())
    script = text.rpartition("<script>")[2]
    asked = set(re.findall(r'find\("(\w+)"\)', script)) | {"task", "subject", "level"}
    assert asked <= set(re.findall(r'id="(\w+)"', text))
    (shows,) = re.findall(r"const SHOWS = \{(.*?)\};", script, re.S)
    (sorts,) = re.findall(r"const SORTS = \{(.*?)\};", script, re.S)
    named = re.findall(r"^  (\w+):", shows + sorts, re.M)
    offered = re.findall(r'<option value="(\w+)">', text)
    assert sorted(named) == sorted(offered)


TEXTS = ("question", "response", "reason", "ground_truth")

DRIVER = """
<script>
const report = {};
const wait = () => new Promise((done) => setTimeout(done, 50));
async function drive() {
  const set = (id, value) => { find(id).value = value; };
  const uids = () => [...document.querySelectorAll(".uid")].map((x) => x.textContent);
  report.first = find("count").textContent;
  for (const show of Object.keys(SHOWS)) {
    set("show", show); choose();
    report[show] = uids();
  }
  set("show", "all");
  for (const sort of Object.keys(SORTS)) { set("sort", sort); choose(); report[sort] = uids(); }
  set("task", "=other"); choose(); report.task = uids(); set("task", "");
  set("subject", "=mul"); choose(); report.subject = uids(); set("subject", "");
  set("search", "ONERROR"); choose(); report.search = uids();
  document.querySelector(".prompt").open = true;
  await wait(); await wait();
  report.votes = [...document.querySelectorAll(".votes li")].map((x) => x.textContent);
  report.response = document.querySelector(".response").textContent;
  report.marks = document.querySelectorAll(".response mark").length;
  report.images = document.querySelectorAll("img").length;
  report.title = document.title;
  document.body.textContent = JSON.stringify(report).replaceAll("<", "\\\\u003c");
}
drive();
</script>
</body>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs a Chromium to open the page in")
def test_a_real_browser_filters_sorts_and_opens(tmp_path: Path) -> None:
    found = [
        *prompt(0, ["right", "b", EVIL], subject=EVIL, **dict.fromkeys(TEXTS, EVIL)),
        *prompt(1, ["right"] * 3, subject="mul", finish="length"),
        *prompt(2, ["c", None, "c"], subject="mul"),
        *prompt(0, ["right", "right", "b"], task="other", num_tokens=99),
    ]
    text = page(found, title="before")
    # The policy of the page forbids this very thing.
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    (tmp_path / "eval.html").write_text(open_page.replace("</body>", DRIVER))

    report = opened(tmp_path / "eval.html", tmp_path)

    assert report["first"] == "4 of 4 prompts, 12 samples"
    a, b, c, d = "other:0", "sums:0", "sums:1", "sums:2"
    assert report["all"] == [d, b, a, c]  # 0/3, 1/3, 2/3, 3/3
    assert report["wrong"] == [d, b, a]
    assert report["correct"] == [b, a, c]
    assert report["never"] == [d]
    assert report["disagreeing"] == [b, a]
    assert report["truncated"] == [c]
    assert report["unparsable"] == [d]
    assert report["easiest"] == [c, a, b, d]
    assert report["longest"] == [a, b, c, d]
    assert report["order"] == [a, b, c, d]
    assert report["task"] == [a]
    assert report["subject"] == [c, d]
    assert report["search"] == [b]
    assert report["votes"] == ["right 1 vote", "b 1 vote", f"{EVIL} 1 vote"]
    assert (report["response"], report["marks"]) == (EVIL, 1)
    assert (report["images"], report["title"]) == (0, "before")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs a Chromium to open the page in")
def test_a_real_browser_runs_the_page_under_its_own_policy(tmp_path: Path) -> None:
    paths = write_eval(samples(EVIL), tmp_path, title="before", resamples=20)
    shown = dumped(paths.page, tmp_path)
    assert "2 of 2 prompts, 8 samples" in shown
    assert "<title>before</title>" in shown


def dumped(path: Path, folder: Path) -> str:
    """The page after its scripts have run."""
    assert BROWSER is not None
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"),
        path.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


def opened(path: Path, folder: Path) -> dict[str, object]:
    """What `DRIVER` wrote as the only text of the body."""
    reader = _Reader(dumped(path, folder).rpartition("<body>")[2])
    return json.loads(reader.text)


def test_the_remark_of_a_part_tells_its_size() -> None:
    part = PageData(json="[]", shown=900, total=1319, total_bytes=43_000_000)
    assert "900 of the 1,319 prompts" in part.remark
    assert "43 MB" in part.remark
