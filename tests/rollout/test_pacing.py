"""Staleness bounded by waiting: nothing is dropped, and no token is trained too late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.rollout.admission import AdmissionGate, Gate
from copris_core.rollout.concurrency import FixedLimit
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.pacing import Pacing, Starts
from copris_core.rollout.states import IllegalMoveError
from tests.rollout.house import House


def _starts(*versions: int) -> Starts:
    starts = Starts()
    for version in versions:
        starts.add(version)
    return starts


def _may_step(pacing: Pacing, version: int, done: tuple[int, ...], undone: tuple[int, ...]) -> bool:
    return pacing.may_step(version, done=[_starts(*done)], undone=[_starts(*undone)])


def test_without_a_bound_b_groups_are_enough() -> None:
    pacing = Pacing(max_lag=None, groups_per_stage=2)
    assert not _may_step(pacing, 9, (9,), (0, 0, 0))
    assert _may_step(pacing, 9, (9, 9), (0, 0, 0))
    assert pacing.may_start_group(10**6)


def test_the_update_waits_for_a_group_whose_deadline_it_is() -> None:
    pacing = Pacing(max_lag=2, groups_per_stage=1)
    assert _may_step(pacing, 1, (1,), (0,))  # trained at 2 at the latest, and 2 comes next
    assert not _may_step(pacing, 2, (2,), (0,))  # 2 is now: version 3 would be too late
    assert _may_step(pacing, 2, (0,), (2,))


def test_a_complete_group_that_would_be_left_behind_too_long_stops_the_update_too() -> None:
    pacing = Pacing(max_lag=1, groups_per_stage=1)
    assert not _may_step(pacing, 1, (0, 0), ())  # one of two groups due now must miss it
    assert _may_step(pacing, 1, (0, 1), ())


def test_more_groups_than_later_updates_can_take_stop_the_update() -> None:
    pacing = Pacing(max_lag=1, groups_per_stage=2)
    assert _may_step(pacing, 0, (0, 0), (0, 0))  # two left for version 1, which trains two
    assert not _may_step(pacing, 0, (0, 0), (0, 0, 0))


def test_the_oldest_complete_groups_are_the_ones_that_the_update_takes() -> None:
    pacing = Pacing(max_lag=1, groups_per_stage=1)
    assert _may_step(pacing, 1, (1, 0), ())
    assert not _may_step(pacing, 1, (1, 0), (0,))


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match=r"staleness\.max_lag=-1 is negative"):
        Pacing(max_lag=-1, groups_per_stage=1)


def test_groups_that_are_counted_elsewhere_leave_no_trace() -> None:
    here, there = _starts(3, 3), _starts()
    here.move_to(there, 3)
    assert (len(here), len(there), here.counts, there.counts) == (1, 1, {3: 1}, {3: 1})
    here.remove(3)
    assert (len(here), here.counts) == (0, {})


@given(
    limit=st.integers(1, 24),
    groups=st.integers(1, 3),
    size=st.integers(1, 4),
    max_lag=st.integers(0, 3),
    seed=st.integers(0, 999),
)
def test_no_token_is_older_than_the_bound_and_no_group_is_left_out(
    limit: int, groups: int, size: int, max_lag: int, seed: int
) -> None:
    house = House(limit, groups, size, max_lag=max_lag, seed=seed)
    taken: list[str] = []
    for _ in range(6):
        batch = house.stage()
        trained_at = house.version - 1
        assert all(trained_at - house.oldest(uid) <= max_lag for uid in batch)
        taken += batch
    assert len(set(taken)) == 6 * groups
    assert house.most_in_flight <= limit


def test_without_the_bound_the_same_house_trains_older_tokens() -> None:
    def oldest_lag(max_lag: int | None) -> int:
        house = House(24, 2, 2, max_lag=max_lag, seed=3, longest=60)
        return max(
            house.version - 1 - house.oldest(uid) for _ in range(12) for uid in house.stage()
        )

    assert oldest_lag(None) > 1
    assert oldest_lag(1) == 1


def test_with_lag_zero_nothing_is_carried_over() -> None:
    house = House(24, 2, 2, max_lag=0)
    for _ in range(5):
        assert all(house.oldest(uid) == house.version - 1 for uid in house.stage())
        assert house.paused == []


# ---- dropping, for comparison ----


def _aged_gate() -> AdmissionGate:
    """Group a complete and b running since version 0, c begun under version 1, d un-started."""
    gate = AdmissionGate(limit=FixedLimit(limit=3), groups_per_stage=2, group_size=1)
    for uid in "abcd":
        gate.draw(uid, 1)
    gate.open(0)
    for uid in "ab":
        gate.ask(ResponseKey(uid, 0))
    gate.admit()
    gate.settle(ResponseKey("a", 0), interrupted=False)
    gate.complete("a", failed=False)
    gate.close()
    gate.settle(ResponseKey("b", 0), interrupted=True)
    gate.open(1)
    gate.ask(ResponseKey("c", 0))
    gate.ask(ResponseKey("b", 0))
    gate.admit()
    return gate


def _closed(gate: AdmissionGate) -> AdmissionGate:
    gate.close()
    for key in list(gate.running()):
        gate.settle(key, interrupted=True)
        gate.ask(key)
    return gate


def test_groups_with_older_tokens_are_given_up_and_the_others_stay() -> None:
    gate = _closed(_aged_gate())
    assert gate.drop_older_than(1) == (["a"], ["b"])
    assert (gate.num_ready, gate.num_live, gate.num_waiting) == (0, 2, 1)
    gate.open(2)
    assert gate.admit() == [ResponseKey("c", 0)]
    with pytest.raises(KeyError):
        gate.ask(ResponseKey("b", 0))


def test_nothing_is_dropped_while_the_gate_is_open() -> None:
    gate = _aged_gate()
    with pytest.raises(IllegalMoveError, match="nothing can be dropped"):
        gate.drop_older_than(1)
    assert (gate.state, gate.num_ready, gate.in_flight) == (Gate.OPEN, 1, 2)
