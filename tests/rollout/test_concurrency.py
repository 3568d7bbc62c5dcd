"""How many may run, and how many wait behind them."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.rollout.concurrency import FixedLimit, waiting_margin


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_admits_nobody_is_refused_with_the_mend(limit: int) -> None:
    with pytest.raises(ValueError, match=rf"got {limit}; set strategy\.concurrency"):
        FixedLimit(limit=limit)


def test_the_smallest_limit_is_one() -> None:
    assert FixedLimit(limit=1).limit == 1


def test_a_limit_cannot_be_changed_under_the_gate() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FixedLimit(limit=4).limit = 8  # type: ignore[misc]


@pytest.mark.parametrize(
    ("limit", "group_size", "margin"),
    [
        (16, 8, 32),  # four groups (4 * 8) beat a quarter of the pool (4)
        (128, 8, 32),  # both are 32
        (400, 8, 100),  # a quarter of the pool beats four groups (32)
        (23, 1, 5),  # 23 / 4 rounds down
        (1, 1, 4),  # a pool of one still keeps four groups waiting
    ],
)
def test_the_margin_is_four_groups_or_a_quarter_of_the_pool(
    limit: int, group_size: int, margin: int
) -> None:
    assert waiting_margin(limit, group_size) == margin


@given(limit=st.integers(1, 10_000), group_size=st.integers(1, 256))
def test_the_margin_covers_four_groups_and_a_quarter_and_no_more(
    limit: int, group_size: int
) -> None:
    margin = waiting_margin(limit, group_size)
    assert margin >= 4 * group_size
    assert 4 * margin > limit - 4  # a quarter, rounded down
    assert margin == 4 * group_size or 4 * margin <= limit
