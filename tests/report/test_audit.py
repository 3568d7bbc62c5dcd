"""Each way to lose work or to do it twice is found in a ledger that shows it; nothing else is."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from copris_core.report.audit import Audit, Repeated, audit
from copris_core.report.audit_view import print_audit
from copris_core.report.timeline import Span, live_spans, told_apart
from copris_core.rollout.events import Event, Fact, LedgerEvent


def _ledger(*facts):
    return [LedgerEvent(seq=seq, fact=fact) for seq, fact in enumerate(facts)]


def _drawn(uid, *, row=None, size=2):
    return Fact(Event.DRAWN, 0, uid, row=row, size=size)


def _started(uid, index):
    return Fact(Event.STARTED, 0, uid, index)


def _resumed(uid, index, tokens):
    return Fact(Event.RESUMED, 1, uid, index, tokens)


def _finished(uid, index, tokens=10):
    return Fact(Event.FINISHED, 1, uid, index, tokens)


def _trained(uid, index, step=1):
    return Fact(Event.TRAINED, 1, uid, index, step=step)


def _pruned(uid, index, step=1):
    return Fact(Event.PRUNED, 1, uid, index, step=step)


def _checkpoint(step, *live):
    return Fact(Event.CHECKPOINT, step, step=step, live=live)


def _back_to(from_seq, *live):
    return Fact(Event.RESUMED_RUN, 1, from_seq=from_seq, live=live)


ENDED = Fact(Event.ENDED, 9, live=())


def _sampled(uid, *lengths):
    """A group from its draw to its last finished response."""
    indices = range(len(lengths))
    return [
        _drawn(uid, size=len(lengths)),
        *(_started(uid, index) for index in indices),
        *(_finished(uid, index, length) for index, length in enumerate(lengths)),
    ]


def _whole(uid, *lengths, step=1):
    """A group from its draw to its training."""
    return [*_sampled(uid, *lengths), *(_trained(uid, i, step) for i in range(len(lengths)))]


def test_a_run_that_trained_all_it_drew_is_clean():
    found = audit(_ledger(*_whole("a", 10, 20), *_whole("b", 30, 40), _checkpoint(1), ENDED))

    assert found.ok
    assert found.groups["drawn"] == found.groups["trained"] == 2
    assert found.groups["live"] == 0
    assert found.responses == {
        "started": 4,
        "resumed": 0,
        "finished": 4,
        "trained": 4,
        "pruned": 0,
        "filtered": 0,
        "dropped": 0,
        "failed": 0,
    }
    assert (found.restarts, found.continued_tokens) == (0, 0)


def test_what_the_checkpoint_holds_is_live_and_not_lost():
    found = audit(_ledger(*_whole("a", 1, 1), _drawn("b"), _started("b", 0), _checkpoint(1, "b")))

    assert found.ok
    assert (found.groups["live"], found.groups["trained"]) == (1, 1)


def test_what_was_drawn_after_the_last_checkpoint_is_live_when_the_ledger_just_stops():
    found = audit(_ledger(*_whole("a", 1, 1), _checkpoint(1), _drawn("b"), _started("b", 0)))

    assert found.ok
    assert found.groups["live"] == 1


LOST = {
    "a group that the checkpoint does not hold": (
        [_drawn("a"), _drawn("b"), _checkpoint(4, "b"), _checkpoint(5, "b")],
        {"a": "live, but not held by checkpoint of step 4"},
    ),
    "a group that the restart does not hold": (
        [_drawn("a"), _checkpoint(1, "a"), _back_to(2)],
        {"a": "live, but not held by resumed_run"},
    ),
    "a group that the end does not hold": (
        [_drawn("a"), ENDED],
        {"a": "live, but not held by ended"},
    ),
    "a group that failed": (
        [_drawn("a"), Fact(Event.FAILED, 0, "a", reason="no reward"), ENDED],
        {"a": "failed: no reward"},
    ),
    "a finished response that its group's update left out": (
        [*_sampled("a", 5, 6), _trained("a", 0)],
        {"a:1": "finished, but left out when its group was trained"},
    ),
    "a started response that its group's update left out": (
        [_drawn("a"), _started("a", 0), _finished("a", 0), _started("a", 1), _trained("a", 0)],
        {"a:1": "started, but left out when its group was trained"},
    ),
    "a response that never began while its group was pruned": (
        [_drawn("a"), _started("a", 0), _finished("a", 0), _pruned("a", 0)],
        {"a:1": "drawn, but left out when its group was trained"},
    ),
    "a response resumed with fewer tokens than it had": (
        [_drawn("a"), _started("a", 0), _resumed("a", 0, 7), _resumed("a", 0, 6)],
        {"a:0": "resumed with 6 tokens after it had 7"},
    ),
    "a response finished with fewer tokens than it had": (
        [_drawn("a"), _started("a", 0), _resumed("a", 0, 7), _finished("a", 0, 6)],
        {"a:0": "finished with 6 tokens after it had 7"},
    ),
    "a response resumed that never started": (
        [_drawn("a"), _resumed("a", 0, 7)],
        {"a:0": "resumed when it was only drawn"},
    ),
    "a response trained that never finished": (
        [_drawn("a", size=1), _started("a", 0), _trained("a", 0)],
        {"a:0": "trained when it was only started"},
    ),
}

DUPLICATED = {
    "a group drawn twice": ([_drawn("a"), _drawn("a")], {"a": "drawn twice"}),
    "a group drawn again after it was trained": (
        [*_whole("a", 1, 2), _drawn("a")],
        {"a": "drawn twice"},
    ),
    "a response trained twice": (
        [*_whole("a", 1, 2), _trained("a", 1, step=2)],
        {"a:1": "trained after it was trained"},
    ),
    "a response trained after it was pruned": (
        [*_sampled("a", 1), _pruned("a", 0), _trained("a", 0)],
        {"a:0": "trained after it was pruned"},
    ),
    "a response finished twice": (
        [*_sampled("a", 1, 2), _finished("a", 0)],
        {"a:0": "finished after it was finished"},
    ),
    "a response started again from nothing": (
        [_drawn("a"), _started("a", 0), _started("a", 0)],
        {"a:0": "started after it was started"},
    ),
    "a response resumed after it was finished": (
        [*_sampled("a", 1, 2), _resumed("a", 0, 1)],
        {"a:0": "resumed after it was finished"},
    ),
    "a group trained after it was filtered": (
        [*_sampled("a", 1), Fact(Event.FILTERED, 0, "a"), _trained("a", 0)],
        {"a": "trained after it was filtered"},
    ),
    "a group dropped after it was trained": (
        [*_whole("a", 1), Fact(Event.DROPPED, 0, "a")],
        {"a": "dropped after it was trained"},
    ),
    "a trained group that the checkpoint still holds": (
        [*_whole("a", 1), _checkpoint(3, "a")],
        {"a": "held by checkpoint of step 3, but not live"},
    ),
    "a group that nobody drew": (
        [_drawn("a"), _started("b", 0)],
        {"b": "started but never drawn"},
    ),
    "a row drawn twice in one pass": (
        [_drawn("a", row=4), _drawn("b", row=4), _drawn("c", row=5)],
        {"row 4": "drawn 2 times in pass 1 over the data"},
    ),
}


@pytest.mark.parametrize("case", LOST)
def test_lost_work_is_found(case):
    facts, lost = LOST[case]
    found = audit(_ledger(*facts))

    assert found.lost == lost
    assert found.duplicated == {}
    assert not found.ok


@pytest.mark.parametrize("case", DUPLICATED)
def test_work_done_twice_is_found(case):
    facts, duplicated = DUPLICATED[case]
    found = audit(_ledger(*facts))

    assert found.duplicated == duplicated
    assert found.lost == {}
    assert not found.ok


def test_a_lost_group_is_not_live():
    found = audit(_ledger(_drawn("a"), _drawn("b"), _checkpoint(1, "b")))

    assert found.groups["live"] == 1


def test_pruned_responses_are_accounted_for():
    found = audit(
        _ledger(*_sampled("a", 5, 6, 7), _pruned("a", 0), _trained("a", 1), _pruned("a", 2))
    )

    assert found.ok
    assert found.groups["trained"] == 1
    assert (found.responses["trained"], found.responses["pruned"]) == (1, 2)


def test_a_group_pruned_whole_has_ended():
    found = audit(_ledger(*_sampled("a", 5, 6), _pruned("a", 0), _pruned("a", 1), ENDED))

    assert found.ok
    assert found.groups["pruned"] == 1


@pytest.mark.parametrize("event", [Event.FILTERED, Event.DROPPED])
def test_a_group_given_up_on_purpose_is_counted_and_not_lost(event):
    found = audit(_ledger(*_sampled("a", 5, 6), Fact(event, 1, "a"), ENDED))

    assert found.ok
    assert found.groups[event.value] == 1
    assert found.responses[event.value] == 2
    assert found.lengths[event.value].mean == 5.5


def test_a_group_whose_responses_were_dropped_one_by_one_has_ended():
    dropped = [Fact(Event.DROPPED, 1, "a", index, tokens) for index, tokens in ((0, 50), (1, 70))]
    found = audit(_ledger(_drawn("a"), _started("a", 0), _started("a", 1), *dropped, ENDED))

    assert found.ok
    assert found.groups["dropped"] == 1
    assert found.lengths["dropped"].mean == 60


def test_a_group_dropped_whole_may_still_tell_how_long_its_responses_were():
    facts = [Fact(Event.DROPPED, 1, "a"), Fact(Event.DROPPED, 1, "a", 0, 50)]
    found = audit(_ledger(_drawn("a"), _started("a", 0), *facts, ENDED))

    assert found.ok
    assert found.lengths["dropped"].mean == 50


def test_a_group_of_unknown_size_is_judged_by_the_responses_it_has_shown():
    known = [_drawn("a", size=None), _started("a", 0), _finished("a", 0), _trained("a", 0)]

    assert audit(_ledger(*known)).ok
    assert audit(_ledger(*known[:2], _started("a", 1), *known[2:])).lost.keys() == {"a:1"}


@pytest.mark.parametrize(
    ("rows", "num_rows", "wrong"),
    [
        ([0, 1, 2, 2, 0, 1, 1], None, {}),
        ([0, 1, 2, 2, 0, 1, 1], 3, {}),
        ([0, 1, 2], 100, {}),
        ([0, 1, 1, 2], 100, {"row 1"}),
        ([0, 1, 2, 0, 0, 1, 2], 3, {"row 0"}),
        ([0, 1, 0, 2, 1, 2], None, {"row 0", "row 2"}),
    ],
)
def test_each_row_is_drawn_once_in_each_pass(rows, num_rows, wrong):
    facts = [_drawn(f"{place}", row=row) for place, row in enumerate(rows)]

    assert audit(_ledger(*facts), num_rows=num_rows).duplicated.keys() == set(wrong)


# ---- restarts ----


def _killed_run():
    """Trains a, saves with b half done, trains b, dies, resumes from the save, trains b again."""
    return _ledger(
        *_whole("a", 10, 10),  # 0 to 6
        _drawn("b"),
        _started("b", 0),
        _started("b", 1),
        _resumed("b", 1, 4),  # 10
        _checkpoint(1, "b"),  # 11
        _resumed("b", 0, 5),  # 12: from here on undone
        _finished("b", 0, 30),
        _finished("b", 1, 40),
        _trained("b", 0, 2),
        _trained("b", 1, 2),
        _back_to(12, "b"),  # 17
        _resumed("b", 0, 5),
        _resumed("b", 1, 9),
        _resumed("b", 1, 12),
        _finished("b", 0, 31),
        _finished("b", 1, 41),
        _trained("b", 0, 2),
        _trained("b", 1, 2),
        ENDED,
    )


def test_what_a_restart_undid_does_not_count_and_is_told():
    found = audit(_killed_run())

    assert found.ok
    assert found.groups["trained"] == 2
    assert found.responses["trained"] == 4
    assert found.restarts == 1
    assert found.repeated == Repeated(lines=5, finished=2, tokens=70, trained=2)


def test_tokens_continued_are_summed_over_all_resumptions_and_over_each_restart():
    found = audit(_killed_run())

    assert found.continued_tokens == 4 + 5 + 9 + 12  # without the undone 5
    assert found.continued_over_restarts == (5 + 9,)  # the 12 were resumed once already


def test_without_the_note_of_the_restart_the_same_work_counts_twice():
    events = [event for event in _killed_run() if event.fact.event is not Event.RESUMED_RUN]

    assert audit(events).duplicated.keys() == {"b:0", "b:1"}


def test_a_restart_without_a_checkpoint_undoes_everything():
    found = audit(_ledger(*_whole("a", 1, 2), _back_to(0), *_whole("b", 3, 4), ENDED))

    assert found.ok
    assert found.groups["drawn"] == 1
    assert found.repeated.lines == 7


def test_a_run_that_died_right_after_its_restart_is_live_again():
    found = audit(_ledger(_drawn("a"), _checkpoint(1, "a"), _drawn("b"), _back_to(2, "a")))

    assert found.ok
    assert found.groups == audit(_ledger(_drawn("a"))).groups


@pytest.mark.parametrize(
    ("restarts", "counted"),
    [
        ({}, "0123456789"),
        ({5: 2}, "0156789"),
        ({5: 5}, "0123456789"),
        ({5: 2, 8: 7}, "0156 89".replace(" ", "")),
        ({5: 2, 8: 1}, "089"),
        # 8 picks a checkpoint (at 4) on the timeline that 5 had left: 2 and 3 count again
        ({5: 2, 8: 4}, "012389"),
        ({3: 0, 6: 0, 9: 0}, "9"),
    ],
)
def test_the_lines_that_count_are_those_on_the_way_to_the_last_state(restarts, counted):
    facts = [
        Fact(Event.RESUMED_RUN, 0, from_seq=restarts[seq]) if seq in restarts else _drawn(f"{seq}")
        for seq in range(10)
    ]
    events = _ledger(*facts)

    told = [event.seq for event, counts in told_apart(events, live_spans(events)) if counts]
    assert "".join(map(str, told)) == counted


def test_spans_are_in_order_and_the_last_one_is_open():
    events = _ledger(_drawn("a"), _drawn("b"), _back_to(1), _drawn("c"))

    assert live_spans(events) == [Span(start=0, stop=1), Span(start=2, stop=float("inf"))]


@given(st.data())
def test_lines_that_count_are_found_by_replaying_snapshots(data):
    """The oracle keeps, at every position, the list of lines that the state had been built from."""
    num_lines = data.draw(st.integers(1, 25))
    path, states, facts = [], [], []
    for seq in range(num_lines):
        states.append(path)
        if data.draw(st.integers(0, 3)) == 0:
            from_seq = data.draw(st.integers(0, seq))
            facts.append(Fact(Event.RESUMED_RUN, 0, from_seq=from_seq))
            path = [*states[from_seq], seq]
        else:
            facts.append(_drawn(f"{seq}"))
            path = [*path, seq]
    events = _ledger(*facts)

    told = [event.seq for event, counts in told_apart(events, live_spans(events)) if counts]
    assert told == path


# ---- lengths ----


def test_lengths_are_told_by_what_became_of_the_responses():
    found = audit(
        _ledger(
            *_whole("a", 10, 20),
            *_sampled("b", 30, 40),
            _drawn("c", size=1),
            _started("c", 0),
            _resumed("c", 0, 100),
        )
    )

    assert found.lengths["trained"].mean == 15
    assert found.lengths["finished"].mean == 25
    assert found.lengths["started"].mean == 40  # (10 + 20 + 30 + 40 + 100) / 5
    assert found.length_bias is not None
    assert found.length_bias.tokens == -10


def test_before_anything_is_trained_there_is_no_bias():
    assert audit(_ledger(*_sampled("a", 1, 2))).length_bias is None


def test_an_empty_ledger_is_refused():
    with pytest.raises(ValueError, match="has not drawn one yet"):
        audit([])


# ---- printing ----


def _printed(found: Audit) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    print_audit(found, console)
    return console.export_text()


def test_the_printed_audit_shows_counts_and_ends_with_the_verdict():
    text = _printed(audit(_killed_run()))

    assert "drawn 2, live 0, trained 2" in text
    assert "5 lines: 2 responses finished (70 tokens), 2 trained" in text
    assert "30; over restarts 14" in text
    assert text.rstrip().endswith("0 lost, 0 duplicated")
    assert max(map(len, text.splitlines())) <= 100


def test_the_printed_audit_names_findings_and_says_how_many_more_there_are():
    facts = [_drawn(f"{uid}") for uid in range(25)]
    text = _printed(audit(_ledger(*facts, ENDED)))

    assert "lost: 3: live, but not held by ended" in text
    assert text.count("live, but not held") == 20
    assert "lost: and 5 more" in text
    assert text.rstrip().endswith("25 lost, 0 duplicated")


@pytest.mark.parametrize("live_before", [True, False])
def test_findings_of_one_line_come_in_the_same_order_whatever_the_hashes(live_before):
    uids = [f"{uid:02}" for uid in range(40)]
    if live_before:
        found = audit(_ledger(*map(_drawn, uids), ENDED)).lost
    else:
        held = Fact(Event.CHECKPOINT, 1, step=3, live=tuple(uids))
        found = audit(_ledger(_drawn("other"), held)).duplicated
    assert list(found) == uids  # forty in a set come in order by chance once in 10**47


def test_the_audit_as_json_says_everything():
    said = json.loads(json.dumps(audit(_killed_run()).to_json()))

    assert said["ok"] is True
    assert said["continued_over_restarts"] == [14]
    assert said["repeated"]["tokens"] == 70
    assert said["lengths"]["trained"]["n"] == 4
