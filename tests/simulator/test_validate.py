"""A cell is predicted with its own lengths in their own order, and never from its own times."""

import json
from pathlib import Path
from typing import Any

import pytest

from copris_core.rollout.events import Event, Fact
from copris_core.rollout.ledger import LEDGER_FILE, Ledger
from copris_core.simulator.drawn_lengths import drawn_groups
from copris_core.simulator.engine import EngineModel
from copris_core.simulator.engine_file import EngineFile
from copris_core.simulator.measured_run import WARM_UP_STEPS, read_run
from copris_core.simulator.validate import markdown, validate
from tests.simulator.synthetic_run import USUAL, Costs, model_config, write_run

ENGINE = EngineFile(
    name="known",
    is_estimate=False,
    engine=EngineModel(
        step_s=0.01,
        response_s=0.0,
        prefill_token_s=0.0,
        stop_s=0.0,
        kv_tokens=100_000,
        max_running=256,
    ),
    update_s=0.5,
    update_token_s=0.001,
)
GROUPS = [(10, 30), (20, 60), (5, 80), (40, 40), (10, 100), (7, 50), (9, 90)]


def _config(tmp_path: Path, strategy: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    config = model_config(tmp_path / "model")
    config["actor_rollout_ref"]["rollout"]["n"] = 2
    return {
        **config,
        "data": {"train_batch_size": 1},
        "strategy": strategy or {"name": "sync"},
        "trainer": {"v1": {"sampler": {"custom_sampler": {"path": "pkg://ours"}}}},
        **more,
    }


def _cell(
    bench: Path,
    name: str,
    config: dict[str, Any],
    *,
    groups: list[tuple[int, ...]] | None = None,
    costs: Costs = USUAL,
) -> Path:
    path = write_run(bench / name / "round0", config=config, costs=costs)
    if groups:
        facts = [Fact(Event.DRAWN, 0, uid=f"p{i}", row=i, size=2) for i in range(len(groups))]
        facts += [
            Fact(Event.FINISHED, 0, uid=f"p{i}", index=member, tokens=tokens)
            for i, group in enumerate(groups)
            for member, tokens in enumerate(group)
        ]
        Ledger(path / LEDGER_FILE).append(facts)
    return path


def test_a_synchronous_step_lasts_as_long_as_its_longest_response(tmp_path: Path) -> None:
    _cell(tmp_path / "bench", "long/1x2/sync", _config(tmp_path), groups=GROUPS)

    (only,) = validate(tmp_path / "bench", ENGINE).predictions

    # 8 steps draw groups 0..6, 0; the first two warm up. Group (a, b) takes
    # 0.01 max(a, b) + 0.5 + 0.001 (a + b) s.
    drawn = [*GROUPS, *GROUPS][WARM_UP_STEPS:8]
    times = sorted(0.01 * max(group) + 0.5 + 0.001 * sum(group) for group in drawn)
    assert only.predicted_s == pytest.approx(sum(times) / 6)
    assert only.predicted_median_s == pytest.approx((times[2] + times[3]) / 2)
    measured = sorted(step.seconds for step in read_run(_round(tmp_path)).steps)
    assert only.measured_s == pytest.approx(sum(measured) / 6)
    assert only.measured_median_s == pytest.approx((measured[2] + measured[3]) / 2)
    assert only.error == pytest.approx(only.predicted_s / only.measured_s - 1)
    assert (only.num_steps, only.seen) == (6, False)


def _round(tmp_path: Path) -> Path:
    return next((tmp_path / "bench").glob("*/*/*/round0"))


def test_another_method_lends_the_lengths_of_the_same_workload_and_batch(tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    _cell(bench, "long/1x2/sync", _config(tmp_path))
    _cell(bench, "long/2x2/sync", _config(tmp_path))
    copris = {"name": "copris", "concurrency": 4, "limit": "fixed"}
    _cell(bench, "long/1x2/copris", _config(tmp_path, copris), groups=GROUPS)

    found = validate(bench, ENGINE)

    assert {each.cell for each in found.predictions} == {"long/1x2/copris", "long/1x2/sync"}
    assert "no run with this workload and batch" in found.skipped["long/2x2/sync"]


def test_a_prediction_owes_nothing_to_the_times_of_its_own_cell(tmp_path: Path) -> None:
    predicted = {}
    for speed in (1, 5):
        bench = tmp_path / f"bench{speed}"
        own = Costs(step_s=0.002 * speed, response_s=0.0001 * speed)
        config = _config(tmp_path)
        _cell(bench, "long/1x2/sync", config, groups=GROUPS, costs=own)
        copris = {"name": "copris", "concurrency": 4, "limit": "fixed"}
        _cell(bench, "long/1x2/copris", _config(tmp_path, copris), groups=GROUPS)
        found = {each.cell: each for each in validate(bench).predictions}
        predicted[speed] = found["long/1x2/sync"].predicted_s
        others = found["long/1x2/copris"].predicted_s
        predicted[-speed] = others
    assert predicted[1] == predicted[5]
    assert predicted[-5] > predicted[-1]  # while the other cell is predicted from this one


def test_a_cell_that_the_engine_was_calibrated_on_is_told_and_not_counted(tmp_path: Path) -> None:
    import dataclasses

    bench = tmp_path / "bench"
    path = _cell(bench, "long/1x2/sync", _config(tmp_path), groups=GROUPS)
    _cell(bench, "long/1x2/sync_tuned", _config(tmp_path), groups=GROUPS, costs=Costs(step_s=0.01))
    engine = dataclasses.replace(ENGINE, calibrated_on=(read_run(path).name,))

    found = validate(bench, engine)

    by_cell = {each.cell: each for each in found.predictions}
    assert by_cell["long/1x2/sync"].seen
    assert found.median_error == abs(by_cell["long/1x2/sync_tuned"].error)
    text = markdown(found)
    assert "| long/1x2/sync (calibrated on it) |" in text
    assert f"of the mean step {found.median_error:.1%}, over 1 cells (of the median step" in text


NOT_MODELLED = [
    ({"strategy": {"name": "verl_colocate_async"}}, "strategy verl_colocate_async is not modelled"),
    ({"strategy": {"name": "verl_sync"}, "trainer": {}}, "verl's own buffer looks every 2 s"),
    ({"strategy": {"name": "verl_sync"}}, "engine.yaml has our trainer's update"),
    ({"pruning": {"rule": "cppo"}}, "pruning shortens the update"),
    ({"data": {}}, "does not tell data.train_batch_size"),
]


@pytest.mark.parametrize(("change", "why"), NOT_MODELLED)
def test_what_is_not_modelled_is_named_and_left_out(
    tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    bench = tmp_path / "bench"
    _cell(bench, "long/1x2/odd", {**_config(tmp_path), **change}, groups=GROUPS)
    _cell(bench, "long/1x2/sync", _config(tmp_path), groups=GROUPS)

    found = validate(bench, ENGINE)

    assert why in found.skipped["long/1x2/odd"]
    assert [each.cell for each in found.predictions] == ["long/1x2/sync"]
    assert "| long/1x2/odd | - |" in markdown(found)


def test_a_round_that_was_cut_short_costs_only_its_cell(tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    _cell(bench, "long/1x2/sync", _config(tmp_path), groups=GROUPS)
    broken = _cell(bench, "long/1x2/copris", _config(tmp_path), groups=GROUPS)
    first = (broken / "metrics.jsonl").read_text().splitlines()[0]
    (broken / "metrics.jsonl").write_text(first + "\n")

    found = validate(bench, ENGINE)

    assert "1 usable steps" in found.skipped["long/1x2/copris"]
    assert len(found.predictions) == 1


def test_an_empty_folder_and_a_bench_of_nothing_known_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no cell in"):
        validate(tmp_path, ENGINE)
    _cell(tmp_path / "bench", "long/1x2/sync", _config(tmp_path))
    with pytest.raises(ValueError, match="can be predicted: no run with this workload"):
        validate(tmp_path / "bench", ENGINE)


def test_a_group_without_its_last_response_is_no_sample_of_lengths(tmp_path: Path) -> None:
    path = _cell(tmp_path / "bench", "a/1x2/sync", _config(tmp_path), groups=GROUPS)
    Ledger(path / LEDGER_FILE).append(
        [
            Fact(Event.DRAWN, 0, uid="late", row=9, size=2),
            Fact(Event.FINISHED, 0, uid="late", index=0, tokens=3),
        ]
    )
    assert drawn_groups(read_run(path)) == GROUPS


def test_lengths_that_come_with_the_rows_are_looked_up_by_row(tmp_path: Path) -> None:
    task = {"name": "forced", "rows": 8, "group_size": 2, "median": 60, "floor": 8, "cap": 99}
    config = _config(tmp_path, task={**task, "sigma": 1.0, "seed": 3, "val_rows": 1})
    path = _cell(tmp_path / "bench", "a/1x2/sync", config, groups=GROUPS)

    found = drawn_groups(read_run(path))

    assert len(found) == len(GROUPS)
    assert found != GROUPS
    assert all(len(group) == 2 and min(group) >= 8 and max(group) <= 99 for group in found)
    # rows are told by their number, whatever order they were drawn in
    ledger = path / LEDGER_FILE
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    for line in lines:
        if line["event"] == "drawn":
            line["row"] = 6 - line["row"]
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert drawn_groups(read_run(path)) == found[::-1]
