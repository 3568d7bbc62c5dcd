"""Length schedules: pure functions of the step, checked where they change."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.controllers.length_schedule import (
    ConstantLength,
    CosineWindows,
    LengthSchedule,
    Steps,
    Windows,
)


def test_a_constant_budget_is_the_same_at_every_step() -> None:
    schedule = ConstantLength(tokens=512)
    assert {schedule.tokens_at(step) for step in (1, 2, 10**6)} == {512}
    assert (schedule.minimum, schedule.maximum) == (512, 512)


def test_a_step_takes_the_last_entry_that_has_begun() -> None:
    schedule = Steps(steps=((1, 8192), (1500, 16384), (1600, 4096)))
    assert [schedule.tokens_at(step) for step in (1, 1499, 1500, 1599, 1600, 9999)] == [
        8192,
        8192,
        16384,
        16384,
        4096,
        4096,
    ]
    assert (schedule.minimum, schedule.maximum) == (4096, 16384)


# The window's t-th step of T = 4 has (1 + cos(pi t / 4)) / 2 = .8536, .5, .1464, 0 of 100..300.
def test_a_window_falls_by_half_a_cosine_and_ends_at_the_minimum() -> None:
    schedule = CosineWindows(maximum=300, minimum=100, on_steps=4, off_steps=2, first_step=3)
    budgets = [schedule.tokens_at(step) for step in range(1, 16)]
    window = [271, 200, 129, 100]
    assert budgets == [300, 300, *window, 300, 300, *window, 300, 300, 271]


def test_windows_are_a_hundred_steps_on_and_five_hundred_off_as_in_prorl_v2() -> None:
    windows = Windows()
    assert [windows.position_at(step) for step in (1, 100, 101, 600, 601, 700, 701)] == [
        1,
        100,
        None,
        None,
        1,
        100,
        None,
    ]
    assert Windows(off_steps=0, on_steps=2).position_at(4) == 2


@given(
    bounds=st.tuples(st.integers(1, 40_000), st.integers(1, 40_000)),
    on=st.integers(1, 200),
    off=st.integers(0, 200),
    first=st.integers(1, 300),
    step=st.integers(1, 2000),
)
def test_cosine_budgets_stay_within_their_bounds_and_never_rise_within_a_window(
    bounds: tuple[int, int], on: int, off: int, first: int, step: int
) -> None:
    schedule = CosineWindows(
        minimum=min(bounds), maximum=max(bounds), on_steps=on, off_steps=off, first_step=first
    )
    budget = schedule.tokens_at(step)
    assert schedule.minimum <= budget <= schedule.maximum
    position = schedule.position_at(step)
    if position is None:
        assert budget == schedule.maximum
    elif position > 1:
        assert budget <= schedule.tokens_at(step - 1)
    if position == on:
        assert budget == schedule.minimum


@pytest.mark.parametrize(
    "schedule",
    [
        ConstantLength(tokens=8),
        Steps(steps=[(1, 8)]),
        CosineWindows(maximum=8, minimum=4),
        CosineWindows(maximum=8, minimum=4, first_step=50),
    ],
)
def test_steps_count_from_one(schedule: LengthSchedule) -> None:
    with pytest.raises(ValueError, match="steps count from 1"):
        schedule.tokens_at(0)


@pytest.mark.parametrize("steps", [(), ((2, 8),), ((1, 8), (1, 9)), ((1, 8), (5, 9), (3, 9))])
def test_a_table_that_leaves_a_step_in_doubt_is_refused(steps: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="must begin at 1 and ascend"):
        Steps(steps=steps)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"length_schedule\.tokens: 0 tokens"):
        ConstantLength(tokens=0)
    with pytest.raises(ValueError, match=r"length_schedule\.steps: 0 tokens"):
        Steps(steps=((1, 8), (2, 0)))
    with pytest.raises(ValueError, match=r"length_schedule\.minimum: 0 tokens"):
        CosineWindows(maximum=8, minimum=0)


def test_windows_that_cannot_be_told_apart_are_refused() -> None:
    for wrong in ({"on_steps": 0}, {"off_steps": -1}, {"first_step": 0}):
        with pytest.raises(ValueError, match=r"length_schedule\.on_steps="):
            Windows(**wrong)
        with pytest.raises(ValueError, match=r"length_schedule\.on_steps="):
            CosineWindows(maximum=8, minimum=4, **wrong)
    with pytest.raises(ValueError, match="swap them"):
        CosineWindows(maximum=4, minimum=8)


def test_half_of_a_window_is_half_of_the_way() -> None:
    schedule = CosineWindows(maximum=16384, minimum=8192)
    assert schedule.tokens_at(50) == 12288
    assert schedule.tokens_at(25) == round(8192 + 4096 * (1 + math.sqrt(0.5)))
