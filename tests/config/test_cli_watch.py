"""The words of ``copris watch``, and what it does on a terminal, in a pipe and at the end."""

import json
import os
import pty
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from copris_core import cli
from copris_core.cli_watch import DEFAULT_EVERY_S, split_watch

ROOT = Path(__file__).parents[2]


def _append(folder: Path, *steps: int, total: int = 3) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        for step in steps:
            row = {"step": step, "time_s": 40.0 + 2.0 * step, "run/total_steps": total}
            row |= {"reward/mean": 0.1 * step, "timing_s/step": 2.0} if step else {}
            row |= {"rollout/in_flight": 60.0, "rollout/limit": 64} if step else {}
            file.write(json.dumps(row) + "\n")


def test_words_are_read():
    told = split_watch(["runs/x", "--every", "0.5"])
    assert (told.run, told.once, told.every_s) == (Path("runs/x"), False, 0.5)
    told = split_watch(["--once", "runs/x"])
    assert (told.once, told.every_s) == (True, DEFAULT_EVERY_S)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "the following arguments are required: run; see copris watch --help"),
        (". --every 0", "--every 0: give seconds above 0; see copris watch --help"),
        (". --every nan", "--every nan: give seconds above 0"),
        (". --every soon", "argument --every: invalid float value: 'soon'"),
        (". --onc", "unrecognized arguments: --onc"),
        ("a b", "unrecognized arguments: b"),
        ("no/such/run", "no folder no/such/run: give a run folder, or one that runs lie below"),
        ("nothing --once", "no folder nothing: give a run folder"),
    ],
)
def test_what_cannot_be_watched_is_one_line_and_exit_2(words, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["watch", *words.split()]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"copris: {line}")
    assert (told.out, told.err.count("\n")) == ("", 1)


def test_a_malformed_row_is_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_text("nonsense\n")
    assert cli.main(["watch", str(tmp_path), "--once"]) == 2
    assert "line 1 is not JSON" in capsys.readouterr().err


def test_once_shows_the_view_and_ends(tmp_path, capsys):
    _append(tmp_path / "copris" / "t1", 0, 1)
    assert cli.main(["watch", str(tmp_path), "--once"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("copris t1 ")
    assert "step 1/3  33%" in told
    assert "60.0/64" in told
    assert "\x1b" not in told


def test_once_before_the_first_row_says_that_it_waits(tmp_path, capsys):
    assert cli.main(["watch", str(tmp_path), "--once"]) == 0
    assert "waiting for the first row" in capsys.readouterr().out


def test_a_pipe_gets_one_line_a_step_until_the_run_is_done(tmp_path, capsys):
    run = tmp_path / "run"

    def train() -> None:
        for step in range(4):
            time.sleep(0.05)
            _append(run, step)

    thread = threading.Thread(target=train)
    thread.start()
    assert cli.main(["watch", str(run), "--every", "0.01"]) == 0
    thread.join()
    told = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in told[-4:]] == [f"step {i}/3" for i in range(4)]
    assert told[-1].endswith("done")


def test_a_pipe_says_when_a_run_went_back(tmp_path, capsys, monkeypatch):
    _append(tmp_path, 0, 1, 2)
    path = tmp_path / "metrics.jsonl"

    def sleep(seconds: float) -> None:
        kept = path.read_text().splitlines(keepends=True)[:2]
        path.unlink()
        path.write_text("".join(kept))
        monkeypatch.setattr(time, "sleep", lambda s: _append(tmp_path, 2, 3))

    monkeypatch.setattr(time, "sleep", sleep)
    assert cli.main(["watch", str(tmp_path)]) == 0
    told = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert told == [
        *("step 0/3", "step 1/3", "step 2/3", "goes on from step 1", "step 2/3", "step 3/3")
    ]


def test_a_folder_of_runs_is_followed_from_one_run_to_the_next(tmp_path, capsys, monkeypatch):
    _append(tmp_path / "grpo" / "t1", 3)
    os.utime(tmp_path / "grpo" / "t1" / "metrics.jsonl", (1.0, 1.0))

    def sleep(seconds: float) -> None:
        if (tmp_path / "copris").exists():
            raise KeyboardInterrupt
        _append(tmp_path / "copris" / "t2", 1)

    monkeypatch.setattr(time, "sleep", sleep)
    assert cli.main(["watch", str(tmp_path)]) == 0
    told = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert told == ["grpo t1", "step 3/3", "copris t2", "step 1/3"]


@pytest.mark.slow  # a process of its own, on a terminal of its own
def test_on_a_terminal_of_80_by_24_the_view_is_drawn_until_the_run_is_done(tmp_path):
    _append(tmp_path, 0, 1)
    main, child = pty.openpty()
    told = b""
    variables = os.environ | {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "copris_core.cli", "watch", str(tmp_path), "--every", "0.2"]
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=child, stdin=child) as process:
        os.close(child)
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            ready, _, _ = select.select([main], [], [], 0.2)
            try:
                told += os.read(main, 65536) if ready else b""
            except OSError:  # the other end has been closed
                break
            if told.count(b"1/3  33%") == 1 and b"3/3" not in told:
                _append(tmp_path, 2, 3)
    text = told.decode()
    assert process.returncode == 0
    assert "step 1/3  33%" in text
    # The page of its own is left again, the cursor is back, and the last view stays.
    left = text.rindex("\x1b[?1049l")
    assert "\x1b[?25h" in text
    assert "step 3/3  100%" in text[left:]
