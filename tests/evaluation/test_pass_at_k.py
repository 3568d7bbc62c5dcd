"""pass@k: by hand, by counting every choice of k samples, and where binomials would overflow."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.evaluation.pass_at_k import mean_pass_at_k, pass_at_k, powers_of_two


@pytest.mark.parametrize(
    ("num_samples", "num_correct", "k", "expected"),
    [
        (4, 1, 2, 1 - 3 / 6),  # C(3, 2) = 3 of C(4, 2) = 6 pairs miss the one
        (5, 2, 3, 1 - 1 / 10),  # C(3, 3) = 1 of C(5, 3) = 10 triples misses both
        (8, 0, 8, 0.0),
        (8, 1, 8, 1.0),
        (1, 1, 1, 1.0),
        (3, 2, 2, 1.0),  # two samples can't both be the one that is wrong
    ],
)
def test_pass_at_k_is_what_it_is_by_hand(num_samples, num_correct, k, expected):
    assert pass_at_k(num_samples, num_correct, k) == pytest.approx(expected, abs=1e-12)


@given(st.data())
def test_pass_at_k_is_the_share_of_choices_with_a_correct_sample(data):
    num_samples = data.draw(st.integers(1, 8))
    num_correct = data.draw(st.integers(0, num_samples))
    k = data.draw(st.integers(1, num_samples))
    choices = list(itertools.combinations(range(num_samples), k))
    share = sum(min(choice) < num_correct for choice in choices) / len(choices)
    assert pass_at_k(num_samples, num_correct, k) == pytest.approx(share, abs=1e-12)


@given(num_samples=st.integers(2, 300), data=st.data())
def test_pass_at_k_grows_with_k_and_pass_at_1_is_the_accuracy(num_samples, data):
    num_correct = data.draw(st.integers(0, num_samples))
    curve = [pass_at_k(num_samples, num_correct, k) for k in range(1, num_samples + 1)]
    assert curve[0] == pytest.approx(num_correct / num_samples)
    assert all(0 <= a <= b <= 1 for a, b in itertools.pairwise(curve))
    assert curve[-1] == float(num_correct > 0)


def test_pass_at_k_agrees_with_exact_binomials_where_floats_would_overflow():
    n, c, k = 5000, 40, 64
    exact = 1 - math.comb(n - c, k) / math.comb(n, k)  # Python's integers are exact
    assert pass_at_k(n, c, k) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("n", "c", "k"), [(0, 0, 1), (4, 5, 1), (4, -1, 1), (4, 1, 0), (4, 1, 5)])
def test_a_number_out_of_range_is_refused(n, c, k):
    with pytest.raises(ValueError, match=f"pass@{k} of {c} correct among {n} samples: give"):
        pass_at_k(n, c, k)


def test_every_prompt_counts_once_however_many_samples_it_has():
    # pass@2 = 1 of 2 samples: 1; of 4 samples, 1 correct: 1/2.
    assert mean_pass_at_k([2, 4], [1, 1], 2) == pytest.approx(0.75)


@pytest.mark.parametrize(("samples", "correct"), [([], []), ([2], [1, 1]), ([[2]], [[1]])])
def test_counts_of_other_shapes_are_refused(samples, correct):
    with pytest.raises(ValueError, match="give two vectors of one length"):
        mean_pass_at_k(np.array(samples), np.array(correct), 1)


@pytest.mark.parametrize(
    ("at_most", "ks"), [(0, []), (1, [1]), (7, [1, 2, 4]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8])]
)
def test_the_reported_k_are_powers_of_two(at_most, ks):
    assert powers_of_two(at_most) == ks
