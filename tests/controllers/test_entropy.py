"""Entropy control: the trend of two windows, the published rule, the bounds."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.controllers.entropy import EntropyConfig, EntropyControl, Trend

ENTROPIES = st.lists(st.floats(0, 3), max_size=40)


def _control(**changed: Any) -> EntropyControl:
    return EntropyControl(EntropyConfig(**changed))


def _observe(control: EntropyControl, entropies: list[float]) -> list[float]:
    return [control.observe(entropy) for entropy in entropies]


def test_a_trend_is_the_newer_window_less_the_older_one() -> None:
    # windows of 2: (1, 2 | 4, 6) -> 5 - 1.5 = 3.5, then (2, 4 | 6, 0) -> 3 - 3 = 0
    trend = Trend(2)
    assert [trend.observe(value) for value in (1.0, 2.0, 4.0, 6.0, 0.0)] == [
        None,
        None,
        None,
        3.5,
        0.0,
    ]
    assert Trend().state_dict() == {"values": []}


def test_the_metrics_trend_has_windows_of_ten() -> None:
    trend = Trend()
    assert [trend.observe(float(i >= 10)) for i in range(20)] == [None] * 19 + [1.0]


# Two windows of 5; the newer is off by 'step' from the older. Below -.1 -> x 1.2, above .05 -> x .9
@pytest.mark.parametrize(
    ("step", "coefficient"),
    [(-0.125, 0.012), (-0.0625, 0.01), (0.0, 0.01), (0.03125, 0.01), (0.0625, 0.009)],
)
def test_ten_entropies_move_the_coefficient_as_the_public_recipe_does(
    step: float, coefficient: float
) -> None:
    control = _control()
    assert _observe(control, [1.0] * 5 + [1.0 + step] * 4) == [0.01] * 9
    assert control.trend is None
    assert control.observe(1.0 + step) == pytest.approx(coefficient)
    assert control.trend == pytest.approx(step)


def test_the_bands_are_open() -> None:
    control = _control(window=1, fall_below=-0.5, rise_above=0.5)
    assert _observe(control, [1.0, 0.5, 1.0]) == [0.01] * 3
    assert control.observe(0.25) == pytest.approx(0.012)


def test_a_long_fall_ends_at_the_maximum_and_a_long_rise_at_the_minimum() -> None:
    control = _control(window=1)
    assert _observe(control, [60.0 - i for i in range(30)])[-1] == 0.1
    assert _observe(control, [100.0 + i for i in range(60)])[-1] == 0.001


@given(entropies=ENTROPIES, window=st.integers(1, 6), up=st.floats(1, 50), down=st.floats(0.01, 1))
def test_the_coefficient_never_leaves_its_bounds(
    entropies: list[float], window: int, up: float, down: float
) -> None:
    control = _control(window=window, raise_factor=up, lower_factor=down)
    assert all(0.001 <= c <= 0.1 for c in _observe(control, entropies))


@given(before=ENTROPIES, after=ENTROPIES)
def test_a_restored_control_goes_on_as_the_first_would(
    before: list[float], after: list[float]
) -> None:
    first, second = _control(window=3), _control(window=3)
    _observe(first, before)
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    assert second.trend == first.trend
    assert _observe(second, after) == _observe(first, after)
    assert second.state_dict() == first.state_dict()


def test_a_narrower_window_keeps_the_newest_entropies() -> None:
    wide, narrow = _control(window=4), _control(window=1)
    _observe(wide, [5.0, 4.0, 3.0, 2.5])
    narrow.load_state_dict(wide.state_dict())
    assert narrow.trend == -0.5


@pytest.mark.parametrize(
    "state",
    [
        {"coefficient": 0.01},
        {"coefficient": 0.01, "trend": []},
        {"coefficient": 0.01, "trend": {"values": None}},
        {"coefficient": 0.01, "trend": {"values": [1.0, math.nan]}},
        {"coefficient": 0.01, "trend": {"values": [False]}},
        {"coefficient": 1.0, "trend": {"values": []}},
    ],
)
def test_a_malformed_state_changes_nothing(state: dict[str, Any]) -> None:
    control = _control()
    _observe(control, [1.0] * 5 + [0.5] * 7)
    before = control.state_dict()
    with pytest.raises(ValueError, match="field '"):
        control.load_state_dict(state)
    assert control.state_dict() == before


def test_an_entropy_that_is_not_finite_is_refused_and_moves_nothing() -> None:
    control = _control()
    _observe(control, [1.0] * 3)
    before = control.state_dict()
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="lower the learning rate"):
            control.observe(wrong)
    assert control.state_dict() == before


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"initial": 0.0, "minimum": 0.0}, "initial"),
        ({"initial": 0.2}, "initial"),
        ({"window": 0}, "window"),
        ({"fall_below": 0.1}, "fall_below"),
        ({"rise_above": -0.1}, "fall_below"),
        ({"fall_below": math.nan}, "fall_below"),
        ({"raise_factor": 0.5}, "lower_factor"),
        ({"lower_factor": 0.0}, "lower_factor"),
    ],
)
def test_a_config_that_cannot_follow_a_trend_is_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"entropy_control.{field}="):
        EntropyConfig(**wrong)
    with pytest.raises(ValueError, match="window=0"):
        Trend(0)
