"""A checkpoint counts only when it is whole, whatever was killed, cut off or copied wrongly."""

import json
import os
import shutil
from pathlib import Path

import pytest

from copris_core.checkpoint import durable
from copris_core.checkpoint import seal as seal_module
from copris_core.checkpoint.durable import write_durably
from copris_core.checkpoint.seal import (
    BEGUN,
    SEAL,
    begin,
    discard_unsealed,
    newest_sealed,
    seal,
    sealed,
    step_of,
)


def _write(folder: Path) -> None:
    """What a trainer writes: files at several depths, one of them empty."""
    (folder / "actor" / "huggingface").mkdir(parents=True, exist_ok=True)
    (folder / "data.pt").write_bytes(b"data")
    (folder / "actor" / "model.pt").write_bytes(b"w" * 1000)
    (folder / "actor" / "huggingface" / "config.json").write_bytes(b"{}")
    (folder / "actor" / "empty").write_bytes(b"")


def _checkpoint(root: Path, step: int) -> Path:
    folder = root / f"global_step_{step}"
    begin(folder)
    _write(folder)
    seal(folder, step)
    return folder


def test_a_checkpoint_counts_once_it_is_sealed(tmp_path):
    folder = tmp_path / "global_step_3"
    begin(folder)
    assert not sealed(folder)
    _write(folder)
    assert not sealed(folder)
    seal(folder, 3)

    assert sealed(folder)
    assert json.loads((folder / SEAL).read_text()) == {
        "format": 1,
        "step": 3,
        "files": {
            "data.pt": 4,
            "actor/model.pt": 1000,
            "actor/huggingface/config.json": 2,
            "actor/empty": 0,
        },
    }
    assert not (folder / BEGUN).exists()


@pytest.mark.parametrize(("name", "step"), [("global_step_0", 0), ("global_step_120", 120)])
def test_the_folders_name_is_its_step(name, step):
    assert step_of(Path("root") / name) == step


@pytest.mark.parametrize("name", ["step_3", "global_step_", "global_step_3x", "global_step_-1"])
def test_another_name_is_no_checkpoint(tmp_path, name):
    for refuse in (step_of, begin):
        with pytest.raises(ValueError, match="is no checkpoint folder"):
            refuse(tmp_path / name)
    (tmp_path / name).mkdir()
    assert newest_sealed(tmp_path) is None
    assert not sealed(tmp_path / name)
    assert discard_unsealed(tmp_path) == []
    assert (tmp_path / name).exists()


def test_a_seal_of_another_step_is_refused(tmp_path):
    _checkpoint(tmp_path, 3)
    with pytest.raises(ValueError, match="not the checkpoint of step 4"):
        seal(tmp_path / "global_step_3", 4)


def test_an_empty_folder_is_not_sealed(tmp_path):
    begin(tmp_path / "global_step_3")
    with pytest.raises(ValueError, match="nothing to seal"):
        seal(tmp_path / "global_step_3", 3)


DAMAGES = {
    "a truncated file": lambda folder: os.truncate(folder / "actor" / "model.pt", 999),
    "a file grown": lambda folder: (folder / "data.pt").write_bytes(b"datum"),
    "a missing file": lambda folder: (folder / "actor" / "empty").unlink(),
    "a missing folder": lambda folder: shutil.rmtree(folder / "actor"),
    "no seal": lambda folder: (folder / SEAL).unlink(),
    "an empty seal": lambda folder: os.truncate(folder / SEAL, 0),
    "a torn seal": lambda folder: os.truncate(folder / SEAL, 40),
    "a seal that is no object": lambda folder: (folder / SEAL).write_text("[]"),
    "a seal of another format": lambda folder: _edit(folder, "format", 2),
    "a seal of another step": lambda folder: _edit(folder, "step", 4),
    "a seal without files": lambda folder: _edit(folder, "files", {}),
    "a seal whose files are a list": lambda folder: _edit(folder, "files", ["data.pt"]),
    "a seal whose size is text": lambda folder: _edit(folder, "files", {"data.pt": "4"}),
    "a seal that is not text": lambda folder: (folder / SEAL).write_bytes(b"\xff\xfe{}"),
}


def _edit(folder: Path, name: str, value: object) -> None:
    marker = json.loads((folder / SEAL).read_text())
    (folder / SEAL).write_text(json.dumps({**marker, name: value}))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_does_not_count_and_the_one_before_it_does(tmp_path, damage):
    good, bad = _checkpoint(tmp_path, 2), _checkpoint(tmp_path, 3)
    assert newest_sealed(tmp_path) == bad

    DAMAGES[damage](bad)

    assert not sealed(bad)
    assert newest_sealed(tmp_path) == good


def test_the_newest_is_the_highest_step_not_the_last_name(tmp_path):
    for step in (9, 10, 2):
        _checkpoint(tmp_path, step)

    assert newest_sealed(tmp_path) == tmp_path / "global_step_10"


@pytest.mark.parametrize("ask", [newest_sealed, discard_unsealed])
def test_where_no_checkpoint_was_ever_written_there_is_none(tmp_path, ask):
    assert not ask(tmp_path / "nowhere")
    assert not ask(tmp_path)


def test_half_written_checkpoints_are_removed_and_whole_ones_kept(tmp_path):
    good = _checkpoint(tmp_path, 1)
    torn = _checkpoint(tmp_path, 2)
    (torn / "data.pt").unlink()
    begun = tmp_path / "global_step_3"
    begin(begun)
    _write(begun)
    empty = tmp_path / "global_step_4"
    empty.mkdir()

    assert discard_unsealed(tmp_path) == [torn, begun, empty]
    assert sorted(tmp_path.iterdir()) == [good]
    assert sealed(good)


def test_a_folder_without_our_marks_is_another_programs_and_stays(tmp_path):
    foreign = tmp_path / "global_step_5"
    _write(foreign)
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("5")

    assert discard_unsealed(tmp_path) == []
    assert (foreign / "actor" / "model.pt").exists()


def test_a_removal_that_was_cut_short_is_finished_by_the_next(tmp_path, monkeypatch):
    begin(tmp_path / "global_step_3")
    _write(tmp_path / "global_step_3")
    with monkeypatch.context() as patch:
        patch.setattr(seal_module.shutil, "rmtree", _killed)
        with pytest.raises(Killed):
            discard_unsealed(tmp_path)
    assert newest_sealed(tmp_path) is None
    assert not (tmp_path / "global_step_3").exists()

    discard_unsealed(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_saving_a_step_again_takes_its_seal_away_first(tmp_path):
    before, again = _checkpoint(tmp_path, 2), _checkpoint(tmp_path, 3)
    begin(again)

    assert newest_sealed(tmp_path) == before
    assert discard_unsealed(tmp_path) == [again]


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


def _killed(*args: object, **kwargs: object) -> None:
    raise Killed


class _KillAt:
    """Kills at the k-th call of any of the calls that change the disk; counts them."""

    CALLS = ("fsync", "replace")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.num_calls = 0
        self.at = at
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        monkeypatch.setattr(Path, "unlink", self._counted(Path.unlink))

    def _counted(self, call):
        def counted(*args, **kwargs):
            if self.num_calls >= self.at:  # a dead process does nothing any more
                raise Killed
            self.num_calls += 1
            return call(*args, **kwargs)

        return counted


def _save_and_count(root: Path, monkeypatch: pytest.MonkeyPatch, *, at: int) -> tuple[bool, int]:
    """Save step 2 and be killed; whether it came to an end, and how far it came."""
    with monkeypatch.context() as patch:
        killer = _KillAt(patch, at)
        try:
            _checkpoint(root, 2)
        except Killed:
            return False, killer.num_calls
    return True, killer.num_calls


def test_a_kill_at_any_write_leaves_a_valid_checkpoint_and_nothing_half_valid(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "fsync", _quick)
    _, num_writes = _save_and_count(tmp_path / "whole", monkeypatch, at=10_000)
    assert num_writes >= 15  # two markers, four files, four folders and the removals
    outcomes = set()
    for at in range(num_writes + 1):
        root = tmp_path / str(at)
        before = _checkpoint(root, 1)
        ended, _ = _save_and_count(root, monkeypatch, at=at)
        newest = newest_sealed(root)
        outcomes.add((ended, newest == before))
        assert newest in (before, root / "global_step_2")
        assert not (ended and newest == before)
        discard_unsealed(root)
        assert {path for path in root.iterdir() if not sealed(path)} == set()
        _checkpoint(root, 2)
        assert newest_sealed(root) == root / "global_step_2"

    assert outcomes >= {(False, True), (True, False)}


def test_a_kill_while_a_step_is_saved_again_never_leaves_old_and_new_mixed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", _quick)
    for at in range(30):
        root = tmp_path / str(at)
        _checkpoint(root, 1)
        folder = _checkpoint(root, 2)
        (folder / "data.pt").write_bytes(b"old!")
        with monkeypatch.context() as patch:
            _KillAt(patch, at)
            try:
                begin(folder)
                (folder / "data.pt").write_bytes(b"new!")
                (folder / "actor" / "model.pt").write_bytes(b"n" * 1000)
                seal(folder, 2)
            except Killed:
                pass
        if sealed(folder):
            parts = (folder / "data.pt").read_bytes(), (folder / "actor" / "model.pt").read_bytes()
            assert parts in ((b"old!", b"w" * 1000), (b"new!", b"n" * 1000))


def test_every_file_is_flushed_before_the_seal_says_so(tmp_path, monkeypatch):
    calls = []
    replace = os.replace
    monkeypatch.setattr(seal_module, "sync_file", lambda path: calls.append(path.name))
    monkeypatch.setattr(
        durable.os, "replace", lambda old, new: (calls.append(new.name), replace(old, new))
    )
    _checkpoint(tmp_path, 1)

    assert sorted(calls[1:-1]) == ["config.json", "data.pt", "empty", "model.pt"]
    assert (calls[0], calls[-1]) == (BEGUN, SEAL)


def test_a_durable_write_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_durably(path, b"old")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="no space"):
        write_durably(path, b"new")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _full(descriptor: int) -> None:
    raise OSError("no space")


def _quick(descriptor: int) -> None:
    """Where only the order of the calls matters."""
