"""Student's t over seeds, against printed tables and sums by hand."""

import math
from statistics import NormalDist

import pytest

from copris_core.evaluation.seeds import mean_interval, paired_mean, paired_ratio, t_quantile

# Two-sided 95% and 99% points as printed in every table of Student's distribution.
PRINTED = [
    (0.95, 1, 12.706),
    (0.95, 2, 4.303),
    (0.95, 3, 3.182),
    (0.95, 4, 2.776),
    (0.95, 9, 2.262),
    (0.95, 30, 2.042),
    (0.99, 1, 63.657),
    (0.99, 5, 4.032),
    (0.90, 2, 2.920),
]


@pytest.mark.parametrize(("level", "df", "expected"), PRINTED)
def test_the_quantiles_are_those_of_the_printed_tables(
    level: float, df: int, expected: float
) -> None:
    assert t_quantile(level, df) == pytest.approx(expected, abs=6e-4)


def test_many_degrees_come_near_to_the_normal_distribution() -> None:
    assert t_quantile(0.95, 2000) == pytest.approx(NormalDist().inv_cdf(0.975), abs=2e-3)


def test_two_runs_by_hand() -> None:
    # mean 0.85, sd = 0.1 / sqrt 2, half = 12.7062 * 0.1 / 2 = 0.635310
    found = mean_interval([0.8, 0.9])
    assert found.estimate == pytest.approx(0.85)
    assert (found.low, found.high) == pytest.approx((0.85 - 0.635310, 0.85 + 0.635310), abs=1e-5)


def test_three_runs_by_hand() -> None:
    # mean 2, sd 1, half = 4.30265 / sqrt 3 = 2.48414
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.low, found.high) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-5)


def test_pairing_takes_out_what_the_seed_does_to_both_sides() -> None:
    # Seeds far apart, differences 0.1, 0.2, 0.3: sd 0.1, half = 4.30265 * 0.1 / sqrt 3.
    found = paired_mean([0.2, 5.2, 9.3], [0.1, 5.0, 9.0])
    assert found.estimate == pytest.approx(0.2)
    assert found.high - found.estimate == pytest.approx(0.248414, abs=1e-5)


def test_a_ratio_and_its_inverse_are_one_statement() -> None:
    ratio, inverse = paired_ratio([2, 4], [1, 1]), paired_ratio([1, 1], [2, 4])
    assert ratio.estimate == pytest.approx(math.sqrt(8))
    assert inverse.estimate == pytest.approx(1 / ratio.estimate)
    assert (inverse.low, inverse.high) == pytest.approx((1 / ratio.high, 1 / ratio.low))


def test_equal_runs_leave_no_width() -> None:
    assert mean_interval([0.5, 0.5]).low == mean_interval([0.5, 0.5]).high == 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: mean_interval([1.0]),
        lambda: paired_mean([1.0, 2.0], [1.0]),
        lambda: paired_ratio([1.0, 0.0], [1.0, 1.0]),
        lambda: t_quantile(1.0, 3),
        lambda: t_quantile(0.95, 0),
    ],
)
def test_what_has_no_interval_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"."):
        wrong()
