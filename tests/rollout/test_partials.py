"""What is in flight comes back exactly as it was written down, or not at all."""

import copy
import json
import math
import re
import struct
import tracemalloc
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.rollout.gate_state import GateState, Place, SavedGroup, SavedMember, SavedReady
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.partials import PartialResponse, PartialStore
from copris_core.rollout.trajectory import Segment, Status, Trajectory

VERSION = 7


def _segment(tokens, version):
    return Segment.sampled(tokens, [-token / 7 for token in tokens], version)


def _call(*segments, status=Status.PAUSED, max_tokens=20, stop_reason=""):
    return Trajectory(
        prompt=(3, 1, 4),
        max_tokens=max_tokens,
        segments=list(segments),
        status=status,
        stop_reason=stop_reason,
    )


def _response(uid, index, *calls):
    return PartialResponse(key=ResponseKey(uid, index), calls=calls)


def _gate():
    """One group of three (done, paused, never started) and a complete one of two."""
    members = (
        SavedMember(place=Place.IDLE, oldest_version=4),
        SavedMember(place=Place.PAUSED, oldest_version=5),
        SavedMember(place=Place.DRAWN, oldest_version=None),
    )
    growing = SavedGroup(uid="growing", draw_order=1, members=members)
    ready = SavedReady(uid="ready", draw_order=0, oldest_version=3)
    return GateState(next_order=2, growing=(growing,), ready=(ready,))


def _responses():
    done = _call(_segment([5, 6], 4), status=Status.FINISHED, stop_reason="completed")
    return (
        _response("growing", 0, done),
        _response("growing", 1, done, _call(_segment([8], 5), _segment([9, 10, 11], 7))),
        _response("ready", 1, done),
    )


def _store(**changes):
    return PartialStore(
        **{"version": VERSION, "gate": _gate(), "responses": _responses()} | changes
    )


def test_a_store_comes_back_as_it_was_packed():
    store = _store()
    head, arrays = store.pack()

    assert PartialStore.unpack(json.loads(json.dumps(head)), arrays) == store


def test_packing_lays_the_pieces_one_behind_the_other():
    head, arrays = _store().pack()

    # three responses with 1 + 2 + 1 calls, each with the prompt 3 1 4
    assert arrays["prompts"] == array("i", [3, 1, 4] * 4)
    assert arrays["tokens"] == array("i", [5, 6, 5, 6, 8, 9, 10, 11, 5, 6])
    assert [call["segments"] for call in head["responses"][1]["calls"]] == [
        [[2, 4]],
        [[1, 5], [3, 7]],
    ]
    assert {name: each.itemsize for name, each in arrays.items()} == dict.fromkeys(arrays, 4)


def test_packing_leaves_the_store_alone():
    store = _store()
    before = copy.deepcopy(store)
    store.pack()

    assert store == before


@given(
    logps=st.lists(
        st.floats(width=32, allow_nan=False, max_value=0, allow_subnormal=True), min_size=1
    )
)
def test_every_float32_comes_back_bit_for_bit(logps):
    tokens = list(range(len(logps)))
    call = _call(Segment.sampled(tokens, logps, 5), max_tokens=len(logps) + 1)
    store = _store(responses=(_response("growing", 1, call),))

    (response,) = PartialStore.unpack(*store.pack()).responses

    assert response.calls[0].segments[0].logps.tobytes() == b"".join(
        struct.pack("=f", logp) for logp in logps
    )


def test_a_partial_goes_on_from_its_tokens_after_it_was_unpacked():
    read = PartialStore.unpack(*_store().pack())
    call = read.responses[1].calls[-1]

    assert call.start() == [3, 1, 4, 8, 9, 10, 11]
    assert call.remaining_tokens == 16
    call.absorb(_segment([12], 8), finished=True)
    assert call.versions() == [5, 7, 7, 7, 8]


def test_the_store_counts_its_tokens_and_names_its_prompts():
    assert _store().num_tokens == 10
    assert _store().uids == ("growing", "ready")


def test_what_was_never_admitted_is_left_out():
    waits = _response("growing", 2, _call(status=Status.WAITING))

    store = PartialStore.of(version=VERSION, gate=_gate(), responses=[*_responses(), waits])

    assert store == _store()


PAUSED = _call(_segment([8], 5))
DONE = _call(_segment([8], 5), status=Status.FINISHED)

REFUSED = {
    "is there twice": (*_responses(), _response("growing", 1, PAUSED)),
    "unknown to the gate": (*_responses(), _response("other", 0, DONE)),
    "response growing:3 is unknown": (*_responses(), _response("growing", 3, DONE)),
    "tokens of response growing:1 are missing": _responses()[:1],
    "has no call": (_response("growing", 1),),
    "still runs": (_response("growing", 1, _call(status=Status.RUNNING)),),
    "unfinished call before its last": (_response("growing", 1, PAUSED, PAUSED),),
    "PAUSED with 1 of 1 tokens": (_response("growing", 1, _call(_segment([8], 5), max_tokens=1)),),
    "FINISHED with 2 of 1 tokens": (
        _response("growing", 1, _call(_segment([8, 9], 5), max_tokens=1, status=Status.FINISHED)),
    ),
    "has tokens although it never ran": (
        _response("growing", 1, _call(_segment([8], 5), status=Status.WAITING)),
    ),
    "empty or lacks log-probs": (_response("growing", 1, _call(_segment([], 5))),),
    "versions [6, 5], which do not follow": (
        _response("growing", 1, _call(_segment([8], 6), _segment([9], 5))),
    ),
    "versions [-1], which": (_response("growing", 1, _call(_segment([8], -1))),),
    "tokens of version 8, the weights are 7": (_response("growing", 1, _call(_segment([8], 8))),),
    "FINISHED, the gate has it as PAUSED": (_response("growing", 1, DONE),),
    "PAUSED, the gate has it as DRAWN": (*_responses(), _response("growing", 2, PAUSED)),
    "PAUSED, the gate has it as complete": (*_responses(), _response("ready", 0, PAUSED)),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_store_that_could_not_be_resumed_is_not_built(why):
    with pytest.raises(ValueError, match=re.escape(why)):
        _store(responses=REFUSED[why])


def test_a_segment_whose_log_probs_are_short_is_not_built_into_a_store():
    short = Segment(tokens=array("i", [1, 2]), logps=array("f", [-1.0]), version=5)
    with pytest.raises(ValueError, match="lacks log-probs"):
        _store(responses=(_response("growing", 1, _call(short)),))


@pytest.mark.parametrize("status", [Status.PAUSED, Status.WAITING])
def test_a_response_that_left_the_engine_with_an_error_is_kept_with_its_unfinished_call(status):
    call = _call(*([_segment([5], 4)] if status is Status.PAUSED else []), status=status)
    store = _store(responses=(_response("growing", 0, call), *_responses()[1:]))

    assert PartialStore.unpack(*store.pack()) == store


def _spoiled(path, value):
    """A packed store with one JSON field replaced; `None` takes it out."""
    head, arrays = _store().pack()
    *parents, last = path
    inner = head
    for name in parents:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return head, arrays


CALL = ("responses", 1, "calls", 1)
MALFORMED = [
    (("format",), 2, "format 2, this program reads format 1"),
    (("format",), None, "field 'format' is None, not int"),
    (("version",), "7", "field 'version' is '7', not int"),
    (("version",), True, "field 'version' is True, not int"),
    (("num_tokens",), 9, "announce 9 tokens, 10 are there"),
    (("responses",), {}, "field 'responses' is {}, not list"),
    (("responses", 0), 5, "holds 5, not dict"),
    (("responses", 0, "uid"), 5, "field 'uid' is 5, not str"),
    ((*CALL, "status"), "ASLEEP", "unknown status ASLEEP"),
    ((*CALL, "max_tokens"), 3, "PAUSED with 4 of 3 tokens"),
    ((*CALL, "prompt"), 4, "12 prompts, more are announced"),
    ((*CALL, "prompt"), -1, "12 prompts, more are announced"),
    ((*CALL, "prompt"), 2, "12 prompts, 11 are announced"),
    ((*CALL, "segments"), [[1, 5]], "10 tokens, 7 are announced"),
    ((*CALL, "segments"), [[1, 5], [9, 7]], "10 tokens, more are announced"),
    ((*CALL, "segments"), [[1, 5], [3]], "a segment [3], not [length, version]"),
    ((*CALL, "segments"), [[1, 5], [3, 7.0]], "a segment [3, 7.0], not"),
    (("gate", "next_order"), 1, "a prompt that is not among its 1"),
    (("gate", "ready", 0, "uid"), "growing", "holds a prompt twice"),
    (("gate", "ready", 0, "draw_order"), 1, "holds a prompt twice"),
    (("gate", "growing", 0, "members", 0, "place"), "HERE", "unknown place HERE"),
    (("gate", "growing", 0, "members", 0, "place"), "RUNNING", "RUNNING cannot be written down"),
    (("gate", "growing", 0, "members", 0, "oldest_version"), None, "IDLE response of version None"),
    (("gate", "growing", 0, "members", 2, "oldest_version"), 1, "DRAWN response of version 1"),
]


@pytest.mark.parametrize(("path", "value", "why"), MALFORMED)
def test_a_malformed_object_is_refused_in_one_line(path, value, why):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        PartialStore.unpack(*_spoiled(path, value))
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"tokens": array("i"), "logps": array("f")}, "hold arrays"),
        ({"prompts": array("q"), "tokens": array("i"), "logps": array("f")}, "hold arrays"),
        ({"prompts": array("i"), "tokens": array("i"), "logps": array("f")}, "are announced"),
    ],
)
def test_arrays_of_another_type_or_length_are_refused(arrays, why):
    with pytest.raises(ValueError, match=why):
        PartialStore.unpack(_store().pack()[0], arrays)


def test_a_log_prob_that_is_not_a_number_is_refused():
    head, arrays = _store().pack()
    arrays["logps"][3] = math.nan
    with pytest.raises(ValueError, match="not a number"):
        PartialStore.unpack(head, arrays)


def test_a_token_that_the_engine_thought_impossible_is_kept():
    head, arrays = _store().pack()
    arrays["logps"][3] = -math.inf
    arrays["logps"][4] = -math.inf

    assert PartialStore.unpack(head, arrays).num_tokens == 10


def test_a_partial_costs_at_most_12_bytes_a_response_token_and_1_kib():
    num_responses, num_tokens = 200, 4000
    tokens, logps = list(range(1000, 1000 + num_tokens)), [-0.5] * num_tokens
    prompt = (1, 2, 3)
    tracemalloc.start()
    try:
        responses = [
            _response(
                "growing",
                index,
                Trajectory(
                    prompt=prompt,
                    max_tokens=2 * num_tokens,
                    segments=[Segment.sampled(tokens, logps, 5)],
                    status=Status.PAUSED,
                ),
            )
            for index in range(num_responses)
        ]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(responses) == num_responses
    assert size <= num_responses * (12 * num_tokens + 1024)
