"""Who samples next in an evaluation: at most N' at once, each once, one group after the other."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.rollout.order import ResponseKey
from copris_core.rollout.states import IllegalMoveError
from copris_core.verl_adapter.eval_gate import EvalGate


def _play(missing: dict[str, list[int]], limit: int, rng: random.Random) -> list[ResponseKey]:
    """Run it to its end, responses finishing in any order; the order in which they started."""
    gate, running, started = EvalGate(missing, limit=limit), [], []
    while not gate.is_done:
        new = gate.next()
        started += new
        running += new
        assert gate.in_flight == len(running) <= limit
        left = sum(map(len, missing.values())) - len(started)
        assert len(running) == limit or not left, "a slot stands empty"
        gate.finish(running.pop(rng.randrange(len(running))))
    assert gate.in_flight == 0
    return started


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    limit=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_every_missing_sample_starts_once_and_no_slot_stands_empty(
    sizes: list[int], limit: int, seed: int
) -> None:
    missing = {f"t:{i}": list(range(3, 3 + size)) for i, size in enumerate(sizes)}
    started = _play(missing, limit, random.Random(seed))
    wanted = [ResponseKey(uid, index) for uid, indices in missing.items() for index in indices]
    assert sorted(started) == sorted(wanted)


def test_a_prompt_that_has_begun_is_finished_before_the_next_begins() -> None:
    missing = {f"t:{i}": [0, 1, 2, 3] for i in range(5)}
    started = _play(missing, 2, random.Random(0))
    assert started == [ResponseKey(f"t:{i}", k) for i in range(5) for k in range(4)]


def test_what_an_earlier_process_made_is_not_made_again() -> None:
    started = _play({"t:0": [2], "t:3": [0, 3]}, 8, random.Random(0))
    assert started == [ResponseKey("t:0", 2), ResponseKey("t:3", 0), ResponseKey("t:3", 3)]


def test_a_response_that_is_not_in_flight_cannot_finish() -> None:
    gate = EvalGate({"t:0": [0, 1]}, limit=1)
    (only,) = gate.next()
    with pytest.raises(IllegalMoveError):
        gate.finish(ResponseKey("t:0", 1))
    gate.finish(only)
    assert gate.next() == [ResponseKey("t:0", 1)]
