"""Partials on disk: what is read is what was written, and damage is told in one line."""

import json
import os
from array import array

import numpy as np
import pytest
from safetensors.numpy import save_file

from copris_core.checkpoint import partials_io
from copris_core.checkpoint.partials_io import read_partials, write_partials
from copris_core.rollout.gate_state import GateState, Place, SavedGroup, SavedMember
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.partials import PartialResponse, PartialStore
from copris_core.rollout.trajectory import Segment, Status, Trajectory

EXTRA = {"ledger_position": 12, "rng": [1, 2, [3]], "method": {"name": "cppo", "left": None}}


def _store(*, num_tokens=5, version=3):
    call = Trajectory(
        prompt=(1, 2),
        max_tokens=num_tokens + 1,
        segments=[Segment.sampled(range(num_tokens), [-i / 3 for i in range(num_tokens)], version)],
        status=Status.PAUSED,
    )
    member = SavedMember(place=Place.PAUSED, oldest_version=version)
    group = SavedGroup(uid="a", draw_order=0, members=(member,))
    return PartialStore(
        version=version,
        gate=GateState(next_order=1, growing=(group,), ready=()),
        responses=(PartialResponse(key=ResponseKey("a", 0), calls=(call,)),),
    )


EMPTY = PartialStore(version=0, gate=GateState(next_order=0, growing=(), ready=()), responses=())


@pytest.mark.parametrize("store", [_store(), EMPTY], ids=["one partial", "nothing in flight"])
def test_what_is_read_is_what_was_written(tmp_path, store):
    write_partials(tmp_path, store, EXTRA)

    assert read_partials(tmp_path) == (store, EXTRA)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "partials.json",
        "partials.safetensors",
    ]


def test_writing_again_replaces_what_was_there(tmp_path):
    write_partials(tmp_path, _store(), EXTRA)
    write_partials(tmp_path, EMPTY, {})

    assert read_partials(tmp_path) == (EMPTY, {})


def test_a_token_takes_8_bytes_on_disk(tmp_path):
    write_partials(tmp_path, _store(num_tokens=100_000), {})

    assert (tmp_path / "partials.safetensors").stat().st_size < 8 * 100_000 + 1024
    assert (tmp_path / "partials.json").stat().st_size < 1024


@pytest.mark.parametrize("name", ["partials.json", "partials.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "torn", "garbage"])
def test_a_damaged_file_is_told_in_one_line(tmp_path, name, damage):
    write_partials(tmp_path, _store(), EXTRA)
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(b"\xff" * 100)
    else:
        os.truncate(path, 0 if damage == "empty" else path.stat().st_size - 5)

    with pytest.raises(ValueError, match=r"^[^\n]+resume from another checkpoint$"):
        read_partials(tmp_path)


def test_files_of_two_saves_are_not_mixed(tmp_path):
    write_partials(tmp_path, _store(num_tokens=5), {})
    old = (tmp_path / "partials.json").read_bytes()
    write_partials(tmp_path, _store(num_tokens=6), {})
    (tmp_path / "partials.json").write_bytes(old)

    with pytest.raises(ValueError, match="6 logps, 5 are announced"):
        read_partials(tmp_path)


@pytest.mark.parametrize("head", [[], {"store": {}}, {"extra": {}}, {"store": [], "extra": {}}])
def test_a_head_without_store_and_extra_is_refused(tmp_path, head):
    write_partials(tmp_path, _store(), EXTRA)
    (tmp_path / "partials.json").write_text(json.dumps(head))

    with pytest.raises(ValueError, match="cannot be used"):
        read_partials(tmp_path)


def test_numbers_of_another_type_are_refused(tmp_path):
    write_partials(tmp_path, _store(), EXTRA)
    wide = {name: np.zeros(5, dtype=np.int64) for name in ("prompts", "tokens", "logps")}
    save_file(wide, tmp_path / "partials.safetensors")

    with pytest.raises(ValueError, match="as int64"):
        read_partials(tmp_path)


@pytest.mark.parametrize("extra", [{"x": float("nan")}, {"x": object()}])
def test_what_is_no_json_is_refused_before_anything_is_written(tmp_path, extra):
    with pytest.raises((TypeError, ValueError)):
        write_partials(tmp_path, _store(), extra)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_os_error_and_leaves_what_was_there(tmp_path, monkeypatch):
    write_partials(tmp_path, _store(), EXTRA)
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="no space"):
        write_partials(tmp_path, EMPTY, {})
    monkeypatch.undo()

    assert read_partials(tmp_path) == (_store(), EXTRA)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_fails_under_the_library_is_an_os_error_too(tmp_path):
    (tmp_path / ".partials.safetensors.part").mkdir()
    with pytest.raises(OSError, match=r"partials\.safetensors"):
        write_partials(tmp_path, EMPTY, {})


def test_arrays_keep_the_types_that_the_store_wants():
    assert {partials_io.DTYPES[array(code).typecode] for code in "if"} == {"int32", "float32"}


def _full(descriptor: int) -> None:
    raise OSError("no space")
