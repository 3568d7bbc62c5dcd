"""maj@k: how often the most frequent answer among k samples is right.

Takes answers and verdicts; refuses to know how answers are told apart (equal is equal) and where
they came from. Randomness only from a generator that is passed in.

Shapes: P prompts, n samples of each, A answers of all prompts, S subsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Votes = NDArray[np.float32]
"""Small sums of ones and of a power of two: exact in half the memory."""

MAX_SUBSETS = 1000
"""Subsets of k samples that are looked at: all where there are no more, else as many at random."""

CHUNK = 2_000_000
"""Votes that are counted at once."""


def majority_at_k(
    answers: Sequence[Sequence[str | None]],
    correct_Pn: NDArray[np.bool_],
    k: int,
    *,
    rng: np.random.Generator,
    max_subsets: int = MAX_SUBSETS,
) -> Floats:
    """maj@k of each prompt: the mean, over subsets of k of its n samples, of the vote's credit.

        credit = (correct samples of the winning answers) / (samples of the winning answers)

    Each sample gives its answer one vote, the answer with most votes wins: self-consistency, Wang
    et al. 2022, arXiv 2203.11171, section 2. Answers that tie share the credit, so neither order
    nor spelling decides. A sample without an answer has no vote; where no sample of a subset has
    one, the credit is their share of correct samples. So maj@1 is pass@1.

    Where there are at most ``max_subsets`` subsets (always at k = 1 and k = n) all are counted and
    the mean is exact; else that many are drawn, and it is unbiased. Subsets are of positions, the
    same for all prompts: the rows' samples must not be sorted by anything that they say.

    Args:
        answers: [P, n] final answers, None where none was found.
        correct_Pn: which of the samples are correct.
        k: samples that vote, 1..n.
        rng: the only source of randomness.
        max_subsets: S, 1 or more.

    Returns:
        [P] values in [0, 1].

    Raises:
        ValueError: shapes that differ, or a number out of range.
    """
    num_samples = correct_Pn.shape[1] if correct_Pn.ndim == 2 else 0
    if len(answers) != len(correct_Pn) or any(len(row) != num_samples for row in answers):
        raise ValueError("maj@k wants one answer and one verdict for each sample: give both whole")
    if not 1 <= k <= num_samples or max_subsets < 1:
        raise ValueError(
            f"maj@{k} of {num_samples} samples by {max_subsets} subsets: give 1 <= k <= samples "
            "and 1 subset or more"
        )
    subsets_Sn = _subsets(num_samples, k, max_subsets, rng)
    # A prompt has at most n answers, and each of them S counts.
    at_once = max(1, CHUNK // (num_samples * len(subsets_Sn)))
    parts = [
        _credits(answers[start : start + at_once], correct_Pn[start : start + at_once], subsets_Sn)
        for start in range(0, len(answers), at_once)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _subsets(num_samples: int, k: int, at_most: int, rng: np.random.Generator) -> Votes:
    """[S, n] ones at the k samples of each subset."""
    if comb(num_samples, k) <= at_most:
        chosen_Sk = np.array(list(combinations(range(num_samples), k)))
    else:
        chosen_Sk = rng.random((at_most, num_samples)).argsort(axis=1)[:, :k]
    subsets_Sn = np.zeros((len(chosen_Sk), num_samples), np.float32)
    np.put_along_axis(subsets_Sn, chosen_Sk, 1.0, axis=1)
    return subsets_Sn


def _credits(
    answers: Sequence[Sequence[str | None]], correct_Pn: NDArray[np.bool_], subsets_Sn: Votes
) -> Floats:
    """[P] mean credit over the subsets."""
    ballots_An, prompt_A = _ballots(answers)
    first_P = np.searchsorted(prompt_A, np.arange(len(answers)))
    votes_AS = ballots_An @ subsets_Sn.T
    right_AS = (ballots_An * correct_Pn[prompt_A]) @ subsets_Sn.T
    most_PS = np.maximum.reduceat(votes_AS, first_P, axis=0)
    won_AS = votes_AS == most_PS[prompt_A]
    all_PS = np.add.reduceat(votes_AS * won_AS, first_P, axis=0)
    right_PS = np.add.reduceat(right_AS * won_AS, first_P, axis=0)
    credit_PS = np.divide(right_PS, all_PS, dtype=np.float64)
    return np.asarray(credit_PS.mean(axis=1), np.float64)


def _ballots(answers: Sequence[Sequence[str | None]]) -> tuple[Votes, NDArray[np.int64]]:
    """[A, n] weight of each sample's vote for each answer, and [A] the prompt the answer is of.

    Samples without an answer are one candidate whose votes are too small to beat a single other.
    """
    num_samples = len(answers[0])
    numbers: dict[tuple[int, str | None], int] = {}
    row_Pn = np.array(
        [
            [numbers.setdefault((prompt, answer), len(numbers)) for answer in row]
            for prompt, row in enumerate(answers)
        ]
    )
    faint = 2.0 ** -num_samples.bit_length()
    weight_A = np.array([faint if answer is None else 1.0 for _, answer in numbers])
    ballots_An = np.zeros((len(numbers), num_samples), np.float32)
    ballots_An[row_Pn, np.arange(num_samples)] = weight_A[row_Pn]
    return ballots_An, np.array([prompt for prompt, _ in numbers])
