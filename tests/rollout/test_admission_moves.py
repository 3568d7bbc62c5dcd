"""The gate's tables, walked whole: every legal move has its call, every other one is refused."""

import pickle
from collections.abc import Callable
from itertools import product

import pytest

from copris_core.rollout.admission import GATE_MOVES, PLACE_MOVES, AdmissionGate, Gate, Place
from copris_core.rollout.concurrency import FixedLimit
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.states import IllegalMoveError, check_move

A0 = ResponseKey("a", 0)
LEGAL_PLACES = {
    (Place.DRAWN, Place.WAITING),
    (Place.WAITING, Place.RUNNING),
    (Place.RUNNING, Place.PAUSED),
    (Place.RUNNING, Place.IDLE),
    (Place.PAUSED, Place.WAITING),
    (Place.IDLE, Place.WAITING),
}
LEGAL_GATES = {
    (Gate.CLOSED, Gate.OPEN),
    (Gate.OPEN, Gate.CLOSING),
    (Gate.CLOSING, Gate.CLOSED),
}
ILLEGAL_PLACES = sorted(set(product(Place, Place)) - LEGAL_PLACES, key=str)
ILLEGAL_GATES = sorted(set(product(Gate, Gate)) - LEGAL_GATES, key=str)


def _in_place(place: Place) -> AdmissionGate:
    """A gate whose response a0 is in ``place``."""
    gate = AdmissionGate(limit=FixedLimit(limit=2), groups_per_stage=9, group_size=1)
    gate.draw("a", 1)
    gate.open(0)
    if place is not Place.DRAWN:
        gate.ask(A0)
    if place not in (Place.DRAWN, Place.WAITING):
        gate.admit()
    if place in (Place.PAUSED, Place.IDLE):
        gate.settle(A0, interrupted=place is Place.PAUSED)
    return gate


def _in_state(state: Gate) -> AdmissionGate:
    gate = _in_place(Place.RUNNING)
    if state is not Gate.OPEN:
        gate.close()
    if state is Gate.CLOSED:
        gate.settle(A0, interrupted=True)
    assert gate.state is state
    return gate


PLACE_CALLS: dict[Place, Callable[[AdmissionGate], None]] = {
    Place.WAITING: lambda gate: gate.ask(A0),
    Place.PAUSED: lambda gate: gate.settle(A0, interrupted=True),
    Place.IDLE: lambda gate: gate.settle(A0, interrupted=False),
}
GATE_CALLS: dict[Gate, Callable[[AdmissionGate], None]] = {
    Gate.OPEN: lambda gate: gate.open(1),
    Gate.CLOSING: AdmissionGate.close,
}


def _refuses(
    gate: AdmissionGate, call: Callable[[AdmissionGate], object], error: type[Exception]
) -> None:
    """``call`` raises and leaves every bit of the gate as it was, private parts included."""
    before = pickle.dumps(gate)
    with pytest.raises(error):
        call(gate)
    assert pickle.dumps(gate) == before


def test_the_tables_list_these_moves_and_no_other() -> None:
    assert {(now, to) for now, tos in PLACE_MOVES.items() for to in tos} == LEGAL_PLACES
    assert {(now, to) for now, tos in GATE_MOVES.items() for to in tos} == LEGAL_GATES


@pytest.mark.parametrize(
    ("now", "to"), sorted(LEGAL_PLACES - {(Place.WAITING, Place.RUNNING)}, key=str)
)
def test_every_legal_report_on_a_response_is_accepted(now: Place, to: Place) -> None:
    gate = _in_place(now)
    PLACE_CALLS[to](gate)
    assert gate._groups.find(A0)[1].place is to


@pytest.mark.parametrize("now", list(Gate))
def test_the_gate_goes_round_closed_open_closing(now: Gate) -> None:
    gate = _in_state(now)
    if now is Gate.CLOSING:
        gate.settle(A0, interrupted=False)
        assert gate.state is Gate.CLOSED
    else:
        GATE_CALLS[Gate.OPEN if now is Gate.CLOSED else Gate.CLOSING](gate)
        assert gate.state is (Gate.OPEN if now is Gate.CLOSED else Gate.CLOSING)


@pytest.mark.parametrize(("now", "to"), ILLEGAL_PLACES)
def test_every_illegal_place_is_refused_by_name(now: Place, to: Place) -> None:
    with pytest.raises(IllegalMoveError, match=f"^me: illegal move {now.name} -> {to.name}$"):
        check_move(PLACE_MOVES, now, to, "me")


@pytest.mark.parametrize(("now", "to"), ILLEGAL_GATES)
def test_every_illegal_gate_state_is_refused_by_name(now: Gate, to: Gate) -> None:
    with pytest.raises(IllegalMoveError, match=f"^me: illegal move {now.name} -> {to.name}$"):
        check_move(GATE_MOVES, now, to, "me")


@pytest.mark.parametrize(("now", "to"), [pair for pair in ILLEGAL_PLACES if pair[1] in PLACE_CALLS])
def test_every_illegal_report_on_a_response_raises_and_changes_nothing(
    now: Place, to: Place
) -> None:
    _refuses(_in_place(now), PLACE_CALLS[to], IllegalMoveError)


@pytest.mark.parametrize("now", [place for place in Place if place is not Place.WAITING])
def test_only_a_waiting_response_is_admitted(now: Place) -> None:
    gate = _in_place(now)
    before = pickle.dumps(gate)
    assert gate.admit() == []
    assert pickle.dumps(gate) == before


@pytest.mark.parametrize(("now", "to"), [pair for pair in ILLEGAL_GATES if pair[1] in GATE_CALLS])
def test_every_illegal_command_to_the_gate_raises_and_changes_nothing(now: Gate, to: Gate) -> None:
    _refuses(_in_state(now), GATE_CALLS[to], IllegalMoveError)


@pytest.mark.parametrize("place", [Place.WAITING, Place.RUNNING])
@pytest.mark.parametrize("failed", [False, True])
def test_a_group_is_not_complete_while_a_member_waits_or_runs(place: Place, failed: bool) -> None:
    _refuses(_in_place(place), lambda gate: gate.complete("a", failed=failed), IllegalMoveError)


def test_a_prompt_is_drawn_once_while_it_grows_and_while_it_lies_ready() -> None:
    gate = _in_place(Place.IDLE)
    _refuses(gate, lambda gate: gate.draw("a", 1), ValueError)
    gate.complete("a", failed=False)
    _refuses(gate, lambda gate: gate.draw("a", 1), ValueError)


@pytest.mark.parametrize(
    "call",
    [
        lambda gate: gate.ask(ResponseKey("x", 0)),
        lambda gate: gate.settle(ResponseKey("x", 0), interrupted=True),
        lambda gate: gate.complete("x", failed=False),
    ],
)
def test_a_prompt_that_was_never_drawn_is_unknown(call: Callable[[AdmissionGate], None]) -> None:
    _refuses(_in_place(Place.RUNNING), call, KeyError)


def test_more_groups_than_are_ready_cannot_be_taken() -> None:
    gate = _in_place(Place.IDLE)
    gate.complete("a", failed=False)
    _refuses(gate, lambda gate: gate.take(2), ValueError)
