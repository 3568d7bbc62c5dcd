"""Processes of a real run are killed; it ends in time, leaves nothing and goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from copris_core.report.timeline import live_spans, told_apart
from copris_core.rollout.events import Event
from copris_core.rollout.ledger import SavedLedger
from tests.e2e.runs import MARK, Finished, read_jsonl, survivors

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SEED = 7
"""Kills the engine core while saving, the driver while generating, then the router."""

CHAOS_TIMEOUT_S = 900
"""Four starts of the stack."""


@pytest.fixture(scope="module")
def tormented(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path, str]:
    """(what scripts/chaos.py found, the run folder, what it printed) of three kills."""
    folder = tmp_path_factory.mktemp("chaos")
    command = [sys.executable, ROOT / "scripts" / "chaos.py", "--kills", "3", "--seed", str(SEED)]
    files = ["--run", folder / "run", "--json", folder / "kills.json"]
    done = subprocess.run(
        [*command, *files, "task.val_rows=16", "data.max_response_length=256"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=CHAOS_TIMEOUT_S,
    )
    return json.loads((folder / "kills.json").read_text()), folder / "run", done.stdout


def test_each_kill_ends_the_run_within_a_minute_in_one_line(tormented) -> None:
    found, folder, said = tormented
    assert [each["target"] for each in found["kills"]] == ["engine core", "driver", "router"], said
    for each in found["kills"]:
        assert each["end_s"] < 60, said
        assert each["code"] == (-9 if each["target"] == "driver" else 1), said
        assert f"run the same command again with run.dir={folder}: it goes on" in each["message"]


def test_no_kill_leaves_a_process_shared_memory_or_a_folder(tormented) -> None:
    found, _, said = tormented
    assert [each["left"] for each in found["kills"]] == [[], [], []], said


def test_the_same_command_trains_every_step_once(tormented) -> None:
    found, folder, said = tormented
    assert found["code"] == 0, said
    steps = [row["step"] for row in read_jsonl(folder / "metrics.jsonl") if row["step"] > 0]
    assert sorted(set(steps)) == list(range(1, 13))
    assert json.loads((folder / "summary.json").read_text())["accuracy"]["after"] is not None
    assert not (folder / "failure.json").exists()


def test_time_goes_on_over_the_kills(tormented) -> None:
    times = [row["time_s"] for row in read_jsonl(tormented[1] / "metrics.jsonl")]
    assert times == sorted(times)


def test_the_audit_finds_nothing_lost_and_nothing_twice(tormented) -> None:
    command = [sys.executable, "-m", "copris_core.cli", "audit", str(tormented[1])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_killed_run_draws_and_trains_the_prompts_of_an_undisturbed_one(
    tormented, copris: Finished
) -> None:
    """Which groups are complete first is chance; which prompts come, and in which order, is not."""
    drawn, used = _prompts(tormented[1])
    drawn_undisturbed, used_undisturbed = _prompts(copris.folder)
    both = min(len(drawn), len(drawn_undisturbed))
    assert both > 5 * 4
    assert drawn[:both] == drawn_undisturbed[:both]
    assert (used, used_undisturbed) == (set(drawn), set(drawn_undisturbed))


def _prompts(folder: Path) -> tuple[list[int], set[int]]:
    """Rows drawn, in order, and those trained or still held at the end; restarts rolled back."""
    ledger = SavedLedger(folder / "ledger.jsonl")
    facts = [event.fact for event, counts in told_apart(ledger, live_spans(ledger)) if counts]
    row_of = {fact.uid: fact.row for fact in facts if fact.event is Event.DRAWN}
    live = next(fact.live for fact in reversed(facts) if fact.event is Event.ENDED)
    trained = {fact.uid for fact in facts if fact.event is Event.TRAINED}
    return list(row_of.values()), {row_of[uid] for uid in trained | set(live)}


def test_another_command_in_the_same_folder_is_refused(tormented) -> None:
    _, folder, _ = tormented
    before = (folder / "metrics.jsonl").read_bytes()
    command = [sys.executable, "-m", "copris_core.cli", "train", "experiment=copris"]
    done = subprocess.run(
        [*command, f"run.dir={folder}", "seed=1"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "holds a run with" in done.stderr
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_sigterm_during_the_start_leaves_nothing(tmp_path) -> None:
    mark, folder = uuid.uuid4().hex, tmp_path / "run"
    command = [sys.executable, "-m", "copris_core.cli", "train", "experiment=copris"]
    process = subprocess.Popen(
        [*command, f"run.dir={folder}", "task.val_rows=8"],
        cwd=ROOT,
        env={**os.environ, MARK: mark},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        _wait_for_phase(folder, "loading the policy")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        _kill(process)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"copris: stopped; run the same command again with run.dir={folder}" in said
    assert survivors(mark) == []


def _wait_for_phase(folder: Path, text: str, within_s: float = 120) -> None:
    deadline_s = time.monotonic() + within_s
    path = folder / "phase.json"
    while not path.exists() or json.loads(path.read_text())["text"] != text:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def _kill(process: subprocess.Popen) -> None:
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()
