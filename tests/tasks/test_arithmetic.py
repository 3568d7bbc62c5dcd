"""The "days" task: generator, split and verifier."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks.arithmetic import (
    MAX_DAYS,
    MAX_PER_DAY,
    MAX_STOCK,
    DaysProblem,
    DaysTask,
    draw_days,
    draw_problem,
    split_of,
)

PAIRS = [(stock, per_day) for stock in range(1, 100) for per_day in range(1, MAX_PER_DAY + 1)]


def _pair(row):
    return row.facts["stock"], row.facts["per_day"]


def test_answer_is_the_quotient_rounded_up():
    # 14 things at 5 a day: 14 -> 9 -> 4 -> 0, three days; 15 at 5 a day also three; 16 needs four.
    for stock, days in ((1, 1), (5, 1), (14, 3), (15, 3), (16, 4)):
        assert DaysProblem(stock=stock, per_day=5, question="").days == days


def test_same_seed_gives_the_same_rows_and_another_seed_others():
    one, same, other = (DaysTask(rows=50, val_rows=20, seed=seed) for seed in (1, 1, 2))
    assert one.train_rows() == same.train_rows()
    assert one.validation_rows() == same.validation_rows()
    assert one.train_rows() != other.train_rows()
    assert one.validation_rows() != other.validation_rows()


def test_rows_of_seed_0_never_change():
    # Shipped figures rest on these rows; a change here changes every report.
    first = DaysTask(rows=1).train_rows()[0]
    assert first.prompt[0].content == (
        "Sam has 23 apples and gives away 6 each day. How many days until none are left?"
    )
    assert first.ground_truth == "4"
    assert DaysTask(val_rows=1).validation_rows()[0].prompt[0].content == (
        "Sam has 48 pens and gives away 2 each day. How many days until none are left?"
    )


def test_no_pair_of_numbers_is_in_both_splits():
    train = {_pair(row) for seed in range(5) for row in DaysTask(rows=2000, seed=seed).train_rows()}
    test = {_pair(row) for seed in range(5) for row in DaysTask(seed=seed).validation_rows()}
    assert train
    assert test
    assert not train & test
    assert all(split_of(*pair) == "train" for pair in train)
    assert all(split_of(*pair) == "test" for pair in test)


def test_every_pair_has_one_split_and_each_rate_has_held_out_pairs():
    held_out = [pair for pair in PAIRS if split_of(*pair) == "test"]
    assert len(held_out) == 130  # of 594, near one in five
    for per_day in range(1, MAX_PER_DAY + 1):
        assert 10 <= sum(rate == per_day for _, rate in held_out) <= 30


@given(seed=st.integers(), split=st.sampled_from(["train", "test"]))
def test_a_problem_stays_within_its_limits_and_its_question_names_both_numbers(seed, split):
    problem = draw_problem(random.Random(seed), split=split)
    assert 1 <= problem.per_day <= MAX_PER_DAY
    assert 1 <= problem.stock <= MAX_STOCK
    assert 1 <= problem.days <= MAX_DAYS
    assert split_of(problem.stock, problem.per_day) == split
    assert f" {problem.stock} " in problem.question
    assert f" {problem.per_day} each day" in problem.question


def test_steps_have_median_4_and_a_long_tail():
    rng = random.Random(0)
    drawn = sorted(draw_days(rng) for _ in range(10_000))
    assert drawn[5_000] == 4
    # The 99% point of a lognormal with median 4 and sigma 0.9: 4 exp(2.326 x 0.9) = 32.5.
    assert 28 <= drawn[9_900] <= 37
    assert (drawn[0], drawn[-1]) == (1, MAX_DAYS)


def test_validation_asks_no_question_twice():
    questions = [row.prompt[0].content for row in DaysTask(val_rows=2000).validation_rows()]
    assert len(set(questions)) == 2000


def test_rows_are_numbered_within_their_split():
    task = DaysTask(rows=3, val_rows=2)
    numbers = [(row.split, row.index) for row in task.train_rows() + task.validation_rows()]
    assert numbers == [("train", 0), ("train", 1), ("train", 2), ("test", 0), ("test", 1)]


@pytest.mark.parametrize("settings", [{"rows": 0}, {"val_rows": 0}, {"val_rows": 2001}])
def test_sizes_out_of_range_are_refused_with_the_mend(settings):
    with pytest.raises(ValueError, match=r"task\.\w+ is \d+: set it to 1"):
        DaysTask(**settings)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Day 1: <<5-3=2>>\nDay 2: <<2-3=0>>\n#### 2", 1.0),
        ("#### 2\n", 1.0),
        ("#### 3\nWait.\n#### 2", 1.0),
        ("#### 2\nWait.\n#### 3", 0.0),
        ("#### 2\n####", 0.0),
        ("#### 2 or 3", 0.0),
        ("#### 22", 0.0),
        ("#### -2", 0.0),
        ("2", 0.0),
        ("\\boxed{2}", 0.0),
        ("#### \u0662", 0.0),  # ARABIC-INDIC DIGIT TWO
        ("#### nan", 0.0),
        ("#### inf", 0.0),
        ("", 0.0),
    ],
)
def test_only_the_last_marked_number_scores(text, score):
    assert DaysTask().score(text, "2").score == score
