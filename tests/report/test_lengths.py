"""Numbers of lengths, checked by hand and by simulation."""

import numpy as np
import pytest

from copris_core.report.lengths import Lengths, bias, describe


def test_the_numbers_of_a_few_lengths():
    # mean 4; variance ((-3)^2 + (-1)^2 + 0 + 4^2) / 3 = 26 / 3, of the mean 26 / 12
    described = describe([1, 3, 4, 8])

    assert described.n == 4
    assert described.mean == 4
    assert described.stderr == pytest.approx((26 / 12) ** 0.5)
    assert described.p50 == 3.5
    assert described.p90 == pytest.approx(4 + 0.7 * 4)  # place 0.9 * 3 = 2.7 in sorted order


def test_too_few_lengths_have_no_error_and_none_has_no_mean():
    assert describe([]) == Lengths(n=0, mean=None, stderr=None, p50=None, p90=None)
    assert describe([5]) == Lengths(n=1, mean=5, stderr=None, p50=5, p90=5)


def test_when_all_that_finished_was_trained_there_is_no_bias_and_no_doubt():
    found = bias(trained=[5, 9], finished=[9, 5])
    assert found is not None
    assert (found.tokens, found.stderr) == (0, 0)


def test_the_bias_by_hand():
    # trained mean 3, all 5; rest 6, 8: variance of means 1 and 1; share 2 / 4
    found = bias(trained=[2, 4], finished=[2, 4, 6, 8])
    assert found is not None
    assert found.tokens == -2
    assert found.stderr == pytest.approx(0.5 * 2**0.5)


def test_a_single_one_left_out_tells_no_error():
    found = bias(trained=[2, 4], finished=[2, 4, 6])
    assert found is not None
    assert found.stderr is None


@pytest.mark.parametrize(("trained", "finished"), [([], [1]), ([], [])])
def test_nothing_trained_has_no_bias(trained, finished):
    assert bias(trained=trained, finished=finished) is None


def test_the_standard_error_is_the_spread_of_the_bias_over_many_runs():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2000):
        lengths = rng.geometric(0.02, size=60)
        found.append(bias(trained=lengths[:40].tolist(), finished=lengths.tolist()))
    spread = np.std([each.tokens for each in found])
    told = np.sqrt(np.mean([each.stderr**2 for each in found]))

    assert told == pytest.approx(spread, rel=0.05)
