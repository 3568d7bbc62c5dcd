"""The parts of a prolonged run together: orders, metrics, and one state for all."""

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.controllers.adaptive_kl import AdaptiveKL, AdaptiveKLConfig, FixedKL
from copris_core.controllers.entropy import EntropyConfig, EntropyControl
from copris_core.controllers.length_schedule import Steps
from copris_core.controllers.prolonged import Orders, Prolonged, StepFacts
from copris_core.controllers.reference_reset import ReferenceReset, ResetConfig
from copris_core.controllers.validation_watch import ValidationTrigger

ALWAYS = {"prorl/kl_divergence", "prorl/entropy", "prorl/avg_response_length"}


def _facts(step: int, *, kl: float | None = 0.05, entropy: float | None = 1.0) -> StepFacts:
    return StepFacts(step=step, kl=kl, entropy=entropy, mean_length=100.0)


def _whole() -> Prolonged:
    config = ResetConfig(interval=7, validation=ValidationTrigger(window=2), min_spacing=3)
    return Prolonged(
        kl=AdaptiveKL(AdaptiveKLConfig()),
        reset=ReferenceReset(config),
        entropy=EntropyControl(EntropyConfig(window=2)),
        length=Steps(steps=((1, 512), (5, 1024))),
    )


def test_without_parts_nothing_is_controlled_and_only_what_was_measured_is_told() -> None:
    run = Prolonged()
    nothing = Orders(kl_coefficient=None, entropy_coefficient=None, reset=None)
    assert run.metrics() == {}
    assert run.orders() == run.on_step(_facts(1, kl=None)) == nothing
    assert run.response_budget(1) is None
    assert run.metrics() == {"prorl/entropy": 1.0, "prorl/avg_response_length": 100.0}
    assert run.on_validation(1, {"math": 0.5, "code": 1.0}) == nothing
    assert run.metrics()["prorl/blended_validation"] == 0.75


def test_coefficients_are_those_for_the_next_update() -> None:
    run = _whole()
    assert run.orders() == Orders(kl_coefficient=0.01, entropy_coefficient=0.01, reset=None)
    entropies = [2.0, 2.0, 1.0, 1.0]  # the trend is known from the fourth on: -1
    orders = [run.on_step(_facts(n + 1, kl=1.0, entropy=entropies[n])) for n in range(4)]
    assert [o.kl_coefficient for o in orders] == pytest.approx([0.012, 0.0144, 0.01728, 0.020736])
    assert [o.entropy_coefficient for o in orders] == pytest.approx([0.01, 0.01, 0.01, 0.012])
    assert run.orders() == orders[-1]


def test_what_was_not_measured_moves_no_coefficient() -> None:
    run = _whole()
    orders = run.on_step(_facts(1, kl=None, entropy=None))
    assert orders == Orders(kl_coefficient=0.01, entropy_coefficient=0.01, reset=None)
    assert not {"prorl/kl_divergence", "prorl/entropy"} & run.metrics().keys()


def test_after_a_reset_by_step_kl_control_starts_anew() -> None:
    run = _whole()
    orders = [run.on_step(_facts(step, kl=1.0)) for step in range(1, 9)]
    assert [order.reset is not None for order in orders] == [False] * 6 + [True, False]
    assert orders[5].kl_coefficient == pytest.approx(0.01 * 1.2**6)
    assert orders[6].kl_coefficient == 0.01
    assert orders[7].kl_coefficient == pytest.approx(0.012)


def test_after_a_reset_by_validation_kl_control_starts_anew() -> None:
    run = _whole()
    run.on_validation(0, {"math": 0.8})
    for step in range(1, 5):
        run.on_step(_facts(step, kl=1.0))
        if step == 2:
            run.on_validation(2, {"math": 0.1})
    orders = run.on_validation(4, {"math": 0.1})
    assert orders.reset is not None
    assert orders.reset.reasons == ("validation_degraded", "validation_stalled")
    assert orders.kl_coefficient == run.metrics()["prorl/kl_coefficient"] == 0.01
    assert orders.entropy_coefficient == 0.01
    assert run.metrics()["prorl/reset"] == 1


def test_the_metrics_are_the_prorl_names_and_unknown_ones_are_absent() -> None:
    run = _whole()
    run.on_step(_facts(1))
    assert run.metrics() == {
        "prorl/kl_divergence": 0.05,
        "prorl/kl_coefficient": 0.01,
        "prorl/reset_count": 0,
        "prorl/steps_since_reset": 1,
        "prorl/entropy": 1.0,
        "prorl/avg_response_length": 100.0,
        "prorl/response_budget": 512,
    }
    for step in range(2, 8):
        run.on_step(_facts(step))
    run.on_validation(7, {"math": 0.5, "code": 0.25})
    assert run.metrics() == {
        "prorl/kl_divergence": 0.05,
        "prorl/kl_coefficient": 0.01,
        "prorl/reset_count": 1,
        "prorl/reset": 1,
        "prorl/steps_since_reset": 0,
        "prorl/entropy": 1.0,
        "prorl/entropy_trend": 0.0,
        "prorl/avg_response_length": 100.0,
        "prorl/response_budget": 1024,
        "prorl/blended_validation": 0.375,
    }
    run.on_step(_facts(8))
    assert "prorl/reset" not in run.metrics()
    assert run.response_budget(4) == 512


def test_the_trend_is_told_without_entropy_control_too() -> None:
    run = Prolonged(kl=FixedKL(0.04))
    for step in range(1, 21):
        run.on_step(_facts(step, entropy=1.0 if step > 10 else 2.0))
    assert run.metrics()["prorl/entropy_trend"] == -1.0
    assert run.metrics()["prorl/kl_coefficient"] == 0.04


def test_a_step_that_does_not_ascend_changes_nothing() -> None:
    run = _whole()
    run.on_validation(0, {"math": 0.5})
    run.on_step(_facts(3, kl=1.0))
    before = run.state_dict()
    for step in (2, 3):
        with pytest.raises(ValueError, match=f"step {step} came after step 3"):
            run.on_step(_facts(step))
    for wrong in ({"code": 0.5}, {"math": math.nan}):
        with pytest.raises(ValueError, match="validation"):
            run.on_validation(3, wrong)
    with pytest.raises(ValueError, match="step 2 came after step 3"):
        run.on_validation(2, {"math": 0.5})
    assert run.state_dict() == before


def test_a_step_before_the_last_validation_moves_no_coefficient() -> None:
    run = _whole()
    run.on_validation(5, {"math": 0.6})
    before = run.state_dict()
    with pytest.raises(ValueError, match="step 4 came after step 5"):
        run.on_step(_facts(4, kl=1.0))
    assert run.state_dict() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": 0},
        {"kl": math.nan},
        {"entropy": math.inf},
        {"mean_length": math.nan},
        {"mean_length": -1.0},
    ],
)
def test_facts_that_no_update_can_measure_are_refused(wrong: dict[str, Any]) -> None:
    whole = {"step": 1, "kl": 0.1, "entropy": 1.0, "mean_length": 9.0}
    with pytest.raises(ValueError, match=r"step 0|not? longer finite|mean number"):
        StepFacts(**(whole | wrong))


# ---- across a restart ----

EVENTS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(0, 0.3)),
        st.one_of(st.none(), st.floats(0, 2)),
        st.one_of(st.none(), st.floats(0, 1)),
    ),
    max_size=25,
)


def _play(run: Prolonged, events: list[Any], *, first: int = 1) -> list[Any]:
    told: list[Any] = []
    for step, (kl, entropy, score) in enumerate(events, start=first):
        told.append(run.on_step(_facts(step, kl=kl, entropy=entropy)))
        if score is not None:
            told.append(run.on_validation(step, {"math": score}))
        told.append(run.metrics())
    return told


@given(events=EVENTS, cut=st.integers(0, 25))
def test_a_resumed_run_is_told_what_the_uninterrupted_one_is(events: list[Any], cut: int) -> None:
    first, second = _whole(), _whole()
    before = _play(first, events[:cut])
    state = json.loads(json.dumps(first.state_dict(), allow_nan=False))
    second.load_state_dict(state)
    assert second.metrics() == first.metrics()
    assert before + _play(second, events[cut:], first=len(events[:cut]) + 1) == _play(
        _whole(), events
    )


@given(events=EVENTS)
def test_the_same_facts_give_the_same_orders_and_bounded_coefficients(events: list[Any]) -> None:
    told = _play(_whole(), events)
    assert told == _play(_whole(), events)
    for orders in told:
        if isinstance(orders, Orders):
            assert 0.001 <= orders.kl_coefficient <= 0.1  # type: ignore[operator]
            assert 0.001 <= orders.entropy_coefficient <= 0.1  # type: ignore[operator]


def test_a_state_of_other_parts_is_refused_in_one_line() -> None:
    run = Prolonged(kl=FixedKL(0.1))
    with pytest.raises(
        ValueError, match=r"state of \[entropy, kl, reset\], this run has \[entropy_"
    ):
        run.load_state_dict(_whole().state_dict())
    with pytest.raises(ValueError, match="has no state, got coefficient"):
        run.load_state_dict(Prolonged(kl=AdaptiveKL(AdaptiveKLConfig())).state_dict())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("parts", "kl", "coefficient"), 7.0),
        (("parts", "kl"), None),
        (("parts", "reset", "count"), -1),
        (("parts", "entropy", "trend"), {}),
        (("parts",), []),
        (("last", "step"), 0),
        (("last", "mean_length"), None),
        (("blended",), "half"),
    ],
)
def test_a_malformed_part_leaves_every_part_as_it_was(path: tuple[str, ...], value: Any) -> None:
    source, run = _whole(), _whole()
    _play(source, [(0.3, 1.0, 0.5)] * 8)
    _play(run, [(0.0, 2.0, None)] * 3)
    before = run.state_dict()
    state = copy.deepcopy(source.state_dict())
    inner = state
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(ValueError, match=r"field '|step 0"):
        run.load_state_dict(state)
    assert run.state_dict() == before
