"""A comparison on the real stack: stopped in its second run, gone on with, and read again."""

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.runs import MARK, TIMEOUT_S, _interrupt, _kill, read_jsonl, survivors

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SMALL = (
    "data.train_batch_size=4",
    "actor_rollout_ref.rollout.n=4",
    "data.max_response_length=128",
    "mini_batches=1",
    "task.val_rows=16",
    "trainer.total_training_steps=4",
    "trainer.test_freq=2",
    "trainer.save_freq=1",
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one start of the command came to."""

    code: int
    """Exit code."""
    output: str
    """stdout and stderr together."""
    left: list[str]
    """Processes that it left running."""


def compare(log: Path, *words: str, interrupt_in: Path | None = None) -> Told:
    """``copris compare``; Ctrl-C once the run ``interrupt_in`` has done a step."""
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "copris_core.cli", "compare", *words]
    with log.open("w+") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, MARK: mark},
            start_new_session=True,
        )
        try:
            if interrupt_in is not None:
                _interrupt(process, interrupt_in / "metrics.jsonl", 2)
            process.wait(timeout=TIMEOUT_S)
        finally:
            was_killed = _kill(process)
        stream.seek(0)
        output = stream.read()
    return Told(code=-9 if was_killed else process.returncode, output=output, left=survivors(mark))


@dataclass(frozen=True, kw_only=True)
class Story:
    """The same command twice, then the finished runs alone."""

    out: Path
    """Folder of the comparison."""
    stopped: Told
    """The first start, ended by Ctrl-C in its second run."""
    went_on: Told
    """The second start."""
    read: Told
    """The finished runs, compared without training."""
    read_out: Path
    """Folder of that report."""
    first_summary: bytes
    """summary.json of the first run, before the second start."""

    @property
    def report(self) -> dict[str, Any]:
        """report.json of the second start."""
        return json.loads((self.out / "report.json").read_text())


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    place = tmp_path_factory.mktemp("compare")
    out, again = place / "out", place / "again"
    words = ("grpo", "cppo_allocated as pruned", *SMALL, "--out", str(out))
    stopped = compare(place / "1.log", *words, interrupt_in=out / "pruned" / "seed_0")
    first_summary = (out / "grpo" / "seed_0" / "summary.json").read_bytes()
    return Story(
        out=out,
        stopped=stopped,
        went_on=compare(place / "2.log", *words),
        read=compare(place / "3.log", str(out), "--out", str(again)),
        read_out=again,
        first_summary=first_summary,
    )


def test_ctrl_c_ends_a_comparison_and_leaves_nothing_running(story: Story) -> None:
    assert story.stopped.code == 130, story.stopped.output
    assert story.stopped.left == []
    assert "the same copris compare goes on here" in story.stopped.output


def test_the_same_command_keeps_what_is_finished_and_continues_what_was_cut_off(
    story: Story,
) -> None:
    assert story.went_on.code == 0, story.went_on.output
    assert (story.out / "grpo" / "seed_0" / "summary.json").read_bytes() == story.first_summary
    assert "is finished and stays" in story.went_on.output
    assert "goes on from   step" in story.went_on.output
    rows = read_jsonl(story.out / "pruned" / "seed_0" / "metrics.jsonl")
    assert sorted({row["step"] for row in rows}) == [0, 1, 2, 3, 4]


def test_both_readings_come_from_the_same_two_runs(story: Story) -> None:
    report = story.report
    assert [x["label"] for x in report["methods"]] == ["grpo", "pruned"]
    # 4 steps of 4 prompts, and of 8: the pruned run had as many prompts after 2 of its updates.
    assert report["equal"]["prompts"]["amount"] == 16
    at_prompts = report["equal"]["prompts"]["methods"]["pruned"]["0"]
    assert at_prompts["spent"]["updates"] == pytest.approx(2)
    assert report["equal"]["updates"]["amount"] == 4
    [found] = report["fewer_updates"]
    assert found["updates"]["estimate"] == pytest.approx(0.5)
    assert any("pruned made FEWER optimizer updates" in note for note in report["notes"])
    assert report["methods"][0]["runs"][0]["machine"]["devices"] == "1 x cpu"


def test_page_text_and_pictures_lie_beside_each_other(story: Story) -> None:
    text = (story.out / "report.md").read_text()
    linked = [line.rpartition("(")[2][:-1] for line in text.splitlines() if line.startswith("![")]
    assert linked
    for link in linked:
        assert (story.out / link).stat().st_size > 1000
        assert (story.out / link).with_suffix(".svg").is_file()
    page = (story.out / "report.html").read_text()
    assert str(story.out) not in page + text + (story.out / "report.json").read_text()


def test_finished_runs_are_compared_without_training(story: Story) -> None:
    assert story.read.code == 0, story.read.output
    assert "starting Ray" not in story.read.output
    again = json.loads((story.read_out / "report.json").read_text())
    assert again["methods"] == story.report["methods"]
    assert again["equal"] == story.report["equal"]
    assert not (story.read_out / "grpo").exists()
