import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.evaluation.intervals import (
    Interval,
    binomial_stderr,
    paired_difference,
    rate_difference,
    ratio_of_medians,
    wilson,
)

COUNTS = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_stderr_is_that_of_a_mean_of_zeros_and_ones() -> None:
    # sqrt(0.75 * 0.25 / 100) = sqrt(0.001875)
    assert binomial_stderr(0.75, 100) == pytest.approx(0.04330127)


def test_wilson_gives_the_published_numbers() -> None:
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I,
    # method 3: hits, trials and the ends to four decimals.
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        interval = wilson(hits / n, n)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(COUNTS)
def test_wilson_holds_the_rate_stays_in_bounds_and_never_shrinks_to_a_point(
    counts: tuple[int, int],
) -> None:
    hits, n = counts
    interval = wilson(hits / n, n)
    assert 0 <= interval.low <= hits / n <= interval.high <= 1
    assert interval.high - interval.low > 0


def test_rate_difference_gives_newcombes_published_numbers() -> None:
    # Newcombe (1998) "Interval estimation for the difference between independent proportions",
    # table II, method 10: 56/70 - 48/80 -> 0.0524 to 0.3339;  9/10 - 3/10 -> 0.1705 to 0.8090
    for (a, m), (b, n), low, high in (
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
    ):
        interval = rate_difference(a / m, m, baseline=b / n, baseline_n=n)
        assert interval.estimate == pytest.approx(a / m - b / n)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(COUNTS, COUNTS)
def test_rate_difference_turns_its_sign_with_its_sides(
    ours: tuple[int, int], theirs: tuple[int, int]
) -> None:
    p, q = ours[0] / ours[1], theirs[0] / theirs[1]
    forth = rate_difference(p, ours[1], baseline=q, baseline_n=theirs[1])
    back = rate_difference(q, theirs[1], baseline=p, baseline_n=ours[1])
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))


def test_paired_difference_by_hand() -> None:
    # d = (1, 0, -1, 1): mean 1/4; squares of d - mean: 9/16 + 1/16 + 25/16 + 9/16 = 44/16 = 11/4,
    # variance (11/4) / 3 = 11/12, stderr sqrt(11/12) / 2 = 0.478714
    interval = paired_difference([1, 1, 0, 1], [0, 1, 1, 0])
    assert interval.estimate == pytest.approx(0.25)
    assert interval.high - 0.25 == pytest.approx(1.959964 * 0.478714, rel=1e-5)
    assert 0.25 - interval.low == pytest.approx(1.959964 * 0.478714, rel=1e-5)


def test_a_shared_spread_of_difficulty_does_not_widen_the_paired_interval() -> None:
    hard_and_easy = np.array([0.0, 1.0] * 50)
    interval = paired_difference(np.clip(hard_and_easy + 0.1, 0.1, 1.1), hard_and_easy)
    assert interval.low == pytest.approx(0.1)


def test_ratio_of_medians_is_seeded_and_holds_the_true_ratio() -> None:
    draw = np.random.default_rng(1)
    slow, fast = draw.lognormal(1, 0.2, 60), draw.lognormal(0, 0.2, 60)
    first = ratio_of_medians(slow, fast, rng=np.random.default_rng(7))
    again = ratio_of_medians(slow, fast, rng=np.random.default_rng(7))
    assert first == again
    assert first.estimate == pytest.approx(np.median(slow) / np.median(fast))
    assert first.low < first.estimate < first.high
    assert not first.excludes(math.e)
    assert first.excludes(1.0)


def test_ratio_of_medians_of_constants_is_exact() -> None:
    interval = ratio_of_medians([6.0] * 5, [4.0] * 3, rng=np.random.default_rng(0))
    assert interval == Interval(estimate=1.5, low=1.5, high=1.5)


def test_one_stalled_step_does_not_move_the_ratio_of_medians() -> None:
    # 11 of 21 draws would have to be the outlier, at 1/21 each: never in 2000 resamples.
    interval = ratio_of_medians([2.0] * 20 + [1e6], [1.0] * 5, rng=np.random.default_rng(0))
    assert interval == Interval(estimate=2.0, low=2.0, high=2.0)


def test_a_lower_level_gives_a_narrower_interval() -> None:
    assert wilson(0.5, 50, level=0.5).low > wilson(0.5, 50, level=0.95).low
    side = [1.0, 2.0, 3.0, 4.0, 5.0]
    wide = ratio_of_medians(side, side, rng=np.random.default_rng(0), level=0.95)
    narrow = ratio_of_medians(side, side, rng=np.random.default_rng(0), level=0.5)
    assert wide.low < narrow.low <= 1 <= narrow.high < wide.high


def test_bad_input_is_refused_with_the_mend() -> None:
    with pytest.raises(ValueError, match="at least 1 trial"):
        wilson(0.5, 0)
    with pytest.raises(ValueError, match=r"rate in \[0, 1\]"):
        binomial_stderr(1.2, 10)
    with pytest.raises(ValueError, match=r"0\.95"):
        wilson(0.5, 10, level=95)
    with pytest.raises(ValueError, match="same problems"):
        paired_difference([1, 0], [1, 0, 1])
    with pytest.raises(ValueError, match="positive"):
        ratio_of_medians([1.0, 0.0], [1.0], rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="non-empty"):
        ratio_of_medians([], [1.0], rng=np.random.default_rng(0))
