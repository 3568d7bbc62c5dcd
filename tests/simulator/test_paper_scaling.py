"""The paper's scaling figures: the shipped unknowns meet them, and say how far they are off."""

import dataclasses
import functools

import numpy as np
import pytest

from copris_core.simulator.paper_scaling import (
    FITTED,
    FITTED_ON,
    FULL,
    POINTS,
    QUICK,
    CutLengths,
    Effort,
    Point,
    Row,
    Unknowns,
    markdown,
    simulate,
    table,
)

pytestmark = pytest.mark.slow  # whole sweeps of the simulator


@functools.cache
def _quick() -> dict[str, Row]:
    return {row.point.name: row for row in table(effort=QUICK)}


@pytest.mark.slow
def test_the_shipped_unknowns_come_near_all_eight_points() -> None:
    # Five steps leave some percent of noise; the full effort, below, keeps all within 10%.
    assert all(abs(row.error) < 0.14 for row in _quick().values())


@pytest.mark.slow
def test_the_gain_grows_with_the_context() -> None:
    gains = [_quick()[name].ratio for name in ("8K", "16K", "24K", "32K", "40K")]
    assert gains == sorted(gains)
    assert gains[-1] > 1.7 * gains[0]


@pytest.mark.slow
def test_all_eight_are_within_ten_percent_and_the_fitted_two_are_met() -> None:
    rows = {row.point.name: row for row in table(effort=FULL)}
    assert max(abs(row.error) for row in rows.values()) < 0.10
    assert all(abs(rows[name].error) < 0.02 for name in FITTED_ON)


def test_exactly_two_of_the_eight_points_are_fitted() -> None:
    fitted = [row.point.name for row in _quick().values() if row.is_fitted]
    assert (len(POINTS), fitted) == (8, list(FITTED_ON))


def test_a_published_ratio_is_that_of_the_published_rates() -> None:
    # they are printed to two digits, the rates are read off a picture
    for point in POINTS:
        assert point.ratio == pytest.approx(point.copris_rate / point.sync_rate, rel=0.02)


def test_the_table_shows_every_residual_and_names_the_fitted_ones() -> None:
    text = markdown(list(_quick().values()))
    for row in _quick().values():
        assert f"{row.ratio:.2f}x | {row.error:+.0%}" in text
    assert all(f"| {name} (fitted) |" in text for name in FITTED_ON)
    assert text.count("(fitted)") == 2
    worst = max((row for row in _quick().values() if not row.is_fitted), key=lambda r: abs(r.error))
    assert f"off of the others: {worst.point.name}, {worst.error:+.0%}" in text
    assert "do not agree" in text
    assert "chosen with all eight errors in view" in text
    assert "1.5B is the simulation of 16K again" in text


def test_the_smallest_model_is_the_simulation_of_the_scripts_context_again() -> None:
    ratios = {name: _quick()[name].ratio for name in ("16K", "1.5B")}
    assert ratios["16K"] == ratios["1.5B"]


def test_seconds_outside_generation_lengthen_both_steps_alike() -> None:
    point: Point = POINTS[0]
    effort = Effort(warm_up=1, steps=2)
    bare = simulate(point, Unknowns(median=FITTED.median, rest_s=0.0), effort=effort)
    more = simulate(point, dataclasses.replace(FITTED, rest_s=50.0), effort=effort)
    assert more.sync_s - bare.sync_s == pytest.approx(50.0)
    assert more.copris_s - bare.copris_s == pytest.approx(50.0)


@pytest.mark.parametrize(("median", "cap"), [(1000.0, 7168), (9000.0, 7168), (1000.0, 10**8)])
def test_the_mean_of_cut_lengths_is_that_of_their_draws(median: float, cap: int) -> None:
    lengths = CutLengths(median=median, cap=cap)
    rng = np.random.default_rng(0)
    drawn = [length for _ in range(4000) for length in lengths.draw(rng, 8)]
    assert max(drawn) <= cap
    # groups share half of the variance: 4000 of them give the mean to a few percent
    assert float(np.mean(drawn)) == pytest.approx(lengths.mean, rel=0.05)
