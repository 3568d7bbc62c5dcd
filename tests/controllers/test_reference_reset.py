"""Reference resets: each trigger, their combinations, the spacing between them, the saved state."""

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.controllers.reference_reset import ReferenceReset, ResetConfig, ResetOrder
from copris_core.controllers.validation_watch import ValidationTrigger

REASONS = {"interval", "kl", "validation_degraded", "validation_stalled"}
VALIDATION = ValidationTrigger(window=2)


def _reset(**changed: Any) -> ReferenceReset:
    return ReferenceReset(ResetConfig(**changed))


def _steps(reset: ReferenceReset, kls: list[float | None], *, first: int = 1) -> list[int]:
    """Steps at which there was an order."""
    orders = [reset.on_step(first + number, kl) for number, kl in enumerate(kls)]
    return [order.step for order in orders if order is not None]


# ---- each trigger ----


def test_an_interval_counts_from_the_last_reset_and_from_the_start() -> None:
    reset = _reset(interval=4)
    assert _steps(reset, [0.0] * 13) == [4, 8, 12]
    assert (reset.count, reset.last_reset, reset.steps_since_reset) == (3, 12, 1)


def test_kl_above_its_bound_asks_for_a_reset_and_at_its_bound_does_not() -> None:
    reset = _reset(kl_above=0.1)
    assert reset.on_step(1, 0.1) is None
    assert reset.on_step(2, None) is None
    assert reset.on_step(3, 0.25) == ResetOrder(
        step=3,
        reasons=("kl",),
        sentence="reset 1 at step 3: KL 0.25 is above 0.1",
        reset_optimizer=False,
    )


def test_a_degraded_validation_asks_for_a_reset() -> None:
    reset = _reset(validation=ValidationTrigger(window=2, min_delta=None), reset_optimizer=True)
    assert reset.on_validation(10, {"math": 0.8, "code": 0.6}) is None
    assert reset.best == reset.blended == pytest.approx(0.7)
    assert reset.on_validation(20, {"math": 0.4, "code": 0.4}) is None
    order = reset.on_validation(30, {"math": 0.5, "code": 0.4})
    assert order is not None
    assert (order.step, order.reasons, order.reset_optimizer) == (
        30,
        ("validation_degraded",),
        True,
    )
    assert order.sentence == (
        "reset 1 at step 30: validation degraded: the best of the last 2 is 0.45, below 0.95 of "
        "the best of all, 0.7"
    )
    assert reset.best is None


def test_a_stalled_validation_asks_for_a_reset() -> None:
    reset = _reset(validation=ValidationTrigger(window=2, degraded_factor=None))
    orders = [reset.on_validation(step, {"math": 0.5}) for step in (0, 10, 20)]
    assert [order and order.reasons for order in orders] == [None, None, ("validation_stalled",)]


def test_triggers_that_hold_together_give_one_reset_with_every_reason() -> None:
    reset = _reset(interval=3, kl_above=0.1, validation=VALIDATION, min_spacing=3)
    reset.on_validation(0, {"math": 0.8})
    reset.on_step(1, 0.0)
    reset.on_validation(1, {"math": 0.2})
    assert reset.on_validation(2, {"math": 0.2}) is None
    order = reset.on_step(3, 0.5)
    assert order is not None
    assert order.reasons == ("interval", "kl", "validation_degraded", "validation_stalled")
    assert order.sentence.startswith(
        "reset 1 at step 3: 3 steps since the last, of an interval of 3; KL 0.5 is above 0.1; valid"
    )
    assert reset.count == 1


# The public recipe: step - last >= 100 or KL > .1, and the last reset is the step of either.
def test_interval_and_kl_together_give_the_public_recipes_steps() -> None:
    kls = [0.3 if step in (60, 250) else 0.02 for step in range(1, 401)]
    assert _steps(_reset(interval=100, kl_above=0.1), kls) == [60, 160, 250, 350]


# ---- spacing ----


def test_the_spacing_holds_a_trigger_back_until_it_is_over() -> None:
    reset = _reset(kl_above=0.1, min_spacing=5)
    assert _steps(reset, [0.2] * 12) == [5, 10]


def test_a_trigger_that_no_longer_holds_when_the_spacing_is_over_is_forgotten() -> None:
    reset = _reset(kl_above=0.1, min_spacing=5)
    assert _steps(reset, [0.2] * 4 + [0.0] * 4) == []


def test_a_validation_held_back_fires_at_the_first_step_that_may() -> None:
    reset = _reset(validation=VALIDATION, min_spacing=5)
    reset.on_validation(1, {"math": 0.8})
    assert reset.on_validation(2, {"math": 0.2}) is None
    assert reset.on_validation(3, {"math": 0.2}) is None
    assert _steps(reset, [0.0] * 6, first=3) == [5]


def test_the_kl_to_the_old_reference_does_not_ask_again() -> None:
    reset = _reset(kl_above=0.1, min_spacing=1)
    assert reset.on_step(4, 0.2) is not None
    assert reset.on_validation(4, {"math": 0.5}) is None
    assert reset.on_validation(9, {"math": 0.5}) is None


# ---- steps and validations in order ----


def test_a_step_that_goes_back_changes_nothing() -> None:
    reset = _reset(interval=2, validation=VALIDATION)
    reset.on_step(7, 0.0)
    before = reset.state_dict()
    with pytest.raises(ValueError, match="step 6 came after step 7"):
        reset.on_step(6, 9.0)
    with pytest.raises(ValueError, match="step 6 came after step 7"):
        reset.on_validation(6, {"math": 0.5})
    assert reset.state_dict() == before


def test_facts_that_cannot_be_judged_change_nothing() -> None:
    reset = _reset(kl_above=0.1, validation=VALIDATION)
    reset.on_validation(1, {"math": 0.5})
    before = reset.state_dict()
    with pytest.raises(ValueError, match="KL to the reference is nan"):
        reset.on_step(2, math.nan)
    with pytest.raises(ValueError, match=r"lacks \[math\]"):
        reset.on_validation(2, {"code": 0.5})
    with pytest.raises(ValueError, match="validation of math is 2"):
        reset.on_validation(2, {"math": 2.0})
    assert reset.state_dict() == before


def test_a_second_validation_of_the_same_step_is_no_news() -> None:
    reset = _reset(validation=ValidationTrigger(window=1))
    reset.on_validation(5, {"math": 0.8})
    before = reset.state_dict()
    assert reset.on_validation(5, {"math": 0.1}) is None
    assert reset.state_dict() == before


def test_a_validation_is_blended_also_where_no_trigger_asks_for_it() -> None:
    reset = _reset(interval=5)
    assert reset.blended is None
    reset.on_validation(1, {"math": 0.5, "code": 1.0})
    assert (reset.blended, reset.best) == (0.75, None)


# ---- properties ----

EVENTS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.one_of(st.none(), st.floats(-0.1, 0.3)),
        st.one_of(st.none(), st.floats(0, 1)),
    ),
    max_size=60,
)
CONFIGS = st.builds(
    ResetConfig,
    interval=st.one_of(st.none(), st.integers(6, 20)),
    kl_above=st.one_of(st.none(), st.floats(0.05, 0.2)),
    validation=st.builds(
        ValidationTrigger,
        window=st.integers(1, 4),
        min_delta=st.sampled_from([0.0, 0.05]),
        best_after_reset=st.sampled_from(["restart", "keep"]),
    ),
    min_spacing=st.integers(1, 6),
)


def _play(reset: ReferenceReset, events: list[Any], *, first: int = 0) -> list[ResetOrder]:
    step, orders = first, []
    for ahead, kl, score in events:
        step += ahead
        orders.append(reset.on_step(step, kl))
        if score is not None:
            orders.append(reset.on_validation(step, {"math": score}))
    return [order for order in orders if order is not None]


@given(config=CONFIGS, events=EVENTS)
def test_orders_keep_their_spacing_and_none_is_without_a_reason(
    config: ResetConfig, events: list[Any]
) -> None:
    reset = ReferenceReset(config)
    orders = _play(reset, events)
    steps = [0, *(order.step for order in orders)]
    assert all(b - a >= config.min_spacing for a, b in itertools.pairwise(steps))
    assert all(order.reasons and set(order.reasons) <= REASONS for order in orders)
    assert (reset.count, reset.last_reset) == (len(orders), steps[-1])
    if config.interval is not None:
        assert reset.steps_since_reset < config.interval


@given(config=CONFIGS, events=EVENTS, cut=st.integers(0, 60))
def test_a_restored_reset_gives_the_orders_of_the_uninterrupted_one(
    config: ResetConfig, events: list[Any], cut: int
) -> None:
    whole, first, second = (ReferenceReset(config) for _ in range(3))
    before = _play(first, events[:cut])
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    begun = sum(ahead for ahead, _, _ in events[:cut])
    assert before + _play(second, events[cut:], first=begun) == _play(whole, events)
    assert second.state_dict() == whole.state_dict()


# ---- what is refused ----


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": -1},
        {"step": 1.0},
        {"last_reset": 99},
        {"count": 99},
        {"kl": "high"},
        {"blended": 2.0},
        {"validated_step": 99},
        {"validation": None},
        {"validation": {"scores": []}},
    ],
)
def test_a_malformed_state_changes_nothing(wrong: dict[str, Any]) -> None:
    reset = _reset(interval=6, validation=VALIDATION)
    _play(reset, [(1, 0.1, 0.5)] * 8)
    before = reset.state_dict()
    with pytest.raises(ValueError, match=r"field '|another reference_reset\.validation"):
        reset.load_state_dict(before | wrong)
    assert reset.state_dict() == before


def test_a_state_of_a_run_with_another_trigger_is_refused() -> None:
    with pytest.raises(ValueError, match="resume with the same"):
        _reset(interval=5).load_state_dict(_reset(validation=VALIDATION).state_dict())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "no trigger"),
        ({"interval": 0}, "interval=0 is shorter"),
        ({"interval": 50, "min_spacing": 100}, "interval=50 is shorter than min_spacing=100"),
        ({"interval": 5, "min_spacing": 0}, "min_spacing=0"),
        ({"kl_above": 0.0}, "kl_above=0.0"),
        ({"kl_above": math.nan}, "kl_above=nan"),
    ],
)
def test_triggers_that_contradict_each_other_are_refused(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ResetConfig(**wrong)
