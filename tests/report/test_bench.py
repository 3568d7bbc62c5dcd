import json
from dataclasses import replace
from typing import Any

import pytest

from copris_core.report.bench import VERSION, BenchReport, BenchSetup, Failure
from copris_core.report.bench_cell import Cell
from copris_core.report.bench_goals import Goal, goals
from copris_core.report.bench_groups import Group, group_cells
from copris_core.report.bench_names import Batch
from copris_core.report.bench_stats import samples_within, seconds_for, spread
from tests.report.bench_house import BATCH, cell, engine, key, waterfall


def _setup(**changes: Any) -> BenchSetup:
    values: dict[str, Any] = {
        "workloads": ("longtail",),
        "batches": (BATCH,),
        "methods": ("sync", "copris"),
        "rounds": 2,
        "steps": 15,
        "warmup_steps": 3,
        "concurrency": None,
        "seed": 0,
        "overrides": (),
    }
    return BenchSetup(**{**values, **changes})


def _fast(number: int = 1, method: str = "copris", **changes: Any) -> Cell:
    """Generation takes 6 s instead of 12, the rest 8 s as before."""
    halved = {"step_s": (7.0, 7.0), "generate_s": 6.0, "lag_mean": 1.0, "first_token_lag": 1.0}
    return cell(method, number, **{**halved, "gate_occupancy": 0.98, **changes})


def _group(*cells: Cell) -> Group:
    (group,) = group_cells(cells)
    return group


def _report(*cells: Cell, **changes: Any) -> BenchReport:
    values: dict[str, Any] = {
        "setup": _setup(),
        "command": "copris bench",
        "machine": {"cores": 2},
        "cells": cells,
        "failures": (),
    }
    return BenchReport(**{**values, **changes})


def test_rounds_alternate_within_each_workload_and_batch() -> None:
    setup = _setup(workloads=("days", "uniform"), batches=(Batch(1, 2),))
    assert [key.path for key in setup.order] == [
        "days/1x2/sync/round1",
        "days/1x2/copris/round1",
        "days/1x2/sync/round2",
        "days/1x2/copris/round2",
        "uniform/1x2/sync/round1",
        "uniform/1x2/copris/round1",
        "uniform/1x2/sync/round2",
        "uniform/1x2/copris/round2",
    ]


def test_a_spread_is_median_quartiles_and_range_of_what_was_measured() -> None:
    found = spread([4.0, None, 1.0, 2.0, 3.0])
    assert found is not None
    assert (found.n, found.low, found.median, found.high) == (4, 1.0, 2.5, 4.0)
    assert (found.q1, found.q3, found.iqr) == (1.75, 3.25, 1.5)  # 1 + 0.75, 3 + 0.25
    assert spread([None]) is None


def test_a_ratio_is_paired_with_the_baseline_of_its_own_round() -> None:
    # The machine was half as fast in round 2, for both.
    slow = {"generate_s": 24.0, "step_s": (20.0, 20.0)}
    slow_fast = {"generate_s": 12.0, "step_s": (14.0, 14.0)}
    group = _group(cell(), _fast(), cell(number=2, **slow), _fast(2, **slow_fast), _fast(3))
    ours = group.reading("copris")
    assert ours is not None
    found = ours.ratios["generate_samples_per_s"]
    assert found is not None
    assert (found.n, found.low, found.high) == (2, pytest.approx(2.0), pytest.approx(2.0))
    step = ours.ratios["step_samples_per_s"]
    assert step is not None
    assert step.median == pytest.approx(20 / 14)
    assert ours.values["generate_samples_per_s"].n == 3  # type: ignore[union-attr]


def test_the_limits_are_those_of_the_formulas() -> None:
    ours = _group(cell(), _fast()).reading("copris")
    assert ours is not None
    slots, cost = ours.limits["slots"], ours.limits["cost"]
    # f = 12/20. slots: b = 1 - 0.4; 1 / (1 - 0.36). Measured 20/14.
    assert slots.b == pytest.approx(0.6)
    assert slots.generate == pytest.approx(2.5)
    assert slots.step == pytest.approx(1.5625)
    assert slots.of_limit == pytest.approx(20 / 14 / 1.5625)
    assert slots.of_limit_tokens == pytest.approx(20 / 14 / 1.5625)
    assert slots.of_generate == pytest.approx(2.0 / 2.5)
    # cost: t(4)/4 = 0.12/4 s, 200 tokens in 6 s of 12: b = 0.5; 1 / (1 - 0.3).
    assert cost.b == pytest.approx(0.5)
    assert cost.step == pytest.approx(1 / 0.7)
    assert cost.of_limit == pytest.approx(1.0)


def test_a_width_that_costs_more_has_a_limit_below_one() -> None:
    # Two held requests: 0.1/2 s a token, 200 tokens in 10 s; against 8 s of generation b < 0.
    quick = cell(generate_s=8.0)
    ours = _group(quick, _fast(width=2.0)).reading("copris")
    assert ours is not None
    assert ours.limits["cost"].b == pytest.approx(-0.25)
    assert ours.limits["cost"].step < 1


def test_the_baseline_has_no_limit_and_ratios_of_one() -> None:
    found = _group(cell(), _fast()).reading("sync")
    assert found is not None
    assert found.limits == {}
    assert {x.median for x in found.ratios.values() if x} == {1.0}


def test_as_released_is_the_baseline_only_where_the_other_is_missing() -> None:
    assert _group(cell("sync_released"), _fast()).baseline == "sync_released"
    assert _group(cell("sync_released"), cell(), _fast()).baseline == "sync"
    alone = _group(_fast())
    assert (alone.baseline, alone.methods[0].ratios, alone.methods[0].limits) == (None, {}, {})


def test_without_an_engine_log_there_is_no_limit_but_there_are_ratios() -> None:
    ours = _group(cell(engine=None), _fast(engine=None)).reading("copris")
    assert ours is not None
    assert ours.limits == {}
    assert ours.ratios["step_samples_per_s"] is not None
    assert ours.values["engine_occupancy"] is None


def test_equal_samples_and_equal_wall_clock_count_from_the_warm_up() -> None:
    uneven = cell(step_s=(4.0, 16.0), step_samples=(4, 4))
    assert [seconds_for(uneven, x) for x in (0, 4, 6, 8)] == [0.0, 4.0, 12.0, 20.0]
    assert [samples_within(uneven, x) for x in (0.0, 2.0, 12.0, 99.0)] == [0.0, 2.0, 6.0, 8.0]
    with pytest.raises(ValueError, match="trained 8 samples, not 9"):
        seconds_for(uneven, 9)


def test_all_cells_are_read_at_the_slowest_ones_samples_and_the_fastest_ones_time() -> None:
    group = _group(cell(step_s=(4.0, 16.0)), _fast(step_samples=(4, 2)))
    assert (group.equal_samples, group.equal_wall_s) == (6, 14.0)
    theirs, ours = group.reading("sync"), group.reading("copris")
    assert theirs is not None
    assert ours is not None
    assert theirs.values["equal_samples_s"].median == 12.0  # type: ignore[union-attr]
    assert theirs.values["equal_wall_samples"].median == 6.5  # type: ignore[union-attr]
    assert ours.ratios["equal_samples"].median == pytest.approx(12 / 14)  # type: ignore[union-attr]
    assert ours.ratios["equal_wall"].median == pytest.approx(6 / 6.5)  # type: ignore[union-attr]


def test_copris_is_compared_at_the_lag_that_verls_partial_rollout_had() -> None:
    group = _group(
        cell("colocate_async", generate_s=8.0, lag_mean=None, first_token_lag=1.25),
        _fast(method="copris@2", generate_s=8.0, first_token_lag=1.0),
        _fast(method="copris@6", generate_s=4.0, first_token_lag=2.0),
        _fast(method="copris_adaptive", generate_s=1.0, first_token_lag=1.25),
        _fast(method="copris@6+cppo", generate_s=1.0, first_token_lag=1.25),
    )
    found = group.equal_lag
    assert found is not None
    assert found.measure == "first_token_lag"
    assert [(x.method, x.lag) for x in found.points] == [("copris@2", 1.0), ("copris@6", 2.0)]
    # A quarter of the way from 8/8 to 8/4 samples/s, over 8/8.
    assert found.generate_ratio.median == pytest.approx(1.25)
    assert found.outside == ()


@pytest.mark.parametrize(("lag", "nearest"), [(0.5, "copris@2"), (3.0, "copris@6")])
def test_a_lag_that_was_not_reached_takes_the_nearest_and_names_it(lag, nearest) -> None:
    group = _group(
        cell("colocate_async", generate_s=8.0, lag_mean=lag),
        _fast(method="copris@2", generate_s=8.0, lag_mean=1.0),
        _fast(method="copris@6", generate_s=4.0, lag_mean=2.0),
    )
    assert group.equal_lag is not None
    assert group.equal_lag.measure == "lag_mean"
    assert group.equal_lag.outside == (nearest,)
    assert group.equal_lag.generate_ratio.median == pytest.approx(1.0 if lag < 1 else 2.0)


def test_rounds_without_both_sides_have_no_lag_to_compare() -> None:
    assert _group(cell("colocate_async"), _fast(2)).equal_lag is None
    assert (
        _group(cell("colocate_async", lag_mean=None, first_token_lag=None), _fast()).equal_lag
        is None
    )


def test_pruning_is_judged_by_the_update_phase_of_the_same_method_and_round() -> None:
    pruned = _fast(method="copris+cppo", trained_samples=4, waterfall=waterfall(update=3.3))
    (found,) = _group(cell(), _fast(), pruned).pruning
    assert (found.method, found.pruning_rate) == ("copris", 0.5)
    assert found.update_ratio.median == pytest.approx(3.3 / 6.0)


def _goal(group: Group, kind: str, where: str) -> Goal:
    (found,) = (x for x in goals([group]) if x.kind.startswith(kind) and x.where.startswith(where))
    return found


def test_every_goal_is_told_whether_it_was_measured_or_not() -> None:
    nothing = goals([])
    assert {goal.met for goal in nothing} == {None}
    # 2 rollout, 2 x 6 limits, 8 equal lag, 8 occupancy, 2 flat, 1 pruning, 2 of the loss.
    assert len(nothing) == 35
    assert len(goals([_group(cell(key=replace(key(), batch=Batch(4, 8))))])) == 35


def test_goals_read_copris_against_sync() -> None:
    at = {"batch": Batch(4, 8)}
    cells = [cell(key=key(**at)), _fast(key=key("copris", **at))]
    group = _group(*cells)
    rollout = _goal(group, "rollout samples/s, copris / sync", "longtail 4x8")
    assert (rollout.measured, rollout.wanted, rollout.met) == (pytest.approx(2.0), 2.5, False)
    occupancy = _goal(group, "occupancy", "longtail 4x8")
    assert (occupancy.measured, occupancy.met) == (0.98, True)
    slots = _goal(group, "whole step / its limit by slots", "longtail 4x8")
    assert (slots.measured, slots.met) == (pytest.approx(0.9143, abs=1e-4), False)
    assert _goal(group, "whole step / its limit by the cost", "longtail 4x8").met is True
    assert _goal(group, "rollout samples/s, copris / sync", "longtail 16x8").met is None


def test_a_goal_against_sync_is_not_met_by_a_ratio_to_something_else() -> None:
    at = {"batch": Batch(4, 8)}
    group = _group(cell(key=key("sync_released", **at)), _fast(key=key("copris", **at)))
    assert _goal(group, "rollout samples/s, copris / sync", "longtail 4x8").met is None
    assert _goal(group, "whole step / its limit by slots", "longtail 4x8").met is None


@pytest.mark.parametrize(("workload", "wanted"), [("longtail-heavy", 1.15), ("longtail", 1.0)])
def test_the_gain_at_equal_lag_is_larger_where_the_tail_is(workload, wanted) -> None:
    at = {"workload": workload, "batch": Batch(4, 8)}
    theirs = cell(key=key("colocate_async", **at), lag_mean=3.0)
    ours = _fast(key=key("copris", **at))
    kind = "rollout samples/s, copris / colocate_async"
    at_their_lag = [theirs, replace(ours, lag_mean=3.0)]
    goal = _goal(_group(*at_their_lag), kind, workload + " 4x8")
    assert (goal.wanted, goal.met) == (wanted, True)
    goal = _goal(_group(theirs, ours), kind, workload + " 4x8")
    assert (goal.wanted, goal.met) == (wanted, None)
    assert "(lag not reached; " in goal.where
    assert goal.where.endswith(" at the nearest, copris)")


def test_pruning_must_save_its_rate_but_for_five_points() -> None:
    for update_s, met in ((3.29, True), (3.31, False)):
        pruned = _fast(
            method="copris+cppo", trained_samples=4, waterfall=waterfall(update=update_s)
        )
        found = _goal(_group(cell(), _fast(), pruned), "update phase", "longtail 2x2, copris")
        assert (found.wanted, found.met) == (pytest.approx(0.55), met)


def test_a_report_comes_back_from_json() -> None:
    failure = Failure(key=key("copris", round=2), reason="exit code 1: out of memory", seconds=3.5)
    report = _report(cell(), _fast(), cell(number=2, engine=None), failures=(failure,))
    text = json.dumps(report.to_json(), allow_nan=False)
    assert BenchReport.from_json(json.loads(text)) == report


def test_the_json_tells_cells_groups_goals_order_and_version() -> None:
    value = _report(cell(), _fast()).to_json()
    assert value["version"] == VERSION
    assert value["order"][:2] == ["longtail/2x2/sync/round1", "longtail/2x2/copris/round1"]
    assert value["cells"][0]["numbers"]["generate_samples_per_s"] == pytest.approx(8 / 12)
    assert value["groups"][0]["methods"][1]["ratios"]["step_samples_per_s"]["n"] == 1
    assert value["groups"][0]["batch"] == "2x2"
    assert len(value["goals"]) == 35 + 4  # a batch besides: two limits, lag, occupancy
    assert value["revisions"] == ["0123abc"]


def test_another_version_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="version 0, not 1"):
        BenchReport.from_json({"version": 0})


def test_a_bench_without_a_finished_cell_is_a_report_too() -> None:
    report = _report()
    assert BenchReport.from_json(report.to_json()) == report
    assert report.groups == ()


def test_several_engines_share_the_tokens_of_the_cost_limit() -> None:
    two = engine(num_engines=2)
    ours = _group(cell(engine=two, width=8.0), _fast(engine=two, width=8.0)).reading("copris")
    assert ours is not None
    # 4 requests in each: 100 tokens in each at 0.12/4 s.
    assert ours.limits["cost"].b == pytest.approx(1 - 100 * 0.03 / 12)
