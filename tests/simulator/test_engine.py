"""The engine model: what a step costs, who ends when, and what the KV cache allows."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.rollout.order import ResponseKey
from copris_core.simulator.engine import EngineModel, Replica, Slot
from copris_core.simulator.fleet import Fleet

# A step takes 1 s and 0.5 s more for every response beyond 2; prefilling is free. Exact in binary.
PLAIN = EngineModel(
    step_s=1.0,
    response_s=0.5,
    flat_to=2,
    prefill_token_s=0.0,
    stop_s=0.0,
    kv_tokens=1000,
    max_running=8,
)


def _slot(name: str, *, remaining: int, prefix: int = 10) -> Slot:
    return Slot(key=ResponseKey(name, 0), prefix=prefix, remaining=remaining)


def _run_to_end(replica: Replica) -> list[tuple[str, float]]:
    ended = []
    while (now_s := replica.next_event_s) < math.inf:
        replica.advance(now_s)
        slot = replica.handle_event()
        if slot is not None:
            ended.append((slot.key.uid, now_s))
    return ended


@pytest.mark.parametrize(("running", "seconds"), [(1, 1.0), (2, 1.0), (3, 1.5), (6, 3.0)])
def test_a_step_is_flat_and_then_rises(running: int, seconds: float) -> None:
    assert PLAIN.decode_step_s(running) == seconds


def test_responses_end_when_their_tokens_are_sampled() -> None:
    replica = Replica(PLAIN)
    for name, remaining in (("long", 10), ("short", 4), ("middle", 6)):
        replica.add(_slot(name, remaining=remaining))
    # three run for 4 steps of 1.5 s, two for 2 of 1 s, one for 4 of 1 s
    assert _run_to_end(replica) == [("short", 6.0), ("middle", 8.0), ("long", 12.0)]
    assert replica.generated_tokens == 20


def test_prefilling_stalls_the_whole_replica() -> None:
    model = dataclasses.replace(PLAIN, prefill_token_s=0.25, request_s=1.0)
    replica = Replica(model)
    replica.add(_slot("first", remaining=4, prefix=8))  # 1 s + 8 x 0.25 s
    replica.advance(5.0)  # 3 s of prefill, 2 steps
    replica.add(_slot("second", remaining=4, prefix=4))  # 2 s
    assert _run_to_end(replica) == [("first", 9.0), ("second", 11.0)]
    assert replica.prefill_s == 5.0
    assert replica.prefilled_tokens == 12


def test_an_abort_returns_whole_tokens_and_drops_the_step_under_way() -> None:
    replica = Replica(PLAIN)
    replica.add(_slot("a", remaining=10))
    replica.advance(3.5)
    assert replica.abort_all() == [(ResponseKey("a", 0), 3)]
    assert (replica.num_running, replica.kv_use, replica.next_event_s) == (0, 0.0, math.inf)


def test_prefilling_that_an_abort_cut_short_is_not_counted() -> None:
    replica = Replica(dataclasses.replace(PLAIN, prefill_token_s=1.0))
    replica.add(_slot("a", remaining=10, prefix=10))
    replica.advance(4.0)
    replica.abort_all()
    assert replica.prefill_s == 4.0


def test_a_full_cache_throws_out_the_latest_who_comes_back_with_its_tokens() -> None:
    # 2 x (10 + 40) = 100 tokens fill the cache at step 40. The second keeps 40 of its 60 tokens,
    # waits until the first has its 60th at step 60, and then prefills 10 + 40.
    replica = Replica(dataclasses.replace(PLAIN, kv_tokens=100))
    replica.add(_slot("first", remaining=60))
    replica.add(_slot("second", remaining=60))
    assert _run_to_end(replica) == [("first", 60.0), ("second", 80.0)]
    assert replica.preemptions == 1
    assert replica.prefilled_tokens == 10 + 10 + 50
    assert replica.generated_tokens == 120


def test_one_response_alone_is_never_thrown_out() -> None:
    replica = Replica(dataclasses.replace(PLAIN, kv_tokens=20))
    replica.add(_slot("giant", remaining=100))
    assert _run_to_end(replica) == [("giant", 100.0)]
    assert replica.preemptions == 0


def test_the_batch_is_full_at_max_running() -> None:
    replica = Replica(dataclasses.replace(PLAIN, max_running=1))
    replica.add(_slot("first", remaining=3))
    replica.add(_slot("second", remaining=3))
    assert (replica.num_running, replica.num_waiting) == (1, 1)
    assert _run_to_end(replica) == [("first", 3.0), ("second", 6.0)]


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=20),
    kv_tokens=st.integers(50, 2000),
    stop_s=st.integers(1, 500),
)
def test_no_token_is_lost_or_made_up(lengths: list[int], kv_tokens: int, stop_s: int) -> None:
    replica = Replica(dataclasses.replace(PLAIN, kv_tokens=kv_tokens))
    for number, length in enumerate(lengths):
        replica.add(_slot(str(number), remaining=length))
    ended = 0
    while replica.next_event_s <= stop_s:
        replica.advance(replica.next_event_s)
        slot = replica.handle_event()
        assert slot is None or slot.kept + slot.remaining == lengths[int(slot.key.uid)]
        ended += 0 if slot is None else slot.kept + slot.remaining
        assert 0.0 <= replica.kv_use <= 1.0
        assert replica.num_running == 1 or replica.kv_use < 1.0 or replica.next_event_s < math.inf
    cut = replica.abort_all()
    assert all(0 <= tokens < lengths[int(key.uid)] for key, tokens in cut)
    assert replica.generated_tokens == ended + sum(tokens for _, tokens in cut)


def test_requests_go_to_the_replica_with_the_fewest() -> None:
    fleet = Fleet(dataclasses.replace(PLAIN, replicas=3, flat_to=100))
    fleet.submit([_slot(str(i), remaining=10 + i) for i in range(7)], 0.0)
    facts = fleet.facts(0.0)
    assert (facts.running, facts.waiting) == (7, 0)
    # replicas 0, 1, 2 hold {0, 3, 6}, {1, 4}, {2, 5}; two ends leave {3, 6}, {4}, {2, 5}
    assert [fleet.handle_event().key.uid for _ in range(2)] == ["0", "1"]  # type: ignore[union-attr]
    fleet.submit([_slot("new", remaining=9, prefix=900)], 12.0)
    # it went to the replica that holds 4 alone, for that one gained the next token with it: 4 ends
    # after 14 steps, at 14 s, and the fullest cache is its 10 + 12 tokens and the 900
    assert fleet.facts(12.0).kv_cache_use == (10 + 12 + 900) / 1000


@pytest.mark.parametrize(
    "wrong",
    [
        {"step_s": 0.0},
        {"response_s": -1.0},
        {"prefill_token_s": -1.0},
        {"kv_tokens": 0},
        {"max_running": 0},
        {"replicas": 0},
    ],
)
def test_an_engine_that_could_not_exist_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"takes time|needs a replica"):
        dataclasses.replace(PLAIN, **wrong)  # type: ignore[arg-type]


def test_a_step_that_reads_the_cache_gets_slower_as_the_cache_fills() -> None:
    # One response, prefix 10, 0.25 s a cached token: a step lasts 1 + 0.25 K. As K runs from 10 to
    # 14 over 4 steps, they last 4 x (1 + 0.25 x 12) = 16 s, wherever the clock stops on the way.
    model = dataclasses.replace(PLAIN, context_token_s=0.25)
    for stops in ((), (3.0, 3.5, 11.0)):
        replica = Replica(model)
        replica.add(_slot("a", remaining=4))
        for now_s in stops:
            replica.advance(now_s)
        ((name, end_s),) = _run_to_end(replica)
        assert (name, end_s) == ("a", pytest.approx(16.0, rel=1e-12))
    assert model.decode_step_s(3, kv_tokens=8) == 1.5 + 2.0


def test_who_comes_at_one_moment_is_taken_in_together() -> None:
    replica = Replica(dataclasses.replace(PLAIN, request_s=3.0))
    replica.add(_slot("first", remaining=4))
    replica.add(_slot("second", remaining=4))
    replica.advance(5.0)  # 3 s, and two steps
    replica.add(_slot("third", remaining=4))
    assert replica.prefill_s == 6.0
