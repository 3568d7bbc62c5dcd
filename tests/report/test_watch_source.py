"""Following a metrics.jsonl that grows, is replaced, or has a newer neighbour."""

import json
import os
from pathlib import Path

import pytest

from copris_core.report.watch_source import METRICS_FILE, Follower, newest_run


def _write(folder: Path, *steps: int, mode: str = "w", at_s: float | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / METRICS_FILE
    with path.open(mode) as file:
        for step in steps:
            file.write(json.dumps({"step": step, "time_s": 1.0 * step}) + "\n")
    if at_s is not None:
        os.utime(path, (at_s, at_s))
    return path


def _steps(follower: Follower) -> list[float | None]:
    follower.look()
    return [row["step"] for row in follower.rows]


def test_a_run_that_has_not_begun_is_waited_for(tmp_path):
    follower = Follower(tmp_path / "run")
    assert (_steps(follower), follower.run, follower.written_s) == ([], None, None)
    _write(tmp_path / "run", 0, 1, at_s=50.0)
    assert (_steps(follower), follower.run, follower.written_s) == ([0, 1], tmp_path / "run", 50.0)
    assert follower.is_alone


def test_only_whole_lines_are_read_and_none_twice(tmp_path):
    path, follower = _write(tmp_path, 0, 1), Follower(tmp_path)
    with path.open("a") as file:
        file.write('{"step": 2, "ti')
    assert _steps(follower) == [0, 1]
    with path.open("a") as file:
        file.write('me_s": 2.0}\n')
    assert _steps(follower) == [0, 1, 2]
    assert follower.num_restarts == 0


def test_a_file_that_a_resumed_run_replaced_is_read_anew(tmp_path):
    path, follower = _write(tmp_path, 0, 1, 2, 3), Follower(tmp_path)
    assert _steps(follower) == [0, 1, 2, 3]
    neighbour = _write(tmp_path / "aside", 0, 1, 2, 3, 4, 5)  # not shorter, but another file
    os.replace(neighbour, path)
    assert _steps(follower) == [0, 1, 2, 3, 4, 5]
    assert follower.num_restarts == 1


def test_a_file_that_was_cut_short_is_read_anew(tmp_path):
    follower = Follower(tmp_path)
    _write(tmp_path, 0, 1, 2)
    _steps(follower)
    _write(tmp_path, 0, 1)  # the same file, truncated and written again
    assert (_steps(follower), follower.num_restarts) == ([0, 1], 1)


def test_a_file_that_was_removed_is_waited_for_again(tmp_path):
    path, follower = _write(tmp_path, 0, 1), Follower(tmp_path)
    _steps(follower)
    path.unlink()
    assert _steps(follower) == []
    _write(tmp_path, 0)
    assert _steps(follower) == [0]


def test_of_a_comparison_the_run_that_wrote_last_is_followed(tmp_path):
    first = _write(tmp_path / "grpo" / "t1", 0, 1, 2, at_s=100.0)
    follower = Follower(tmp_path)
    assert (_steps(follower), follower.run, follower.is_alone) == ([0, 1, 2], first.parent, False)
    second = _write(tmp_path / "copris" / "seed_1" / "t2", 0, at_s=200.0)
    assert (_steps(follower), follower.run) == ([0], second.parent)
    assert follower.num_restarts == 0  # another run, not a restart


def test_the_metrics_file_itself_stands_for_its_run(tmp_path):
    path = _write(tmp_path / "run", 0)
    follower = Follower(path)
    assert _steps(follower) == [0]
    assert follower.is_alone


def test_a_run_is_not_searched_for_others(tmp_path):
    _write(tmp_path, 0, at_s=1.0)
    _write(tmp_path / "calibration", 0, at_s=9.0)
    assert newest_run(tmp_path) == tmp_path


def test_a_malformed_line_is_told_by_its_place(tmp_path):
    path = _write(tmp_path, 0)
    path.write_text(path.read_text() + "nonsense\n")
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        Follower(tmp_path).look()


def test_a_file_replaced_while_it_is_read_is_no_error(tmp_path, monkeypatch):
    path, follower = _write(tmp_path, 0, 1), Follower(tmp_path)
    _steps(follower)

    class Replacing:
        def new_rows(self):
            os.replace(_write(tmp_path / "aside", 0), path)
            raise ValueError("read in the middle of a line of another file")

    monkeypatch.setattr(follower, "_tail", Replacing())
    follower.look()
    monkeypatch.undo()
    assert _steps(follower) == [0]
