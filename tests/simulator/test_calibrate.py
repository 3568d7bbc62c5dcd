"""Calibration finds the costs that made the logs, whatever a hiccup does, and says how well."""

from pathlib import Path

import numpy as np
import pytest

from copris_core.simulator.calibrate import calibrate, kv_capacity
from copris_core.simulator.engine_file import to_yaml
from copris_core.simulator.measured_run import read_iterations, read_run
from copris_core.simulator.robust_fit import fit_costs
from tests.simulator.synthetic_run import (
    BUSY,
    START_S,
    STOP_S,
    UPDATE_S,
    UPDATE_TOKEN_S,
    Costs,
    model_config,
    write_run,
)

pytestmark = pytest.mark.slow  # fits many runs

KV_TOKENS = 1000


def test_the_costs_that_made_the_logs_are_found(tmp_path: Path) -> None:
    costs = Costs()
    file = calibrate([write_run(tmp_path / "a", costs=costs)], kv_tokens=KV_TOKENS)

    engine = file.engine
    assert engine.step_s == pytest.approx(costs.step_s, rel=0.1)
    assert engine.response_s == pytest.approx(costs.response_s, rel=0.05)
    assert engine.prefill_token_s == pytest.approx(costs.token_s, rel=0.1)
    assert engine.request_s == pytest.approx(costs.request_s, rel=0.05)
    assert engine.flat_to == 0
    assert engine.stop_s == pytest.approx(STOP_S, abs=1e-3)
    assert not file.is_estimate


def test_the_rest_of_a_step_holds_the_update_and_the_wait_for_the_first_request(
    tmp_path: Path,
) -> None:
    file = calibrate([write_run(tmp_path / "a")], kv_tokens=KV_TOKENS)
    assert file.update_s == pytest.approx(UPDATE_S + START_S, rel=0.01)
    assert file.update_token_s == pytest.approx(UPDATE_TOKEN_S, rel=0.01)


def test_what_padding_costs_is_told_from_what_tokens_cost(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", steps=20, iterations=40, padded_token_s=0.0001)
    file = calibrate([path], kv_tokens=KV_TOKENS)
    assert file.update_padded_token_s == pytest.approx(0.0001, rel=0.01)
    assert file.update_token_s == pytest.approx(UPDATE_TOKEN_S, rel=0.05)


def test_a_request_costs_what_is_slow_while_its_slot_is_open(tmp_path: Path) -> None:
    costs = Costs(open_s=0.003)
    engine = calibrate([write_run(tmp_path / "a", costs=costs)], kv_tokens=KV_TOKENS).engine
    # one request in four iterations, two of which have the slot open
    assert engine.request_s == pytest.approx(costs.request_s + 2 * costs.open_s, rel=0.05)
    assert engine.response_s == pytest.approx(costs.response_s, rel=0.05)


def test_a_knee_is_found_where_there_is_one(tmp_path: Path) -> None:
    costs = Costs(flat_to=32, response_s=0.0003)
    path = write_run(tmp_path / "a", costs=costs, running=(4, 16, 24, 32, 40, 48, 64, 90))
    file = calibrate([path], kv_tokens=KV_TOKENS)
    assert file.engine.flat_to == 32
    assert file.engine.response_s == pytest.approx(0.0003, rel=0.05)
    assert "with a knee at 32" in to_yaml(file)


def test_hiccups_move_the_level_and_not_the_shape(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", noise=0.02)
    log = path / "engine" / "steps-1.csv"
    rows = read_iterations(log)
    # Every 25th interval of those that only decode is twice as long: everything later shifts.
    late_s = np.zeros(len(rows))
    pure = np.flatnonzero(rows[:-1, 3] == 0)[::25]
    late_s[pure + 1] = rows[pure + 1, 0] - rows[pure, 0]
    rows[:, 0] += np.cumsum(late_s)
    _shift_steps(path, rows, late_s)

    engine = calibrate([path], kv_tokens=KV_TOKENS).engine

    ratio = engine.response_s / engine.step_s
    assert ratio == pytest.approx(0.0001 / 0.002, rel=0.1)
    # a 25th of them doubled: 4% more, in the mean
    assert 1.02 < engine.step_s / 0.002 < 1.10


def _shift_steps(path: Path, rows: np.ndarray, late_s: np.ndarray) -> None:
    """Write the shifted log, and metrics whose steps end as much later."""
    import json

    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    per_step = late_s.reshape(len(lines), -1).sum(axis=1)
    before = np.concatenate([[0.0], np.cumsum(per_step)[:-1]])
    for line, extra_s, shift_s in zip(lines, per_step, before, strict=True):
        line["time/step_begin_s"] += shift_s
        line["timing_s/generate"] += extra_s
        line["timing_s/step"] += extra_s
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = [",".join(f"{cell:.6f}" for cell in row) for row in rows]
    (path / "engine" / "steps-1.csv").write_text("header\n" + "\n".join(text) + "\n")


def test_the_file_says_what_was_measured_and_how_well_it_fits(tmp_path: Path) -> None:
    text = to_yaml(calibrate([write_run(tmp_path / "a")], kv_tokens=KV_TOKENS))
    # 8 steps less 2 of warm-up, 119 intervals each
    assert "1 runs, 714 engine iterations, 4 to 64 responses at a time" in text
    assert "verl 0.9.1" in text
    assert f"{BUSY:.0%} is the model" in text
    assert "Measured on 2023-11-14" in text  # 1.7e9 s after 1970
    assert "kv_tokens: 1000" in text
    assert "tokens in one replica's KV cache; given" in text


def test_the_cache_is_told_by_the_config_and_the_model(tmp_path: Path) -> None:
    config = model_config(tmp_path / "model")
    engine = calibrate([write_run(tmp_path / "a", config=config)]).engine
    assert (engine.kv_tokens, engine.max_running) == (1000, 256)
    assert kv_capacity(
        cache_bytes=10_000, layers=1, kv_heads=1, head_dim=10, element_bytes=2
    ) == int(10_000 / 40)


def test_several_runs_are_one_measurement_and_each_is_named(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / f"n{batch}", running=(batch,), seed=batch) for batch in (8, 32, 64)
    ]
    file = calibrate(runs, kv_tokens=KV_TOKENS)
    assert file.engine.response_s == pytest.approx(0.0001, rel=0.1)
    assert [name.rpartition("/")[2] for name in file.calibrated_on] == ["n8", "n32", "n64"]


def test_a_line_torn_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", steps=3, iterations=10)
    assert read_iterations(path / "engine" / "steps-1.csv").shape == (30, 5)


def test_iterations_outside_generation_are_not_counted(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a")
    log = path / "engine" / "steps-1.csv"
    step = read_run(path).steps[0]
    inside_the_update = step.begin_s + step.generate_s + 0.1
    before = calibrate([path], kv_tokens=KV_TOKENS)
    log.write_text(log.read_text() + f"\n{inside_the_update:.6f},9.0,200,0,200\n")
    assert calibrate([path], kv_tokens=KV_TOKENS).engine == before.engine


def test_a_run_that_says_too_little_is_told_in_one_line(tmp_path: Path) -> None:
    def refused(why: str, *runs: Path) -> None:
        with pytest.raises(ValueError, match=why) as caught:
            calibrate(runs, kv_tokens=KV_TOKENS)
        assert "\n" not in str(caught.value)

    refused("no runs")
    refused("no metrics at", tmp_path)
    refused("2 usable steps: more than 2", write_run(tmp_path / "short", steps=2))
    refused("same size: measure at several", write_run(tmp_path / "one", running=(8,)))
    refused("too few: at least 50", write_run(tmp_path / "few", steps=3, iterations=20))
    silent = write_run(tmp_path / "silent")
    (silent / "engine" / "steps-1.csv").unlink()
    refused("run.engine_log=true", silent)
    with pytest.raises(ValueError, match=r"KV cache: add --kv-tokens N"):
        calibrate([write_run(tmp_path / "nokv")])


def test_no_cost_is_negative() -> None:
    # falling costs: the slope would be below zero, so it is zero and the mean remains
    x = np.arange(1.0, 21.0)
    fit = fit_costs(np.column_stack([np.ones(20), x]), 3.0 - 0.01 * x)
    assert fit.weights[1] == 0.0
    assert fit.weights[0] == pytest.approx(2.9, rel=0.05)


def test_one_wild_cost_pulls_little() -> None:
    x = np.linspace(1.0, 10.0, 50)
    costs = 2.0 + 0.5 * x
    costs[25] *= 100
    fit = fit_costs(np.column_stack([np.ones(50), x]), costs)
    assert fit.weights == pytest.approx((2.0, 0.5), rel=0.01)
    with pytest.raises(ValueError, match="too few"):
        fit_costs(np.ones((1, 2)), np.ones(1))
