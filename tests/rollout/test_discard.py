"""A complete group that nothing can be learnt from leaves the gate, and another takes its place."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copris_core.rollout.admission import AdmissionGate, Gate
from copris_core.rollout.concurrency import FixedLimit
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.states import IllegalMoveError
from copris_core.rollout.supply import OnDemand, Oversample, Supply
from tests.rollout.house import House


def _gate(*, groups: int, limit: int = 2, supply: Supply | None = None) -> AdmissionGate:
    gate = AdmissionGate(
        limit=FixedLimit(limit=limit), groups_per_stage=groups, group_size=1, supply=supply
    )
    gate.open(0)
    return gate


def _sampled(gate: AdmissionGate, uid: str) -> None:
    gate.draw(uid, 1)
    gate.ask(ResponseKey(uid, 0))
    gate.admit()
    gate.settle(ResponseKey(uid, 0), interrupted=False)


def test_a_discarded_group_does_not_count_for_the_stage() -> None:
    gate = _gate(groups=1)
    _sampled(gate, "a")
    gate.discard("a")
    assert (gate.state, gate.num_ready, gate.stage_is_over) == (Gate.OPEN, 0, False)
    _sampled(gate, "b")
    gate.complete("b", failed=False)
    assert gate.take(1) == ["b"]


def test_a_discarded_group_is_replaced_by_another_prompt() -> None:
    gate = _gate(groups=2, supply=Oversample(groups=3), limit=3)
    gate.draw("c", 1)
    _sampled(gate, "a")
    assert gate.prompts_wanted() == 1
    _sampled(gate, "b")
    assert gate.prompts_wanted() == 0  # enough is sampled
    gate.discard("a")
    gate.discard("b")
    assert gate.prompts_wanted() == 2


def test_a_discarded_group_is_not_told_as_failed() -> None:
    gate = _gate(groups=1)
    _sampled(gate, "a")
    gate.discard("a")
    assert gate.take_failed() == []


def test_nothing_that_is_not_done_can_be_discarded() -> None:
    gate = _gate(groups=1)
    gate.draw("a", 1)
    gate.ask(ResponseKey("a", 0))
    gate.admit()
    with pytest.raises(IllegalMoveError, match="while a member is not done"):
        gate.discard("a")
    gate.settle(ResponseKey("a", 0), interrupted=False)
    gate.discard("a")
    with pytest.raises(KeyError):
        gate.discard("a")


class FilteringHouse(House):
    """Discards every group whose number is in ``useless``."""

    useless: frozenset[int] = frozenset()

    def _complete(self, uid: str) -> None:
        keys = [ResponseKey(uid, index) for index in range(self.group_size)]
        if not all(len(self.versions.get(key, [])) == self._length(key) for key in keys):
            return
        if int(uid[1:]) in self.useless:
            self.gate.discard(uid)
        else:
            self.gate.complete(uid, failed=False)


@settings(max_examples=60, deadline=None)
@given(
    useless=st.frozensets(st.integers(0, 60), max_size=40),
    limit=st.integers(1, 12),
    seed=st.integers(0, 5),
    max_lag=st.none() | st.integers(0, 2),
)
def test_every_stage_still_trains_b_groups_and_never_a_discarded_one(
    useless: frozenset[int], limit: int, seed: int, max_lag: int | None
) -> None:
    house = FilteringHouse(
        limit=limit,
        groups_per_stage=2,
        group_size=2,
        seed=seed,
        max_lag=max_lag,
        supply=OnDemand(),
    )
    house.useless = useless
    trained = [uid for _ in range(5) for uid in house.stage()]
    assert len(trained) == len(set(trained)) == 10
    assert useless.isdisjoint(int(uid[1:]) for uid in trained)
    assert house.most_in_flight <= limit
    if max_lag is not None:
        stages = enumerate(trained)
        assert all(i // 2 - house.oldest(uid) <= max_lag for i, uid in stages)
