"""Lengths are positive, capped, as long as asked for, and shared within a prompt as asked for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.simulator.lengths import EmpiricalLengths, LognormalLengths, shape_of


@given(
    median=st.floats(1, 500),
    sigma=st.floats(0, 3),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_length_is_between_one_and_the_cap(
    median: float, sigma: float, share: float, seed: int
) -> None:
    lengths = LognormalLengths(median=median, sigma=sigma, cap=500, prompt_share=share)
    drawn = lengths.draw(np.random.default_rng(seed), 16)
    assert len(drawn) == 16
    assert all(1 <= length <= 500 for length in drawn)


def test_median_and_spread_are_those_asked_for() -> None:
    drawn = LognormalLengths(median=100, sigma=0.5, cap=100_000).draw(
        np.random.default_rng(0), 20_000
    )
    logs = np.log(drawn)
    assert np.median(logs) == pytest.approx(math.log(100), abs=0.02)
    assert np.std(logs) == pytest.approx(0.5, abs=0.02)


def test_responses_of_one_prompt_share_what_they_are_told_to_share() -> None:
    lengths = LognormalLengths(median=1000, sigma=0.5, cap=10**9, prompt_share=0.6)
    rng = np.random.default_rng(0)
    pairs = np.log([lengths.draw(rng, 2) for _ in range(5_000)])
    assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(0.6, abs=0.03)
    assert np.std(pairs) == pytest.approx(0.5, abs=0.02)


def test_measured_lengths_are_drawn_as_they_are() -> None:
    drawn = EmpiricalLengths(tokens=(3, 5, 7)).draw(np.random.default_rng(0), 300)
    assert set(drawn) == {3, 5, 7}


@pytest.mark.parametrize(
    "wrong",
    [
        {"median": 0.5},
        {"median": 101.0},  # above the cap
        {"sigma": -0.1},
        {"prompt_share": 1.1},
    ],
)
def test_what_cannot_be_a_distribution_is_refused(wrong: dict[str, float]) -> None:
    asked = {"median": 10.0, "sigma": 1.0, "prompt_share": 0.0} | wrong
    with pytest.raises(ValueError, match=r"lengths need|is a share"):
        LognormalLengths(cap=100, **asked)


def test_measured_lengths_of_one_prompt_share_what_they_are_told_to_share() -> None:
    tokens = tuple(range(1, 1001))
    lengths = EmpiricalLengths(tokens=tokens[::-1], prompt_share=0.6)
    rng = np.random.default_rng(0)
    pairs = np.array([lengths.draw(rng, 2) for _ in range(5_000)])
    assert set(pairs.ravel().tolist()) <= set(tokens)
    # uniform lengths: the correlation of ranks of normal ones is 6 / pi asin(0.6 / 2) (Pearson)
    expected = 6 / math.pi * math.asin(0.3)
    assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(expected, abs=0.03)
    assert pairs.mean() == pytest.approx(500.5, rel=0.03)


def test_the_shape_says_how_many_tokens_a_response_in_flight_has() -> None:
    # half are 10, half are 90: mean 50; (100 + 8100) / 2 / (2 x 50) = 41, for a long one is in
    # flight nine times as long
    shape = shape_of(EmpiricalLengths(tokens=(10, 90)))
    assert shape.mean == pytest.approx(50, rel=0.02)
    assert shape.mean_held == pytest.approx(41, rel=0.02)
    assert (shape.p99, shape.longest) == (90, 90)
    assert shape == shape_of(EmpiricalLengths(tokens=(10, 90)))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"median": 101.0}, "a cap of 100 tokens and a median of 101"),
        ({"median": -3.0}, "a median of at least 1 token, got -3"),
        ({"sigma": -0.5}, "a sigma of at least 0, got -0.5"),
        ({"sigma": float("nan")}, "a sigma of at least 0, got nan"),
        ({"median": float("nan")}, "a median of at least 1 token, got nan"),
    ],
)
def test_each_refusal_says_what_was_wrong(wrong: dict[str, float], words: str) -> None:
    asked = {"median": 10.0, "sigma": 1.0} | wrong
    with pytest.raises(ValueError, match=words):
        LognormalLengths(cap=100, **asked)


@pytest.mark.parametrize("tokens", [(), (5, 0)])
def test_a_list_without_lengths_is_refused(tokens: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="non-empty list of tokens >= 1"):
        EmpiricalLengths(tokens=tokens)
