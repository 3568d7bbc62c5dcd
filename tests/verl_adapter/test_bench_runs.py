"""The orchestrator with a training that writes its run folder at once: real processes, no stack."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from copris_core.report.bench import BenchReport, BenchSetup
from copris_core.report.bench_names import Batch
from copris_core.verl_adapter.bench_runs import (
    BENCH_FILE,
    BenchRun,
    empty_report,
    machine,
    overrides_of,
    refuse_unknown_names,
    reread,
    run_bench,
    without_paths,
)
from copris_core.verl_adapter.errors import ConfigError

TRAIN = """
import json, os, sys, time
from pathlib import Path

words = dict(word.partition("=")[::2] for word in sys.argv[1:])
folder, control = Path(words["run.dir"].strip('"')), Path(__file__).parent
folder.mkdir(parents=True)
with (control / "started.txt").open("a") as file:
    file.write(words["strategy"] + " " + folder.name + "\\n")
behaviour = json.loads((control / "behaviour.json").read_text()).get(words["strategy"])
if behaviour == "hang":
    (folder / "phase.json").write_text(json.dumps({"text": "generating", "step": 2}))
    (control / "hanging.txt").write_text(str(os.getpid()))
    time.sleep(600)
if behaviour == "fail":
    print("a long story")
    print("copris: out of memory; logs: " + str(folder.absolute() / "logs"), file=sys.stderr)
    sys.exit(1)
row = {"time_s": 1, "timing_s/generate": 6, "timing_s/step": 10, "samples/trained": 4,
       "tokens/trained": 40, "timing_s/update": 4}
steps = range(1, int(words["trainer.total_training_steps"]) + 1)
text = "".join(json.dumps({"step": step, **row}) + "\\n" for step in steps)
(folder / "metrics.jsonl").write_text(text)
if behaviour == "no summary":
    sys.exit(0)
(folder / "summary.json").write_text(json.dumps({"wall_s": 12.5, "revision": "0123abc"}))
"""

HOLD = """
import fcntl, os, sys, time
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
os.write(lock, str(os.getpid()).encode())
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """Folder of the training's script and of what it is told to do."""
    folder = tmp_path / "control"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    behave(folder)
    return folder


def behave(control: Path, **by_strategy: str) -> None:
    (control / "behaviour.json").write_text(json.dumps(by_strategy))


def started(control: Path) -> list[str]:
    path = control / "started.txt"
    return path.read_text().splitlines() if path.is_file() else []


def bench_run(control: Path, *, limit_s: float = 60.0, **changes: object) -> BenchRun:
    setup = {
        "workloads": ("longtail",),
        "batches": (Batch(2, 2),),
        "methods": ("sync", "copris"),
        "rounds": 2,
        "steps": 3,
        "warmup_steps": 1,
        "concurrency": None,
        "seed": 5,
        "overrides": (),
    }
    return BenchRun(
        setup=BenchSetup(**{**setup, **changes}),
        out=control.parent / "bench",
        command=("copris", "bench", "--out", f"{control.parent / 'bench'}"),
        cell_limit_s=limit_s,
        train=(sys.executable, str(control / "train.py")),
        grace_s=5.0,
    )


def quiet(line: str) -> None:
    """Say nothing."""


def test_cells_run_one_by_one_in_alternating_rounds_and_are_told(control):
    lines: list[str] = []
    report = run_bench(bench_run(control), say=lines.append)
    assert started(control) == [
        "verl_sync round1",
        "copris round1",
        "verl_sync round2",
        "copris round2",
    ]
    assert [x.key for x in report.cells] == list(report.setup.order)
    # Two counted steps of 4 samples, 6 s of 10 s each.
    assert lines[1] == ("[2/4] longtail/2x2/copris/round1: 12 s, 0.7 rollout samples/s, 0.4 in all")


def test_the_report_and_a_picture_lie_in_the_folder(control):
    report = run_bench(bench_run(control), say=quiet)
    out = control.parent / "bench"
    assert BenchReport.from_json(json.loads((out / BENCH_FILE).read_text())) == report
    assert (out / "bench_longtail.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_runs_nothing_twice(control):
    first = run_bench(bench_run(control), say=quiet)
    again = run_bench(bench_run(control), say=quiet)
    assert len(started(control)) == 4
    assert again == first


def test_one_more_round_runs_only_that_round(control):
    run_bench(bench_run(control, rounds=1), say=quiet)
    report = run_bench(bench_run(control, rounds=2), say=quiet)
    assert started(control)[2:] == ["verl_sync round2", "copris round2"]
    assert len(report.cells) == 4


def test_a_cell_that_was_cut_off_is_removed_and_run_anew(control):
    run_bench(bench_run(control), say=quiet)
    folder = control.parent / "bench/longtail/2x2/copris/round1"
    (folder / "summary.json").unlink()
    (folder / "left behind").touch()
    run_bench(bench_run(control), say=quiet)
    assert started(control)[4:] == ["copris round1"]
    assert not (folder / "left behind").exists()


def test_a_cell_that_still_runs_is_not_removed(control):
    folder = control.parent / "bench/longtail/2x2/sync/round1"
    folder.mkdir(parents=True)
    words = [sys.executable, "-c", HOLD, str(folder / "run.lock")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(ConfigError, match=f"in use by process {holder.pid}"):
                run_bench(bench_run(control), say=quiet)
        finally:
            holder.kill()
    assert folder.is_dir()
    assert started(control) == []


def test_finished_cells_of_other_settings_are_refused_before_anything_runs(control):
    run_bench(bench_run(control, methods=("copris",)), say=quiet)
    with pytest.raises(ConfigError, match=r"copris/round1 was run with other settings: name ano"):
        run_bench(bench_run(control, steps=4), say=quiet)
    assert len(started(control)) == 2


def test_a_failed_cell_is_recorded_without_the_machines_paths_and_the_next_one_runs(control):
    behave(control, verl_sync="fail")
    lines: list[str] = []
    report = run_bench(bench_run(control, rounds=1), say=lines.append)
    assert started(control) == ["verl_sync round1", "copris round1"]
    (failure,) = report.failures
    assert failure.key.method == "sync"
    assert failure.reason == "exit code 1: copris: out of memory; logs: .../logs"
    assert "failed after" in lines[0]
    log = control.parent / "bench/longtail/2x2/sync/round1.log"
    assert "a long story" in log.read_text()

    behave(control)
    assert run_bench(bench_run(control, rounds=1), say=quiet).failures == ()
    assert started(control)[2:] == ["verl_sync round1"]


def test_a_run_that_leaves_no_summary_has_failed(control):
    behave(control, copris="no summary")
    (failure,) = run_bench(bench_run(control, rounds=1), say=quiet).failures
    assert "summary.json" in failure.reason
    assert str(control.parent) not in failure.reason


def test_a_hanging_cell_is_ended_in_time_and_says_where_it_hung(control):
    behave(control, verl_sync="hang")
    report = run_bench(bench_run(control, limit_s=1.5, rounds=1), say=quiet)
    (failure,) = report.failures
    assert failure.reason == "did not end in 2 s, in phase 'generating'"
    assert not psutil.pid_exists(int((control / "hanging.txt").read_text()))
    assert [x.key.method for x in report.cells] == ["copris"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_bench_loses_no_finished_cell_and_leaves_no_process(control, number):
    behave(control, copris="hang")
    script = (
        "import sys; from pathlib import Path; from tests.verl_adapter.test_bench_runs import *\n"
        "run_bench(bench_run(Path(sys.argv[1])), say=quiet)"
    )
    root = Path(__file__).resolve().parents[2]
    bench = subprocess.Popen([sys.executable, "-c", script, str(control)], cwd=root, stderr=-3)
    deadline_s = time.monotonic() + 60
    while not (hanging := control / "hanging.txt").is_file() or not hanging.read_text():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    os.kill(bench.pid, number)
    assert bench.wait(timeout=30) != 0
    assert not psutil.pid_exists(int(hanging.read_text()))

    behave(control)
    report = run_bench(bench_run(control), say=quiet)
    assert len(report.cells) == 4
    # What was finished before the stop was not run again.
    assert started(control).count("verl_sync round1") == 1
    assert started(control).count("copris round1") == 2


def test_the_report_is_there_after_each_cell(control):
    behave(control, copris="fail")
    seen: list[tuple[int, int]] = []

    def look(line: str) -> None:
        value = json.loads((control.parent / "bench" / BENCH_FILE).read_text())
        seen.append((len(value["cells"]), len(value["failures"])))

    run_bench(bench_run(control), say=look)
    assert seen == [(1, 0), (1, 1), (2, 1), (2, 2)]


def test_finished_cells_are_read_again_without_running_anything(control):
    behave(control, copris="fail")
    report = run_bench(bench_run(control), say=quiet)
    (control.parent / "bench" / "bench_longtail.png").unlink()
    assert reread(control.parent / "bench") == report
    assert (control.parent / "bench" / "bench_longtail.png").is_file()
    assert len(started(control)) == 4


def test_nothing_to_read_again_is_the_users_error(tmp_path):
    with pytest.raises(ConfigError, match="no file"):
        reread(tmp_path)


def test_a_cell_is_told_workload_batch_method_length_and_seed_and_the_user_wins(control):
    setup = bench_run(control, overrides=("mini_batches=1",), concurrency=48).setup
    words = overrides_of(setup, setup.order[1])
    assert "task=forced" in words
    assert "data.train_batch_size=2" in words
    assert "actor_rollout_ref.rollout.n=2" in words
    assert "strategy=copris" in words
    assert "strategy.concurrency=48" in words
    assert "run.engine_log=true" in words
    assert "trainer.total_training_steps=3" in words
    assert "seed=5" in words
    assert words[-1] == "mini_batches=1"


@pytest.mark.parametrize(
    ("method", "limits"),
    [
        ("copris", ["strategy.concurrency=256"]),
        ("copris_adaptive", ["strategy.concurrency=256"]),
        ("naive_partial+cppo", ["strategy.concurrency=256"]),
        ("copris@48", ["strategy.concurrency=48"]),
        ("oversample", []),  # its factor is 2 as well
        ("sync", []),
    ],
)
def test_without_a_limit_twice_the_batch_is_in_flight(control, method, limits):
    setup = bench_run(control, batches=(Batch(16, 8),), methods=(method,)).setup
    words = overrides_of(setup, setup.order[0])
    assert [word for word in words if word.startswith("strategy.concurrency=")] == limits


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"methods": ("sync", "coprs")}, "unknown method coprs: did you mean copris?"),
        ({"methods": ("zzz",)}, "unknown method zzz: use one of sync_released, sync,"),
        ({"workloads": ("longtial",)}, "unknown workload longtial: did you mean longtail?"),
        ({"methods": ("sync@4",)}, "sync@4: write an N' after"),
        ({"methods": ("sync+cppo",)}, r"sync\+cppo: sync is verl's own trainer"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(control, change, line):
    with pytest.raises(ConfigError, match=f"^{line}"):
        refuse_unknown_names(bench_run(control, **change).setup)
    with pytest.raises(ConfigError):
        run_bench(bench_run(control, **change), say=quiet)
    assert not (control.parent / "bench").exists()


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("--out /a/b/bench days", "--out .../bench days"),
        ("task.path=/a/b.jsonl", "task.path=.../b.jsonl"),
        ("searchpath=[file:///a/b/c]", "searchpath=[file://.../c]"),
        ("--out runs/bench x=1/2", "--out runs/bench x=1/2"),
        ("exit code 1: no /a/b here", "exit code 1: no .../b here"),
    ],
)
def test_absolute_paths_are_cut_to_their_last_part(text, cut):
    assert without_paths(text) == cut


def test_a_path_with_blanks_is_cut_where_it_is_a_word_of_its_own(control):
    run = bench_run(control, overrides=("task.path=/a b/c.jsonl",))
    report = empty_report(replace(run, command=("copris", "bench", "--out", "/a b/c d")))
    assert report.setup.overrides == ("task.path=.../c.jsonl",)
    assert report.command == "copris bench --out '.../c d'"


def test_the_folder_outside_is_not_told(control):
    run_bench(
        bench_run(control, rounds=1, overrides=(f"task.path={control}/rows.jsonl",)), say=quiet
    )
    text = (control.parent / "bench" / BENCH_FILE).read_text()
    assert str(control.parent) not in text
    assert "task.path=.../rows.jsonl" in text


def test_the_machine_is_told_by_numbers_and_models():
    found = machine()
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert os.uname().nodename not in {str(x) for x in found.values()}
    assert set(found) == {"cores", "memory_gib", "cpu", "system", "python"}


def test_the_users_overrides_are_kept_as_they_are_for_the_runs(control):
    run = bench_run(control, rounds=1, overrides=("x=/a/b",))
    run_bench(run, say=quiet)
    run_bench(replace(run), say=quiet)
    marker = control.parent / "bench/longtail/2x2/copris/round1.json"
    assert "x=/a/b" in json.loads(marker.read_text())["overrides"]
    assert len(started(control)) == 2


def test_a_further_workload_joins_the_bench_that_is_there(control):
    first = run_bench(bench_run(control, rounds=1), say=quiet)
    second = run_bench(
        bench_run(control, rounds=1, workloads=("uniform",), methods=("copris",)), say=quiet
    )
    assert started(control)[2:] == ["copris round1"]
    assert second.cells[:2] == first.cells
    assert [cell.key.workload for cell in second.cells] == ["longtail", "longtail", "uniform"]
    assert second.setup.workloads == ("longtail", "uniform")
    assert len(reread(control.parent / "bench").cells) == 3


def test_a_bench_of_another_length_does_not_join(control):
    run_bench(bench_run(control, rounds=1), say=quiet)
    with pytest.raises(ConfigError, match=r"has steps=3, not 4: name another --out"):
        run_bench(bench_run(control, rounds=1, steps=4, workloads=("uniform",)), say=quiet)
