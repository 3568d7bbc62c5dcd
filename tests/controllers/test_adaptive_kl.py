"""KL control: the published rule, the bounds, and what a saved state may hold."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.controllers.adaptive_kl import AdaptiveKL, AdaptiveKLConfig, FixedKL

KLS = st.lists(st.floats(-1, 2), max_size=60)


def _control(**changed: float) -> AdaptiveKL:
    return AdaptiveKL(AdaptiveKLConfig(**changed))


# init .01, target .05: high is above .075 (x 1.2), low is below .025 (x .9), both strictly.
@pytest.mark.parametrize(
    ("kl", "coefficient"),
    [
        (0.076, 0.012),
        (0.5, 0.012),
        (1.5 * 0.05, 0.01),
        (0.05, 0.01),
        (0.5 * 0.05, 0.01),
        (0.024, 0.009),
        (0.0, 0.009),
        (-0.3, 0.009),
    ],
)
def test_one_update_moves_the_coefficient_as_the_public_recipe_does(
    kl: float, coefficient: float
) -> None:
    control = _control()
    assert control.observe(kl) == control.coefficient == pytest.approx(coefficient, rel=1e-12)


def test_a_long_excess_ends_at_the_bounds_exactly() -> None:
    # .01 * 1.2^12 = .0892, 1.2^13 -> .107 > .1;  .01 * .9^21 = .00109, .9^22 -> .00098 < .001
    control = _control()
    rising = [control.observe(1.0) for _ in range(14)]
    assert rising[11] == pytest.approx(0.01 * 1.2**12)
    assert rising[12:] == [0.1, 0.1]
    control.restart()
    assert control.coefficient == 0.01
    falling = [control.observe(0.0) for _ in range(23)]
    assert falling[20] == pytest.approx(0.01 * 0.9**21)
    assert falling[21:] == [0.001, 0.001]


@given(kls=KLS, initial=st.floats(0.001, 0.1), up=st.floats(1, 50), down=st.floats(0.01, 1))
def test_the_coefficient_never_leaves_its_bounds(
    kls: list[float], initial: float, up: float, down: float
) -> None:
    control = _control(initial=initial, raise_factor=up, lower_factor=down)
    for kl in kls:
        assert 0.001 <= control.observe(kl) <= 0.1


@given(before=KLS, after=KLS)
def test_a_restored_control_goes_on_as_the_first_would(
    before: list[float], after: list[float]
) -> None:
    first, second = _control(), _control(initial=0.05)
    for kl in before:
        first.observe(kl)
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    assert second.coefficient == first.coefficient
    assert [second.observe(kl) for kl in after] == [first.observe(kl) for kl in after]


@pytest.mark.parametrize("kl", [math.nan, math.inf, -math.inf])
def test_a_kl_that_is_not_finite_is_refused_and_moves_nothing(kl: float) -> None:
    control = _control()
    control.observe(1.0)
    before = control.coefficient
    with pytest.raises(ValueError, match="lower the learning rate"):
        control.observe(kl)
    assert control.coefficient == before
    with pytest.raises(ValueError, match="lower the learning rate"):
        FixedKL(0.1).observe(kl)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"coefficient": None},
        {"coefficient": "0.01"},
        {"coefficient": True},
        {"coefficient": math.nan},
        {"coefficient": 0.0009},
        {"coefficient": 0.11},
        {"coefficient": 10**400},
    ],
)
def test_a_state_that_is_malformed_or_out_of_bounds_changes_nothing(state: dict[str, Any]) -> None:
    control = _control()
    control.observe(1.0)
    with pytest.raises(ValueError, match=r"field 'coefficient' is .* not a number in"):
        control.load_state_dict(state)
    assert control.coefficient == pytest.approx(0.012)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"minimum": 0.0}, "initial"),
        ({"minimum": 0.02}, "initial"),
        ({"maximum": 0.005}, "initial"),
        ({"initial": math.nan}, "initial"),
        ({"maximum": math.inf}, "initial"),
        ({"target": 0.0}, "target"),
        ({"raise_factor": 0.9}, "lower_factor"),
        ({"lower_factor": 1.1}, "lower_factor"),
        ({"lower_factor": 0.0}, "lower_factor"),
        ({"lower_below": 2.0}, "lower_below"),
        ({"lower_below": -0.1}, "lower_below"),
    ],
)
def test_a_config_that_cannot_hold_a_target_is_refused(wrong: dict[str, float], field: str) -> None:
    with pytest.raises(ValueError, match=f"kl_control.{field}="):
        AdaptiveKLConfig(**wrong)


def test_a_fixed_coefficient_stays_and_remembers_nothing() -> None:
    control = FixedKL(0.04)
    assert [control.observe(kl) for kl in (0.0, 9.0)] == [0.04, 0.04]
    control.restart()
    control.load_state_dict(control.state_dict())
    assert control.coefficient == 0.04
    with pytest.raises(ValueError, match="has no state, got coefficient"):
        control.load_state_dict({"coefficient": 0.01})
    for wrong in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"kl_control\.initial=.* must be 0 or more"):
            FixedKL(wrong)
