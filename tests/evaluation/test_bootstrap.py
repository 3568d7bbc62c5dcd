import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copris_core.evaluation import bootstrap
from copris_core.evaluation.bootstrap import bootstrap_means, mean_intervals, percentile_interval


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_two_prompts_are_drawn_as_a_coin_is_thrown_twice() -> None:
    draws = bootstrap_means(np.array([[0.0], [1.0]]), rng=rng(), resamples=20_000)[:, 0]
    shares = [float((draws == value).mean()) for value in (0.0, 0.5, 1.0)]
    # 1/4, 1/2, 1/4; sd of a share at most 0.0036
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.015)


def test_the_spread_of_the_draws_is_the_standard_error_of_the_mean() -> None:
    values_PM = rng(1).random((200, 2))
    draws_RM = bootstrap_means(values_PM, rng=rng(), resamples=5000)
    expected = values_PM.std(axis=0) / np.sqrt(200)
    assert draws_RM.std(axis=0) == pytest.approx(expected, rel=0.05)


def test_all_measures_of_a_draw_see_the_same_prompts() -> None:
    values_P = rng(1).random(30)
    draws_RM = bootstrap_means(np.stack([values_P, 1 - values_P], axis=1), rng=rng(), resamples=50)
    assert draws_RM.sum(axis=1) == pytest.approx(np.ones(50))


def test_one_seed_gives_one_interval_and_another_seed_another() -> None:
    values_PM = rng(1).random((30, 1))
    first, again, other = (
        mean_intervals(values_PM, rng=rng(seed), resamples=200) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 60))
def test_an_interval_holds_its_estimate(values: list[float], resamples: int) -> None:
    (interval,) = mean_intervals(np.array(values)[:, None], rng=rng(), resamples=resamples)
    assert interval.low <= interval.estimate <= interval.high
    assert interval.estimate == pytest.approx(np.mean(values))


def test_prompts_that_agree_leave_no_width() -> None:
    (interval,) = mean_intervals(np.full((7, 1), 0.3), rng=rng(), resamples=100)
    assert interval.high - interval.low < 1e-12


def test_an_interval_is_the_middle_of_the_draws() -> None:
    draws_R = np.arange(1001) / 1000
    interval = percentile_interval(0.5, draws_R, level=0.9)
    assert (interval.low, interval.high) == pytest.approx((0.05, 0.95))


def test_more_draws_than_fit_at_once_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CHUNK", 70)  # 2 resamples of 30 prompts at once
    draws_RM = bootstrap_means(rng(1).random((30, 1)), rng=rng(), resamples=7)
    assert draws_RM.shape == (7, 1)
    assert len(set(draws_RM[:, 0])) == 7


@pytest.mark.parametrize(("prompts", "resamples"), [(0, 10), (3, 0)])
def test_nothing_to_draw_from_is_refused(prompts: int, resamples: int) -> None:
    with pytest.raises(ValueError, match="give 1 or more of both"):
        bootstrap_means(np.zeros((prompts, 1)), rng=rng(), resamples=resamples)


def test_95_of_100_intervals_hold_the_truth() -> None:
    """400 benchmarks of 150 prompts x 4 samples, whose prompts differ in difficulty: mean 2/3."""
    world = rng(7)
    held = 0
    for number in range(400):
        rate_P = world.beta(1.0, 0.5, size=150)
        value_P = world.binomial(4, rate_P) / 4
        (interval,) = mean_intervals(value_P[:, None], rng=rng(number), resamples=300)
        held += not interval.excludes(2 / 3)
    # 0.95 of 400 with sd 0.011; resampling single samples would give about 0.81
    assert 0.92 <= held / 400 <= 0.98
