"""maj@k: by hand, by a plain loop over every subset, and by random subsets of many samples."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copris_core.evaluation.majority import majority_at_k


def majority(answers: list[str | None], k: int, *, right: str | None = "a", **changes) -> float:
    """maj@k of one prompt whose right answer is ``right``."""
    correct_Pn = np.array([[answer == right for answer in answers]])
    rng = np.random.default_rng(0)
    return float(majority_at_k([answers], correct_Pn, k, rng=rng, **changes)[0])


@pytest.mark.parametrize(
    ("answers", "k", "expected"),
    [
        ("aabc", 4, 1.0),  # two votes against one and one
        ("aabb", 4, 1 / 2),  # a tie is shared
        ("abbc", 4, 0.0),
        # of 6 pairs {a, a} wins, {a, b} twice and {a, c} twice tie, {b, c} loses
        ("aabc", 2, (1 + 4 / 2) / 6),
        # {a, a, b} and {a, a, c} win, {a, b, c} twice is a tie of three
        ("aabc", 3, (2 + 2 / 3) / 4),
        ("aabc", 1, 2 / 4),
        ("a", 1, 1.0),
    ],
)
def test_maj_at_k_is_what_it_is_by_hand(answers: str, k: int, expected: float) -> None:
    assert majority(list(answers), k) == pytest.approx(expected, abs=1e-9)


def test_a_sample_without_an_answer_has_no_vote() -> None:
    assert majority([None, None, None, "a"], 4) == 1.0
    # of 3 pairs {None, None} has nothing to vote with, and the other two elect a
    assert majority([None, None, "a"], 2) == pytest.approx(2 / 3)


def test_where_nobody_votes_the_credit_is_the_share_of_correct_samples() -> None:
    nobody = majority_at_k(
        [[None] * 4], np.array([[True, False, False, False]]), 4, rng=np.random.default_rng(0)
    )
    assert nobody == pytest.approx([1 / 4])


def test_an_answer_that_was_judged_both_ways_is_worth_its_share() -> None:
    both = majority_at_k(
        [["a", "a", "b"]], np.array([[True, False, False]]), 3, rng=np.random.default_rng(0)
    )
    assert both == pytest.approx([1 / 2])


def by_loop(answers: list[str | None], correct: list[bool], k: int) -> float:
    credits = []
    for chosen in combinations(range(len(answers)), k):
        voters = [i for i in chosen if answers[i] is not None] or list(chosen)
        votes = {answers[i]: sum(answers[j] == answers[i] for j in voters) for i in voters}
        winners = [i for i in voters if votes[answers[i]] == max(votes.values())]
        credits.append(np.mean([correct[i] for i in winners]))
    return float(np.mean(credits))


ROWS = st.integers(1, 6).flatmap(
    lambda n: st.lists(
        st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.booleans()), min_size=n)
        .map(lambda row: row[:n])
        .filter(lambda row: row),
        min_size=1,
        max_size=4,
    ).map(lambda rows: [row for row in rows if len(row) == len(rows[0])])
)


@settings(max_examples=40)
@given(ROWS, st.data())
def test_many_prompts_at_once_are_each_what_a_plain_loop_gives(rows, data) -> None:
    answers = [[answer for answer, _ in row] for row in rows]
    correct = [[verdict for _, verdict in row] for row in rows]
    k = data.draw(st.integers(1, len(rows[0])))

    found = majority_at_k(answers, np.array(correct), k, rng=np.random.default_rng(0))

    expected = [by_loop(a, c, k) for a, c in zip(answers, correct, strict=True)]
    assert found == pytest.approx(expected, abs=1e-6)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=7), st.data())
def test_the_order_of_samples_does_not_matter_where_all_subsets_are_counted(answers, data) -> None:
    k = data.draw(st.integers(1, len(answers)))
    shuffled = data.draw(st.permutations(answers))
    assert majority(shuffled, k) == pytest.approx(majority(answers, k), abs=1e-6)


def test_random_subsets_agree_with_all_of_them() -> None:
    answers: list[str | None] = [*"aaaaabbbccd", None]  # C(12, 6) = 924 subsets
    exact = majority(answers, 6, max_subsets=924)
    drawn = [
        float(
            majority_at_k(
                [answers],
                np.array([[answer == "a" for answer in answers]]),
                6,
                rng=np.random.default_rng(seed),
                max_subsets=300,
            )[0]
        )
        for seed in range(60)
    ]
    assert len(set(drawn)) > 30
    # one draw of credit in [0, 1] has sd < 1/2: of 60 x 300 draws the mean has < 0.004
    assert np.mean(drawn) == pytest.approx(exact, abs=0.012)


def test_more_prompts_than_fit_at_once_are_counted_in_parts(monkeypatch) -> None:
    rows = [list("aab"), list("abb"), list("abc"), list("aaa")]
    correct = np.array([[answer == "a" for answer in row] for row in rows])
    whole = majority_at_k(rows, correct, 2, rng=np.random.default_rng(0))
    monkeypatch.setattr("copris_core.evaluation.majority.CHUNK", 1)
    parts = majority_at_k(rows, correct, 2, rng=np.random.default_rng(0))
    assert parts.tolist() == whole.tolist()


@pytest.mark.parametrize("k", [0, 4])
def test_k_beyond_the_samples_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"maj@{k} of 3 samples .* give 1 <= k <= samples"):
        majority(list("aab"), k)


def test_answers_without_verdicts_are_refused() -> None:
    with pytest.raises(ValueError, match="one answer and one verdict for each sample"):
        majority_at_k([["a", "b"]], np.array([[True]]), 1, rng=np.random.default_rng(0))
