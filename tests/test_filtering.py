"""DAPO's filter and its bound, and what length does to a reward: golden numbers and properties."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.filtering import (
    CosineConfig,
    FilterBook,
    Judgement,
    OverlongConfig,
    ShapingConfig,
    cosine_length_reward,
    has_spread,
    overlong_penalty,
    shaped_reward,
)

SOLVED, MIXED = [1.0] * 4, [1.0, 0.0, 0.0, 1.0]
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=8)
T, F, K, S = Judgement.TRAIN, Judgement.FILTER, Judgement.KEEP_ANYWAY, Judgement.STOP


# ---- which groups have a spread ----


@given(num_correct=st.integers(0, 8))
def test_for_right_and_wrong_it_is_dapos_rule(num_correct: int) -> None:
    scores = [1.0] * num_correct + [0.0] * (8 - num_correct)
    assert has_spread(scores) == (0 < num_correct < 8)


def test_a_group_of_one_has_no_spread() -> None:
    assert not has_spread([0.3])
    assert not has_spread([])


def test_any_difference_is_a_spread_unless_it_is_tolerated() -> None:
    assert has_spread([0.5, 0.5, 0.5 + 2**-40])
    assert not has_spread([0.1 + 0.2] * 3)
    assert not has_spread([0.5, 0.625], tolerance=0.125)
    assert has_spread([0.5, 0.6875, 0.5], tolerance=0.125)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused_also_in_a_group_of_one(wrong: float) -> None:
    for scores in ([wrong], [0.0, wrong], [wrong, wrong]):
        with pytest.raises(ValueError, match="must return a finite number"):
            has_spread(scores)


# ---- the bound ----


def _book(**changed: Any) -> FilterBook:
    return FilterBook(**({"groups_per_stage": 2, "max_batches": 2} | changed))


def test_groups_are_filtered_until_the_batches_are_complete_and_then_kept() -> None:
    book = _book()
    assert [book.judge(g) for g in (SOLVED, MIXED, SOLVED, SOLVED, SOLVED, MIXED)] == [
        F, T, F, F, K, T,
    ]  # fmt: skip
    counts = {"filter/groups_filtered": 3, "filter/kept_without_spread": 1}
    assert book.metrics() == {**counts, "filter/score_mean": 20 / 24}  # 4 of 4, 4 times, 2 of 4


def test_or_the_run_is_told_to_stop_and_why() -> None:
    book = _book(when_exceeded="stop")
    assert [book.judge(SOLVED) for _ in range(5)] == [F, F, F, F, S]
    assert book.judge(MIXED) is T
    assert book.judge(SOLVED) is S
    assert "4 of 7 groups of this stage had no spread" in book.complaint
    assert book.metrics()["filter/kept_without_spread"] == 0


def test_a_stage_begins_with_nothing_filtered() -> None:
    book = _book(groups_per_stage=1, max_batches=1)
    assert [book.judge(SOLVED) for _ in range(2)] == [F, K]
    book.begin_stage()
    assert book.metrics() == {"filter/groups_filtered": 0, "filter/kept_without_spread": 0}
    assert [book.judge(SOLVED) for _ in range(2)] == [F, K]


def test_the_mean_score_is_that_of_all_complete_groups_of_the_stage() -> None:
    book = _book(groups_per_stage=1, max_batches=2, when_exceeded="stop")
    assert "filter/score_mean" not in book.metrics()
    groups = ([0.0, 0.0], [1.0, 0.5], [1.0, 1.0])
    assert [book.judge(group) for group in groups] == [F, T, S]
    assert book.metrics()["filter/score_mean"] == 3.5 / 6
    book.begin_stage()
    assert "filter/score_mean" not in book.metrics()
    book.judge([0.25, 0.0])
    assert book.metrics()["filter/score_mean"] == 0.125


def test_the_tolerance_is_the_books_too() -> None:
    assert _book(tolerance=0.5).judge([0.25, 0.5]) is F
    assert _book().judge([0.25, 0.5]) is T


@given(
    groups=st.lists(st.booleans(), max_size=60),
    per_stage=st.integers(1, 4),
    batches=st.integers(1, 4),
)
def test_no_stage_completes_more_than_one_batch_beyond_its_bound(
    groups: list[bool], per_stage: int, batches: int
) -> None:
    book = _book(groups_per_stage=per_stage, max_batches=batches)
    trained = completed = 0
    for has in groups:
        judged = book.judge(MIXED if has else SOLVED)
        completed += 1
        trained += judged is not F
        assert (judged is T) == has
        if trained == per_stage:
            book.begin_stage()
            trained = completed = 0
        assert completed < (batches + 1) * per_stage


def test_a_group_that_cannot_be_judged_is_not_booked() -> None:
    book = _book(groups_per_stage=1, max_batches=1)
    with pytest.raises(ValueError, match="finite"):
        book.judge([math.nan, 1.0])
    assert "filter/score_mean" not in book.metrics()
    assert book.judge(SOLVED) is F


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"groups_per_stage": 0}, "groups_per_stage=0"),
        ({"max_batches": 0}, "max_batches=0"),
        ({"when_exceeded": "raise"}, "one of keep, stop"),
        ({"tolerance": -1.0}, "tolerance=-1"),
        ({"tolerance": math.nan}, "tolerance=nan"),
    ],
)
def test_a_bound_that_cannot_be_kept_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _book(**wrong)


# ---- the overlong penalty ----


# Budget 20480, buffer 4096 (the paper's): it begins at 16384 and is half at 18432.
@pytest.mark.parametrize(
    ("length", "penalty"),
    [(0, 0), (16384, 0), (16385, -1 / 4096), (18432, -0.5), (20480, -1), (20481, -1), (10**6, -1)],
)
def test_the_penalty_is_that_of_the_paper(length: int, penalty: float) -> None:
    assert overlong_penalty(length, maximum=20480, buffer=4096) == penalty
    assert overlong_penalty(length, maximum=20480, buffer=4096, factor=0.5) == penalty / 2


@given(
    length=st.integers(0, 5000),
    maximum=st.integers(1, 4000),
    share=st.floats(0, 1),
    factor=st.floats(0, 10),
)
def test_the_penalty_never_leaves_its_range_and_never_falls_back(
    length: int, maximum: int, share: float, factor: float
) -> None:
    buffer = max(1, round(share * maximum))

    def penalty(tokens: int) -> float:
        return overlong_penalty(tokens, maximum=maximum, buffer=buffer, factor=factor)

    assert -factor <= penalty(length + 1) <= penalty(length) <= 0


def test_a_buffer_that_does_not_fit_and_a_length_below_nothing_are_refused() -> None:
    for buffer in (0, 101):
        with pytest.raises(ValueError, match=r"lower reward_shaping\.overlong_share"):
            overlong_penalty(5, maximum=100, buffer=buffer)
    with pytest.raises(ValueError, match="cannot have -1 tokens"):
        overlong_penalty(-1, maximum=100, buffer=10)


# ---- the cosine length reward ----


# cos(pi t / T) is 1, .5, 0, -.5 and -1 at t / T = 0, 1/3, 1/2, 2/3 and 1.
@pytest.mark.parametrize(
    ("length", "reward"), [(0, 1.0), (300, 0.5), (450, 0.0), (600, -0.5), (900, -1.0), (950, -1.0)]
)
def test_the_length_reward_is_half_a_cosine(length: int, reward: float) -> None:
    assert cosine_length_reward(length, 900, -1.0, 1.0) == pytest.approx(reward, abs=1e-12)


def test_a_length_reward_without_a_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="budget of 0"):
        cosine_length_reward(0, 0, 0.0, 1.0)
    with pytest.raises(ValueError, match="cannot have -1 tokens"):
        cosine_length_reward(-1, 9, 0.0, 1.0)


# ---- the whole shaping ----


def _shaped(score: float, length: int, *, truncated: bool = False, **parts: Any) -> list[float]:
    config = ShapingConfig(**parts)
    shaped = shaped_reward(score, length=length, budget=100, truncated=truncated, config=config)
    return [shaped.reward, shaped.bonus, shaped.penalty]


OVERLONG = OverlongConfig(buffer=20, factor=0.5)
COSINE = CosineConfig(weight=0.25)


def test_without_parts_the_score_stays() -> None:
    assert _shaped(0.7, 100, truncated=True) == [0.7, 0.0, 0.0]


def test_a_truncated_score_is_multiplied_and_one_with_an_end_is_not() -> None:
    assert _shaped(0.5, 100, truncated=True, truncated_factor=0.0) == [0.0, 0.0, 0.0]
    assert _shaped(0.5, 100, truncated=True, truncated_factor=0.5) == [0.25, 0.0, 0.0]
    assert _shaped(0.5, 100, truncated=False, truncated_factor=0.0) == [0.5, 0.0, 0.0]


def test_the_penalty_is_added_after_the_factor_and_so_is_not_multiplied() -> None:
    # 90 of 100 tokens with a buffer of 20: half of the factor .5
    parts = {"truncated_factor": 0.5, "overlong": OVERLONG}
    assert _shaped(1.0, 90, **parts) == [0.75, 0.0, -0.25]
    assert _shaped(1.0, 100, truncated=True, **parts) == [0.0, 0.0, -0.5]
    assert _shaped(0.0, 100, truncated=True, **parts) == [-0.5, 0.0, -0.5]


def test_only_what_is_still_correct_gets_the_bonus() -> None:
    assert _shaped(1.0, 50, cosine=COSINE) == pytest.approx([1.125, 0.125, 0.0])
    assert _shaped(0.99, 50, cosine=COSINE) == [0.99, 0.0, 0.0]
    assert _shaped(1.0, 0, truncated=True, truncated_factor=0.5, cosine=COSINE) == [0.5, 0.0, 0.0]
    lenient = CosineConfig(weight=0.25, correct_at=0.5)
    assert _shaped(0.5, 0, cosine=lenient) == [0.75, 0.25, 0.0]


def test_all_parts_add_up() -> None:
    # eta from 1 to -1: at 95 of 100 tokens -.25 cos(.05 pi) * 1; penalty .5 * 15/20
    cosine = CosineConfig(weight=0.25, eta_min=-1.0)
    reward, bonus, penalty = _shaped(1.0, 95, cosine=cosine, overlong=OVERLONG)
    assert bonus == pytest.approx(-0.25 * math.cos(0.05 * math.pi))
    assert penalty == -0.375
    assert reward == pytest.approx(1.0 + bonus + penalty)


@given(scores=SCORES, length=st.integers(0, 200), truncated=st.booleans())
def test_shaping_stays_within_the_sum_of_its_parts(
    scores: list[float], length: int, truncated: bool
) -> None:
    parts = {"truncated_factor": 0.0, "overlong": OVERLONG, "cosine": COSINE}
    for score in scores:
        reward, bonus, penalty = _shaped(score, length, truncated=truncated, **parts)
        assert -0.5 <= penalty <= 0 <= bonus <= 0.25
        assert reward == pytest.approx((0.0 if truncated else score) + bonus + penalty)


@pytest.mark.parametrize("wrong", [math.nan, -math.inf])
def test_a_score_that_is_not_finite_is_not_shaped(wrong: float) -> None:
    with pytest.raises(ValueError, match="must return a finite number"):
        _shaped(wrong, 5)


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (OverlongConfig, {"buffer": 0}, "overlong_share gives a buffer of 0 tokens"),
        (OverlongConfig, {"buffer": 5, "factor": -1.0}, "overlong_penalty=-1"),
        (CosineConfig, {"weight": -1.0}, "cosine_weight=-1"),
        (
            CosineConfig,
            {"weight": 1.0, "eta_min": 2.0},
            r"cosine_minimum=2.0 .*cosine_maximum=1.0: swap",
        ),
        (CosineConfig, {"weight": 1.0, "correct_at": 0.0}, "cosine_correct_at=0"),
        (ShapingConfig, {"truncated_factor": 1.5}, "truncated_factor=1.5"),
        (ShapingConfig, {"truncated_factor": math.nan}, "truncated_factor=nan"),
    ],
)
def test_a_shaping_that_makes_no_sense_is_refused(
    kind: type, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=rf"reward_shaping\.{message}"):
        kind(**wrong)
