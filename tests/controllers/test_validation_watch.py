"""Validation verdicts: the blend over domains, degraded, stalled, and the two yardsticks."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.controllers.validation_watch import ValidationTrigger, ValidationWatch, blended

SCORES = st.lists(st.floats(0, 1), max_size=25)


def _watch(**changed: Any) -> ValidationWatch:
    return ValidationWatch(ValidationTrigger(**changed))


def _verdicts(watch: ValidationWatch, scores: list[float]) -> list[tuple[str, ...]]:
    found = []
    for score in scores:
        watch.record({"math": score})
        found.append(tuple(watch.verdicts()))
    return found


# ---- the blend ----


def test_the_blend_weighs_domains_alike_or_by_normalised_weights() -> None:
    scores = {"math": 0.75, "code": 0.25, "logic": 0.5}
    assert blended(scores, None) == 0.5
    # (2 * .75 + 1 * .25 + 1 * .5) / 4
    assert blended(scores, {"math": 2, "code": 1, "logic": 1}) == pytest.approx(0.5625)
    assert blended(scores, {"math": 0.0, "code": 7.0, "logic": 0.0}) == pytest.approx(0.25)


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_perfect_domains_blend_to_no_more_than_one(weights: list[float]) -> None:
    by_domain = {f"domain {number}": weight for number, weight in enumerate(weights)}
    blend = blended(dict.fromkeys(by_domain, 1.0), by_domain)
    assert blend == pytest.approx(1.0)
    assert blend <= 1.0


def test_domains_without_a_weight_and_weights_without_a_domain_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lacks \[code\] and adds \[\] against .*weights"):
        blended({"math": 0.5}, {"math": 1, "code": 1})
    with pytest.raises(ValueError, match=r"lacks \[\] and adds \[code\] against .*weights"):
        blended({"math": 0.5, "code": 0.5}, {"math": 1})


def test_scores_that_are_no_means_are_refused() -> None:
    with pytest.raises(ValueError, match="without a domain"):
        blended({}, None)
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="validation of code is"):
            blended({"math": 0.5, "code": wrong}, None)


def test_a_validation_of_other_domains_than_before_changes_nothing() -> None:
    watch = _watch()
    watch.record({"math": 0.5, "code": 0.7})
    before = watch.state_dict()
    with pytest.raises(ValueError, match=r"lacks \[code\] and adds \[\] against the validations"):
        watch.record({"math": 0.9})
    with pytest.raises(ValueError, match=r"adds \[stem\]"):
        watch.record({"math": 0.9, "code": 0.7, "stem": 0.1})
    assert watch.state_dict() == before


# ---- degraded ----


def test_degraded_is_a_window_whose_every_score_is_below_a_share_of_the_best() -> None:
    watch = _watch(window=2, min_delta=None)
    # bounds: .95 * .8 = .76, then .95 * .9 = .855
    assert _verdicts(watch, [0.8, 0.7, 0.9, 0.82, 0.86, 0.85, 0.85]) == [
        (),
        (),
        (),
        (),
        (),
        (),
        ("validation_degraded",),
    ]


def test_a_score_that_rises_quickly_is_never_degraded() -> None:
    watch = _watch(window=3, min_delta=None)
    assert _verdicts(watch, [0.1, 0.2, 0.4, 0.8, 0.82, 0.84]) == [()] * 6


def test_degraded_waits_for_a_whole_window_and_says_its_numbers() -> None:
    watch = _watch(window=3, min_delta=None)
    assert _verdicts(watch, [0.8, 0.2, 0.3]) == [(), (), ()]
    watch.record({"math": 0.2})
    assert watch.verdicts()["validation_degraded"] == (
        "validation degraded: the best of the last 3 is 0.3, below 0.95 of the best of all, 0.8"
    )


# ---- stalled ----


def test_stalled_is_a_window_without_progress() -> None:
    watch = _watch(window=2, degraded_factor=None)
    assert _verdicts(watch, [0.5, 0.5, 0.4, 0.45, 0.51, 0.51, 0.51]) == [
        (),
        (),
        ("validation_stalled",),
        ("validation_stalled",),
        (),
        (),
        ("validation_stalled",),
    ]
    assert watch.verdicts()["validation_stalled"] == (
        "validation stalled: 2 without beating 0.51 by more than 0"
    )


def test_small_steps_are_progress_when_their_sum_exceeds_the_delta() -> None:
    # mark .5; .53 and .5625 are within .0625 of it, .5625 exactly so; .57 is the next mark
    watch = _watch(window=3, degraded_factor=None, min_delta=0.0625)
    assert _verdicts(watch, [0.5, 0.53, 0.5625, 0.57, 0.57, 0.57, 0.57]) == [
        (),
        (),
        (),
        (),
        (),
        (),
        ("validation_stalled",),
    ]
    assert watch.best == 0.57


def test_the_best_is_the_largest_score_also_when_it_is_no_progress() -> None:
    watch = _watch(min_delta=0.1)
    _verdicts(watch, [0.5, 0.55, 0.4])
    assert watch.best == 0.55


# ---- after a reset ----


def test_a_drop_for_good_is_degraded_once_if_the_best_is_sought_anew() -> None:
    watch = _watch(window=2, min_delta=None)
    assert _verdicts(watch, [0.8, 0.4, 0.4]) == [(), (), ("validation_degraded",)]
    watch.restart()
    assert watch.best is None
    assert _verdicts(watch, [0.4] * 20) == [()] * 20


def test_a_drop_for_good_is_degraded_again_each_window_if_the_best_is_kept() -> None:
    watch = _watch(window=2, min_delta=None, best_after_reset="keep")
    _verdicts(watch, [0.8, 0.4, 0.4])
    for _ in range(3):
        watch.restart()
        assert watch.best == 0.8
        assert _verdicts(watch, [0.4, 0.4]) == [(), ("validation_degraded",)]


@pytest.mark.parametrize(("best", "validations"), [("restart", 3), ("keep", 2)])
def test_a_stall_is_counted_anew_after_a_reset(best: str, validations: int) -> None:
    # anew, the first validation sets the mark and two more fail to beat it
    watch = _watch(window=2, degraded_factor=None, best_after_reset=best)
    _verdicts(watch, [0.5, 0.5, 0.5])
    watch.restart()
    found = _verdicts(watch, [0.5] * validations)
    assert found == [()] * (validations - 1) + [("validation_stalled",)]


# ---- across a restart of the run, and what is refused ----


@given(before=SCORES, after=SCORES, best=st.sampled_from(["restart", "keep"]))
def test_a_restored_watch_goes_on_as_the_first_would(
    before: list[float], after: list[float], best: str
) -> None:
    first, second = (_watch(window=3, best_after_reset=best) for _ in range(2))
    for number, score in enumerate(before):
        first.record({"math": score})
        if number % 7 == 6:
            first.restart()
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    assert _verdicts(second, after) == _verdicts(first, after)
    assert second.state_dict() == first.state_dict()


@pytest.mark.parametrize(
    "wrong",
    [
        {"scores": [1.5]},
        {"scores": None},
        {"best": "high"},
        {"mark": math.nan},
        {"mark": None, "without_progress": 2},
        {"without_progress": -1},
        {"without_progress": True},
        {"domains": "math"},
        {"domains": [1]},
    ],
)
def test_a_malformed_state_changes_nothing(wrong: dict[str, Any]) -> None:
    watch = _watch()
    _verdicts(watch, [0.5, 0.6, 0.4])
    before = watch.state_dict()
    with pytest.raises(ValueError, match=r"field '|on no mark"):
        watch.load_state_dict(before | wrong)
    missing = {name: value for name, value in before.items() if name != "best"}
    with pytest.raises(ValueError, match="field 'best'"):
        watch.load_state_dict(missing)
    assert watch.state_dict() == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window": 0}, "window=0"),
        ({"degraded_factor": None, "min_delta": None}, "never fires"),
        ({"degraded_factor": 0.0}, "degraded_factor=0.0"),
        ({"degraded_factor": 1.1}, "degraded_factor=1.1"),
        ({"min_delta": -0.1}, "min_delta=-0.1"),
        ({"min_delta": 1.0}, "min_delta=1.0"),
        ({"weights": {"math": -1.0}}, "weights of math"),
        ({"weights": {"math": math.nan}}, "weights of math"),
        ({"weights": {"math": 0.0}}, "weights of every domain"),
        ({"weights": {}}, "weights of every domain"),
        ({"best_after_reset": "forget"}, "one of restart, keep"),
    ],
)
def test_a_trigger_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"reference_reset.*{message}"):
        ValidationTrigger(**wrong)
