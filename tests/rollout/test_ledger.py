"""The ledger grows by whole lines, survives a kill in the middle of one, and counts on."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from copris_core.rollout import ledger as ledger_module
from copris_core.rollout.events import NEEDED, Event, Fact, LedgerEvent, check_fact
from copris_core.rollout.ledger import Ledger, SavedLedger

DRAWN = Fact(Event.DRAWN, 3, "a", row=17, size=2)
STARTED = Fact(Event.STARTED, 3, "a", 1)
RESUMED = Fact(Event.RESUMED, 4, "a", 1, 12)
FULL = Fact(
    event=Event.RESUMED_RUN,
    version=1,
    uid="a",
    index=2,
    tokens=3,
    row=4,
    size=5,
    step=6,
    reason="seven",
    from_seq=0,
    live=("a", "b"),
)


def _path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "ledger.jsonl"


def _seqs(path: Path) -> list[int]:
    return [event.seq for event in SavedLedger(path)]


def test_a_line_says_what_happened_and_leaves_out_what_says_nothing(tmp_path):
    Ledger(_path(tmp_path)).append([RESUMED])

    assert json.loads(_path(tmp_path).read_text()) == {
        "seq": 0,
        "event": "resumed",
        "version": 4,
        "uid": "a",
        "index": 1,
        "tokens": 12,
    }


@pytest.mark.parametrize("fact", [DRAWN, STARTED, RESUMED, FULL])
def test_a_fact_comes_back_as_it_was_written(tmp_path, fact):
    Ledger(_path(tmp_path)).append([fact])

    assert list(SavedLedger(_path(tmp_path))) == [LedgerEvent(seq=0, fact=fact)]


def test_lines_are_numbered_over_calls_and_over_processes(tmp_path):
    first = Ledger(_path(tmp_path))
    first.append([DRAWN, STARTED])
    first.append([])
    first.append([RESUMED])
    assert first.position == 3
    second = Ledger(_path(tmp_path))
    assert second.position == 3
    second.append([RESUMED])

    assert _seqs(_path(tmp_path)) == [0, 1, 2, 3]


def test_a_saved_ledger_can_be_read_again(tmp_path):
    Ledger(_path(tmp_path)).append([DRAWN, STARTED])
    saved = SavedLedger(_path(tmp_path))

    assert list(saved) == list(saved)
    assert len(list(saved)) == 2


@pytest.mark.parametrize("keep", range(1, 12))
def test_a_line_torn_by_a_kill_is_left_out_and_cut_off(tmp_path, keep):
    path = _path(tmp_path)
    Ledger(path).append([DRAWN, STARTED])
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\n") + keep])
    assert _seqs(path) == [0]

    Ledger(path).append([RESUMED])

    assert [event.fact for event in SavedLedger(path)] == [DRAWN, RESUMED]
    assert _seqs(path) == [0, 1]


def test_a_whole_line_without_its_newline_counts_as_torn_for_reader_and_writer_alike(tmp_path):
    path = _path(tmp_path)
    Ledger(path).append([DRAWN, STARTED])
    path.write_bytes(path.read_bytes()[:-1])

    assert _seqs(path) == [0]
    assert Ledger(path).position == 1


def test_the_last_line_is_found_however_long_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "TAIL_BYTES", 4)
    live = tuple(f"uid-{i}" for i in range(100))
    Ledger(_path(tmp_path)).append(
        [DRAWN, Fact(Event.CHECKPOINT, 1, step=1, live=live), STARTED, STARTED]
    )
    path = _path(tmp_path)
    path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:2]) + b"\n")

    assert Ledger(path).position == 2


def test_a_restart_notes_where_it_went_back_to(tmp_path):
    ledger = Ledger(_path(tmp_path))
    ledger.append([DRAWN, STARTED, RESUMED])
    ledger.resume(1, version=2, live=("a",))

    *_, last = SavedLedger(_path(tmp_path))
    assert last.seq == 3
    assert last.fact == Fact(Event.RESUMED_RUN, 2, from_seq=1, live=("a",))


@pytest.mark.parametrize("from_seq", [-1, 2])
def test_a_restart_from_lines_that_are_not_there_is_refused(tmp_path, from_seq):
    ledger = Ledger(_path(tmp_path))
    ledger.append([DRAWN])

    with pytest.raises(ValueError, match="resume in the run folder that wrote the checkpoint"):
        ledger.resume(from_seq, version=0)
    assert _seqs(_path(tmp_path)) == [0]


@pytest.mark.parametrize("event", [event for event in Event if NEEDED[event]])
def test_a_fact_that_says_too_little_is_refused_and_nothing_is_written(tmp_path, event):
    ledger = Ledger(_path(tmp_path))

    with pytest.raises(ValueError, match=f"event {event.value} lacks {NEEDED[event][0]}"):
        ledger.append([DRAWN, Fact(event, 1)])
    assert _path(tmp_path).read_bytes() == b""
    assert ledger.position == 0


def test_every_event_has_its_needed_fields_named():
    assert set(NEEDED) == set(Event)
    check_fact(Fact(Event.ENDED, 0))


def test_a_full_disk_leaves_whole_lines_only_and_the_next_call_goes_on(tmp_path):
    ledger = Ledger(_path(tmp_path))
    ledger.append([DRAWN])
    before = _path(tmp_path).read_bytes()
    with _disk_full_at(len(before) + 100), pytest.raises(OSError, match="File too large"):
        ledger.append([STARTED, RESUMED])  # 69 and 84 bytes: the second is torn
    assert _path(tmp_path).read_bytes() == before
    assert ledger.position == 1

    ledger.append([RESUMED])

    assert [event.fact for event in SavedLedger(_path(tmp_path))] == [DRAWN, RESUMED]


@contextmanager
def _disk_full_at(num_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_synced_ledger_is_flushed_to_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    Ledger(_path(tmp_path)).sync()

    assert len(synced) == 1


GOOD = '{"seq": 0, "event": "drawn", "version": 0, "uid": "a"}\n'


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "Expecting value"),
        ("[1]", "no JSON object"),
        ('{"seq": 1, "event": "drawn", "uid": "a"}', "'version' is None"),
        ('{"seq": 1, "event": "eaten", "version": 0}', "unknown event eaten"),
        ('{"seq": 1, "event": "drawn", "version": 0}', "event drawn lacks uid"),
        ('{"seq": "1", "event": "drawn", "version": 0, "uid": "a"}', "'seq' is '1', not int"),
        ('{"seq": 1, "event": "drawn", "version": 0, "uid": 5}', "'uid' is 5, not str"),
        ('{"seq": 1, "event": "ended", "version": 0, "live": [1]}', "'live' holds 1, not str"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, why):
    path = tmp_path / "ledger.jsonl"
    path.write_text(GOOD + line + "\n")

    with pytest.raises(ValueError, match="line 2 is no ledger line") as caught:
        list(SavedLedger(path))
    assert why in str(caught.value)
    with pytest.raises(ValueError, match="last line is no ledger line"):
        Ledger(path)


def test_numbers_that_do_not_rise_are_named(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text(GOOD + GOOD)

    with pytest.raises(ValueError, match="line 2: 0 follows 0"):
        list(SavedLedger(path))


def test_fields_of_a_later_version_are_left_alone(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text(GOOD.replace("}", ', "colour": "red"}'))

    assert [event.fact for event in SavedLedger(path)] == [Fact(Event.DRAWN, 0, "a")]


def test_a_missing_ledger_is_an_error_that_says_what_to_give(tmp_path):
    with pytest.raises(ValueError, match="give the folder of a run that has started"):
        list(SavedLedger(tmp_path / "ledger.jsonl"))
