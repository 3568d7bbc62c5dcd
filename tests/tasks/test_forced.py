"""Forced lengths: a distribution with a floor and a cap, the same for whoever asks."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks import ForcedTask, get_task, task_for
from copris_core.tasks.forced import LENGTHS_FACT


def _lengths(task: ForcedTask) -> list[list[int]]:
    return [list(map(int, row.facts[LENGTHS_FACT].split())) for row in task.train_rows()]


def _all(task: ForcedTask) -> list[int]:
    return [length for row in _lengths(task) for length in row]


def test_every_row_names_a_length_for_each_member_of_its_group():
    rows = ForcedTask(rows=5, val_rows=3, group_size=4)
    assert [len(row) for row in _lengths(rows)] == [4] * 5
    assert [(row.index, row.split) for row in rows.validation_rows()] == [
        (0, "test"), (1, "test"), (2, "test"),
    ]  # fmt: skip


def test_the_same_seed_gives_the_same_lengths_and_another_seed_others():
    one, same, other = (ForcedTask(rows=20, seed=seed) for seed in (1, 1, 2))
    assert one.train_rows() == same.train_rows()
    assert _lengths(one) != _lengths(other)
    held_out = [row.facts for row in one.validation_rows()]
    assert held_out != [row.facts for row in one.train_rows()][: len(held_out)]


def test_lengths_do_not_depend_on_how_many_rows_are_asked_for():
    assert _lengths(ForcedTask(rows=50))[:10] == _lengths(ForcedTask(rows=10))


def test_lengths_are_lognormal_about_the_median():
    drawn = _all(ForcedTask(rows=2000, median=60, sigma=1.0, floor=1, cap=100_000))
    # The median of m draws errs by 1.25 sigma / sqrt(m) in log length: 1% for 16,000.
    assert statistics.median(drawn) == pytest.approx(60, rel=0.04)
    # 15.87% lie a sigma above it, beyond 60 e = 163.1.
    assert sum(length > 163.1 for length in drawn) / len(drawn) == pytest.approx(0.1587, abs=0.01)


@given(
    floor=st.integers(1, 50),
    median=st.integers(50, 60),
    cap=st.integers(60, 200),
    seed=st.integers(),
)
def test_no_length_is_below_the_floor_or_above_the_cap(floor, median, cap, seed):
    task = ForcedTask(rows=5, floor=floor, median=median, cap=cap, sigma=2.0, seed=seed)
    assert all(floor <= length <= cap for row in _lengths(task) for length in row)


def test_without_spread_all_are_alike():
    assert set(_all(ForcedTask(rows=9, sigma=0, median=100, cap=128))) == {100}


def test_half_of_all_texts_are_right_whoever_asks():
    task, texts = ForcedTask(), [f"text {i}" for i in range(2000)]
    scores = [task.score(text, "").score for text in texts]
    assert set(scores) == {0.0, 1.0}
    assert sum(scores) / len(scores) == pytest.approx(0.5, abs=0.05)
    assert scores == [ForcedTask(seed=7).score(text, "other").score for text in texts]


def test_it_is_found_by_its_name():
    assert get_task("forced", rows=3, sigma=0.5) == ForcedTask(rows=3, sigma=0.5)
    assert isinstance(task_for("forced"), ForcedTask)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"floor": 0}, "floor=0, median=60"),
        ({"floor": 61}, "need 1 <= floor <= median <= cap and sigma >= 0"),
        ({"cap": 59}, "median=60, cap=59"),
        ({"sigma": -0.1}, "sigma=-0.1"),
        ({"rows": 0}, "rows, val_rows and group_size must be 1 or more"),
        ({"val_rows": 0}, "must be 1 or more"),
        ({"group_size": 0}, "must be 1 or more"),
    ],
)
def test_what_is_no_distribution_of_lengths_is_refused(settings, line):
    with pytest.raises(ValueError, match=line):
        ForcedTask(**settings)
