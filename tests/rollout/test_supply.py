"""What tells the rollout strategies apart: how much work a stage is given."""

import pytest

from copris_core.rollout.order import ResponseKey
from copris_core.rollout.supply import BatchBound, Oversample, oversampled_groups
from tests.rollout.house import House


def test_on_demand_keeps_the_pool_full_until_the_stage_ends() -> None:
    house = House(8, 3, 2)
    house.gate.open(0)
    while house.gate.state.name == "OPEN":
        house.tick()
        assert house.gate.in_flight + house.gate.num_ready * 2 >= 6
    assert house.most_in_flight == 8


def test_batch_bound_submits_a_pool_and_leaves_freed_slots_empty() -> None:
    house = House(8, 2, 2, supply=BatchBound(), longest=30)
    for _ in range(8):
        house.stage()
        assert house.admitted_in_stage == 8
    assert house.most_in_flight == 8


def test_batch_bound_resumes_what_it_holds_before_it_draws() -> None:
    house = House(8, 2, 2, supply=BatchBound(), longest=30)
    house.stage()
    held, drawn = len(house.paused), house.num_drawn
    assert held
    house.stage()
    assert house.num_drawn - drawn == -(-(8 - held) // 2)


def test_batch_bound_submits_again_when_a_pool_was_not_enough() -> None:
    house = House(2, 3, 2, supply=BatchBound())  # one group at a time, three are needed
    assert len(house.stage()) == 3
    assert house.admitted_in_stage == 6


def test_oversampling_submits_more_groups_at_once_and_none_after() -> None:
    house = House(10, 2, 2, supply=Oversample(groups=5), longest=30)
    house.stage()
    assert (house.num_drawn, house.most_in_flight) == (5, 10)
    house.stage()
    assert house.num_drawn == 5 + 2  # three groups were carried over


def test_oversampling_replaces_a_group_that_failed() -> None:
    house = House(4, 1, 1, supply=Oversample(groups=3))
    house.gate.open(0)
    house._draw()
    house.gate.admit()
    house.gate.settle(ResponseKey("p0001", 0), interrupted=False)
    assert house.gate.prompts_wanted() == 0
    house.gate.complete("p0001", failed=True)
    assert house.gate.prompts_wanted() == 1


@pytest.mark.parametrize(("groups", "factor", "asked"), [(4, 1.5, 6), (3, 1.1, 4), (10, 1.1, 11)])
def test_a_factor_is_rounded_up_to_whole_groups(groups: int, factor: float, asked: int) -> None:
    assert oversampled_groups(groups, factor) == asked


@pytest.mark.parametrize("factor", [1.0, 0.5, -2.0])
def test_a_factor_that_samples_no_more_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match=r"strategy\.oversample_factor=.* samples no more"):
        oversampled_groups(4, factor)
