"""A validation by domain, against numbers worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.evaluation.validation import JudgedSample, domain_names, validate


def samples(domain: str, *groups: str, score: float | None = None) -> list[JudgedSample]:
    """One prompt for each word of 0s and 1s, one sample for each of its letters."""
    return [
        JudgedSample(
            uid=f"{domain} {place}",
            domain=domain,
            accuracy=float(letter),
            score=float(letter) if score is None else score,
        )
        for place, group in enumerate(groups)
        for letter in group
    ]


def test_metrics_are_those_worked_out_by_hand():
    # logic: 3 of 8 right; pass@2 of 1/4: 1 - C(3,2)/C(4,2) = 1/2, of 2/4: 1 - 1/6; mean 2/3.
    found = validate([*samples("logic", "1000", "0110", score=0.5), *samples("days", "1")])
    assert found.metrics() == pytest.approx(
        {
            "val/accuracy": 4 / 9,
            "val/n": 3,
            "val/blended": (3 / 8 + 1) / 2,
            "val/logic/accuracy": 3 / 8,
            "val/logic/score": 0.5,
            "val/logic/n": 2,
            "val/logic/pass@1": 3 / 8,
            "val/logic/pass@2": 2 / 3,
            "val/logic/pass@4": 1.0,
            "val/days/accuracy": 1.0,
            "val/days/score": 1.0,
            "val/days/n": 1,
        }
    )
    assert found.accuracy_by_domain == {"days": 1.0, "logic": 3 / 8}


def test_weights_blend_the_domains_whatever_their_sizes():
    judged = [*samples("a", "1"), *samples("b", *"0000")]
    assert validate(judged).blended == 0.5
    assert validate(judged, weights={"a": 3, "b": 1}).blended == 0.75
    assert validate(judged, weights={"a": 0, "b": 2}).blended == 0


@pytest.mark.parametrize(
    ("weights", "line"),
    [
        ({"a": 1}, "weights for a, domains a, b: give every domain one weight"),
        ({"a": 1, "b": 1, "c": 1}, "weights for a, b, c, domains a, b"),
        ({"a": -1, "b": 2}, "give numbers of 0 or more, one above 0"),
        ({"a": 0, "b": 0}, "give numbers of 0 or more, one above 0"),
        ({"a": math.nan, "b": 1}, "give numbers of 0 or more, one above 0"),
        ({"a": math.inf, "b": 1}, "give numbers of 0 or more, one above 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, line):
    with pytest.raises(ValueError, match=line):
        validate([*samples("a", "1"), *samples("b", "0")], weights=weights)


def test_a_validation_without_samples_is_refused():
    with pytest.raises(ValueError, match="without samples: give it 1 row or more"):
        validate([])


def test_pass_at_k_goes_up_to_what_every_prompt_has():
    (only,) = validate(samples("a", "10", "0110")).domains
    assert list(only.pass_at) == [1, 2]


def test_partial_credit_is_no_correct_sample():
    partial = JudgedSample(uid="p", domain="code", accuracy=0.0, score=0.9)
    right = JudgedSample(uid="p", domain="code", accuracy=1.0, score=1.0)
    (only,) = validate([partial, right]).domains
    assert (only.accuracy, only.score, only.pass_at) == (0.5, 0.95, {1: 0.5, 2: 1.0})
    graded = JudgedSample(uid="q", domain="code", accuracy=0.5, score=0.5)
    assert validate([graded, graded]).domains[0].pass_at == {1: 0.0, 2: 0.0}


def test_domain_names_open_no_group_and_tell_no_folder():
    assert domain_names(["days", "openai/gsm8k", "/a/b/mine.py:Words"]) == {
        "days": "days",
        "openai/gsm8k": "openai_gsm8k",
        "/a/b/mine.py:Words": "mine.py_Words",
    }
    assert set(domain_names(["/a/mine.py:W", "/b/mine.py:W"]).values()) == {
        "a_mine.py_W",
        "b_mine.py_W",
    }


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["0", "1", "01", "110"])),
        min_size=1,
    ),
    st.randoms(use_true_random=False),
)
def test_order_does_not_matter_and_every_share_is_in_range(prompts, random):
    judged = [
        JudgedSample(uid=f"{place}", domain=domain, accuracy=float(x), score=float(x))
        for place, (domain, group) in enumerate(prompts)
        for x in group
    ]
    shuffled = random.sample(judged, len(judged))
    metrics = validate(judged).metrics()
    assert validate(shuffled).metrics() == pytest.approx(metrics)
    assert all(0 <= v <= 1 for name, v in metrics.items() if not name.endswith("/n"))
    assert sum(v for k, v in metrics.items() if k.endswith("/n") and k != "val/n") == len(prompts)
