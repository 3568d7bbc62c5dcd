"""A killed driver leaves nothing: real processes, really killed."""

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from copris_core.verl_adapter import warden
from copris_core.verl_adapter.processes import MARK, end_all, marked, processes_of

pytestmark = pytest.mark.verl

DRIVER = """
import os, subprocess, sys, time
from pathlib import Path
from copris_core.verl_adapter.processes import marked
from copris_core.verl_adapter.warden import ENDING, Warden

mark, run_folder, ray_folder, then = sys.argv[1:]
lock = os.open(Path(run_folder) / "run.lock", os.O_RDWR | os.O_CREAT)
warden = Warden(mark, Path(run_folder), Path(ray_folder), lock=lock)
orphan = '''
import mmap, os, time
file = open("/dev/shm/psm_" + os.environ["COPRIS_RUN"], "w+b")
file.truncate(4096)
held = mmap.mmap(file.fileno(), 4096)
time.sleep(600)
'''
with marked(mark):
    # Its parent ends at once: nobody's child, as an engine is whose server was killed.
    subprocess.run([sys.executable, "-c",
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])", orphan])
if then == "dismiss":
    warden.dismiss()
if then == "end":
    warden.say(ENDING)
print("ready", flush=True)
time.sleep(600)
"""


def _wait(question, within_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not question():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.fixture
def driver(tmp_path, request):
    """Starts a driver with a marked orphan that holds shared memory; (process, mark, folders)."""
    mark = f"test{os.getpid()}{request.node.name[-8:]}".replace("[", "").replace("]", "")
    run, ray = tmp_path / "run", tmp_path / "ray"
    (ray / "session_2026" / "logs").mkdir(parents=True)
    (ray / "session_2026" / "logs" / "raylet.out").write_text("the raylet said this")
    run.mkdir()
    started = []

    def start(then: str) -> subprocess.Popen:
        with (tmp_path / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, mark, str(run), str(ray), then],
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        _wait(lambda: _segment(mark).exists())
        return process

    yield start, mark, run, ray
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
    end_all(mark, grace_s=0.0, since_s=time.time())


def _segment(mark: str) -> Path:
    return Path("/dev/shm") / f"psm_{mark}"


def _wardens(mark: str) -> list[psutil.Process]:
    return [
        x
        for x in psutil.process_iter(["cmdline"])
        if (x.info["cmdline"] or [])[2:4] == [warden.__name__, mark]
    ]


def test_a_killed_driver_leaves_no_orphan_no_shared_memory_and_no_folder(driver, tmp_path):
    start, mark, run, ray = driver
    process = start("nothing")
    assert len(processes_of(mark)) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    _wait(lambda: (run / "failure.json").exists())
    _wait(lambda: not _wardens(mark))
    assert processes_of(mark) == []
    assert not _segment(mark).exists()
    assert not ray.exists()
    assert (run / "logs" / "raylet.out").read_text() == "the raylet said this"
    assert json.loads((run / "failure.json").read_text())["what"] == (
        "the copris process itself was killed"
    )
    said = (tmp_path / "stderr").read_text()
    assert said.startswith("copris: the copris process itself was killed; run the same command")
    assert said.count("\n") == 1


def test_a_dismissed_warden_touches_nothing(driver):
    start, mark, run, ray = driver
    process = start("dismiss")
    assert not _wardens(mark)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)
    assert len(processes_of(mark)) == 1
    assert ray.exists()
    assert not (run / "failure.json").exists()


def test_a_driver_killed_while_cleaning_up_is_helped_without_a_failure(driver):
    start, mark, run, ray = driver
    process = start("end")
    process.send_signal(signal.SIGKILL)
    process.wait()
    _wait(lambda: not _wardens(mark))
    assert processes_of(mark) == []
    assert not ray.exists()
    assert not (run / "failure.json").exists()


def test_a_driver_that_stalls_while_cleaning_up_is_helped(tmp_path, monkeypatch):
    reading, writing = os.pipe()
    os.write(writing, warden.ENDING)  # and nothing more
    with os.fdopen(reading) as stdin, marked("stalls"):
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(warden, "CLEANUP_S", 0.2)
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        _wait(lambda: [x.pid for x in processes_of("stalls")] == [left.pid])
        warden.watch("stalls", tmp_path, tmp_path / "ray")
    os.close(writing)
    assert left.poll() is not None


def test_ctrl_c_and_sigterm_do_not_end_the_warden(driver):
    start, mark, _, _ = driver
    start("nothing")
    (process,) = _wardens(mark)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    time.sleep(0.3)
    assert process.is_running()
    assert process.status() != psutil.STATUS_ZOMBIE


def test_the_mark_is_for_what_is_started_inside():
    with marked("inside"):
        assert os.environ[MARK] == "inside"
    assert MARK not in os.environ
    assert "SPT_NOENV" not in os.environ


def test_processes_with_another_mark_are_left_alone():
    script = [sys.executable, "-c", "import time; time.sleep(600)"]
    with marked("ours"):
        ours = subprocess.Popen(script)
    with marked("theirs"):
        theirs = subprocess.Popen(script)
    try:
        _wait(lambda: len(processes_of("ours")) == 1)
        assert end_all("ours", grace_s=0.0, since_s=time.time()) == 0
        assert ours.poll() is not None
        assert theirs.poll() is None
    finally:
        theirs.kill()
        theirs.wait()


@pytest.mark.parametrize(("grace_s", "is_written"), [(10.0, True), (0.0, False)])
def test_what_ends_within_its_grace_is_not_killed(tmp_path, grace_s, is_written):
    script = "import pathlib, sys, time; time.sleep(1); pathlib.Path(sys.argv[1]).touch()"
    with marked("graceful"):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "done")])
    _wait(lambda: len(processes_of("graceful")) == 1)
    assert end_all("graceful", grace_s=grace_s, since_s=time.time()) == 0
    assert process.poll() is not None
    assert (tmp_path / "done").exists() is is_written


def test_a_weight_bucket_whose_maker_died_before_is_removed():
    began_s = time.time() - 1.0  # file systems count time in coarse ticks
    forgotten, held = (Path(f"/dev/shm/verl_weights_test_{os.getpid()}_{i}") for i in "fh")
    forgotten.write_bytes(b"x" * 4096)
    with held.open("w+b") as file:
        file.truncate(4096)
        segment = mmap.mmap(file.fileno(), 4096)
    try:
        end_all("nobody", grace_s=0.0, since_s=time.time() + 60.0)
        assert forgotten.exists()  # older than the run: another's
        end_all("nobody", grace_s=0.0, since_s=began_s)
        assert not forgotten.exists()
        assert held.exists()
    finally:
        segment.close()
        held.unlink(missing_ok=True)
        forgotten.unlink(missing_ok=True)
