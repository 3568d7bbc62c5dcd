import json
from pathlib import Path

import pytest

from copris_core.report.bench_cell import NO_CLOCK, NO_LOG, Cell, read_cell
from copris_core.report.bench_curve import CurvePoint, curve_points, fit
from copris_core.report.bench_names import Batch, CellKey, base_of, is_pruned
from copris_core.report.bench_stats import measured
from tests.report.bench_house import ITERATIONS, key, row, write_run


def _read(
    tmp_path: Path, *rows: dict[str, float], iterations=ITERATIONS, method: str = "sync"
) -> Cell:
    folder = write_run(tmp_path / "run", rows, iterations)
    return read_cell(folder, key(method), warmup_steps=1)


def test_every_second_of_a_step_is_in_the_piece_it_was_spent_on(tmp_path: Path) -> None:
    found = _read(tmp_path, row(1), row(2)).waterfall

    # Width B n = 4. Busy 1 + 1 + 2 + 1.5 s with 4, 4, 2 and 1 running:
    # full 1 + 1 + 2/2 + 1.5/4 = 3.375, empty 5.5 - 3.375; gaps 2.5 - 2 and 6 - 5.5;
    # waiting 1 s before the first and 10 - 7.5 s after the last iteration.
    assert found.generate_full == pytest.approx(3.375)
    assert found.tail_bubble == pytest.approx(2.125)
    assert found.prefill_again == 0
    assert found.engine_gap == pytest.approx(1.0)
    assert found.waiting == pytest.approx(3.5)
    assert (found.log_prob, found.update, found.sync, found.other) == (1.0, 3.0, 0.5, 1.5)
    assert found.unsplit == 0
    assert found.total == pytest.approx(16.0)


def test_the_engine_is_read_inside_generation_alone(tmp_path: Path) -> None:
    update_ahead = (11.0, 0.25, 4, 0, 4)  # while the trainer was busy
    cell = _read(tmp_path, row(1), row(2), iterations=(*ITERATIONS, update_ahead))

    assert cell.engine is not None
    assert cell.engine.occupancy == pytest.approx(3.375 / 5.5)
    assert cell.engine.decode_iterations == 4
    assert cell.engine.decode_s == pytest.approx(5.5)
    assert cell.engine.decode_tokens == 11
    assert cell.engine.prefill_tokens == 40
    assert cell.engine.outside_s == pytest.approx(0.25)
    # From begin to begin, without the prefilling first one and without the last one.
    assert [(x.running, x.n) for x in cell.engine.curve] == [(2, 1), (4, 1)]
    assert [x.seconds for x in cell.engine.curve] == pytest.approx([2.5, 1.0])
    assert cell.waterfall.total == pytest.approx(16.0)


def test_an_iteration_that_generation_ends_in_is_cut(tmp_path: Path) -> None:
    late = (9.5, 2.0, 4, 0, 4)
    cell = _read(tmp_path, row(1), row(2), iterations=(late,))
    assert cell.waterfall.generate_full == pytest.approx(0.5)
    assert cell.waterfall.waiting == pytest.approx(9.5)
    assert cell.engine is not None
    assert cell.engine.outside_s == pytest.approx(1.5)


def test_iterations_that_overlap_share_no_second(tmp_path: Path) -> None:
    overlapping = ((0.0, 6.0, 4, 0, 4), (2.0, 2.0, 4, 0, 4), (5.0, 5.0, 4, 0, 4))
    found = _read(tmp_path, row(1), row(2), iterations=overlapping).waterfall
    assert found.generate_full == pytest.approx(10.0)
    assert (found.engine_gap, found.waiting) == pytest.approx((0.0, 0.0))


def test_prefill_again_is_the_excess_over_decoding_by_the_share_of_tokens(tmp_path: Path) -> None:
    iterations = ((0.0, 1.6, 4, 60, 4), (2.0, 1.0, 4, 0, 4))
    gate = {"rollout/reprefill_tokens": 20, "rollout/limit": 4, "staleness/first_token_lag": 1.0}
    cell = _read(tmp_path, row(1, **gate), row(2, **gate), iterations=iterations, method="copris")
    # 0.6 s more than an iteration of 4 that only decodes; 20 of 60 tokens were known before.
    assert cell.waterfall.prefill_again == pytest.approx(0.2)
    assert cell.waterfall.generate_full == pytest.approx(2.4)
    assert cell.waterfall.total == pytest.approx(16.0)
    assert cell.reprefill_tokens == 20


def test_what_a_trainer_does_not_tell_is_not_guessed(tmp_path: Path) -> None:
    stale = row(2, **{"staleness/first_token_lag": 0.5})
    cell = _read(tmp_path, row(1), stale, method="colocate_async")
    assert (cell.reprefill_tokens, cell.finished, cell.lag_mean) == (None, None, None)
    assert cell.waterfall.prefill_again == 0
    assert cell.first_token_lag == 0.5


def test_who_carries_nothing_over_prefills_nothing_again(tmp_path: Path) -> None:
    cell = _read(tmp_path, row(1), row(2))
    assert (cell.reprefill_tokens, cell.finished) == (0, 4)


def test_the_width_is_the_limit_of_each_step(tmp_path: Path) -> None:
    rows = [row(1, **{"rollout/limit": 4}), row(2, **{"rollout/limit": 8})]
    rows.append(row(3, **{"rollout/limit": 4}))
    cell = _read(tmp_path, *rows, method="copris_adaptive")
    assert cell.width == 6
    # Step 2 fills half as much of its 8 slots as step 3 of its 4.
    assert cell.waterfall.generate_full == pytest.approx(3.375 / 2 + 3.375)


def test_without_a_limit_the_width_is_what_ran_at_most_if_that_is_more(tmp_path: Path) -> None:
    cell = _read(tmp_path, row(1), row(2), iterations=((0.0, 1.0, 6, 0, 6), (1.0, 1.0, 3, 0, 3)))
    assert cell.width == 6
    assert cell.waterfall.generate_full == pytest.approx(1.5)


def test_two_engines_share_the_width_and_their_seconds_are_averaged(tmp_path: Path) -> None:
    rows = [row(1), row(2)]
    folder = write_run(tmp_path / "run", rows, ((0.0, 4.0, 2, 0, 2),), pid=1)
    write_run(folder, rows, ((0.0, 2.0, 1, 0, 1),), pid=2)
    cell = read_cell(folder, key(), warmup_steps=1)
    # Half of 4 slots each: 4 s full on one, 2 s half full on the other, over two engines.
    assert cell.waterfall.generate_full == pytest.approx((4.0 + 1.0) / 2)
    assert cell.waterfall.tail_bubble == pytest.approx(1.0 / 2)
    assert cell.waterfall.waiting == pytest.approx((6.0 + 8.0) / 2)
    assert cell.engine is not None
    assert cell.engine.occupancy == pytest.approx(5.0 / 6.0)


def test_a_generation_without_an_iteration_is_waiting(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [row(1)], ITERATIONS)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row(i)) + "\n" for i in (1, 2)))
    cell = read_cell(folder, key(), warmup_steps=1)
    assert cell.waterfall.waiting == pytest.approx(10.0)
    assert cell.engine is not None
    assert (cell.engine.decode_iterations, cell.engine.curve) == (0, ())
    assert measured(cell)["decode_step_s"] is None


@pytest.mark.parametrize(
    ("iterations", "change", "note"),
    [(None, {}, NO_LOG), (ITERATIONS, {"time/step_begin_s": None}, NO_CLOCK)],
)
def test_without_log_or_clock_generation_is_one_piece_and_the_cell_says_why(
    tmp_path: Path, iterations, change, note
) -> None:
    rows = [row(1), {**row(2), **change}]
    folder = write_run(tmp_path / "run", [row(1), row(2)], iterations)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in rows))
    cell = read_cell(folder, key(), warmup_steps=1)
    assert cell.note == note
    assert cell.engine is None
    assert cell.waterfall.unsplit == 10.0
    assert cell.waterfall.total == pytest.approx(16.0)


def test_only_steps_behind_the_warm_up_count(tmp_path: Path) -> None:
    slow = row(1, **{"timing_s/step": 500.0, "timing_s/generate": 400.0, "samples/trained": 1})
    cell = _read(tmp_path, slow, row(2), row(3, **{"tokens/trained": 21}))
    assert (cell.step_s, cell.step_samples, cell.generate_s) == ((16.0, 16.0), (4, 4), 20.0)
    assert cell.trained_tokens == 32
    assert measured(cell)["generate_samples_per_s"] == pytest.approx(8 / 20)
    assert measured(cell)["step_samples_per_s"] == pytest.approx(8 / 32)
    assert measured(cell)["step_tokens_per_s"] == pytest.approx(22 / 32)  # 11 sampled a step
    assert measured(cell)["trained_length"] == pytest.approx(4.0)
    assert measured(cell)["decode_steps"] == pytest.approx(4.0)


def test_occupancy_and_lag_are_weighted_by_time_and_by_tokens(tmp_path: Path) -> None:
    gate = {"rollout/occupancy": 0.5, "rollout/open_s": 1.0, "staleness/lag_mean": 1.0}
    more = {"rollout/occupancy": 0.9, "rollout/open_s": 3.0, "staleness/lag_mean": 2.0}
    more |= {"tokens/trained": 33, "staleness/lag_max": 4.0}
    cell = _read(tmp_path, row(1), row(2, **gate), row(3, **more), method="copris")
    assert cell.gate_occupancy == pytest.approx((0.5 + 3 * 0.9) / 4)
    assert cell.lag_mean == pytest.approx((11 * 1.0 + 33 * 2.0) / 44)
    assert cell.lag_max == 4.0
    assert measured(cell)["occupancy"] == cell.gate_occupancy


def test_what_pruning_drops_was_sampled_too(tmp_path: Path) -> None:
    half = {"samples/trained": 2}
    cell = _read(tmp_path, row(1, **half), row(2, **half), method="copris+cppo")
    assert (cell.samples, cell.trained_samples) == (4, 2)


def test_a_run_that_ended_in_its_warm_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 1 steps, the warm-up alone takes 1"):
        _read(tmp_path, row(1))


def test_a_step_without_its_seconds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a step without timing_s/step"):
        _read(tmp_path, row(1), row(2, **{"timing_s/step": None}))


def test_a_cell_comes_back_from_json(tmp_path: Path) -> None:
    cell = _read(tmp_path, row(1), row(2))
    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell


def test_a_key_is_a_path_and_back() -> None:
    found = CellKey(workload="days", batch=Batch(16, 8), method="copris@48+cppo", round=12)
    assert found.path == "days/16x8/copris@48+cppo/round12"
    assert CellKey.parse(found.path) == found


def test_a_method_is_told_from_its_suffixes() -> None:
    assert [base_of(x) for x in ("sync", "copris@48", "copris@48+cppo")] == [
        "sync",
        "copris",
        "copris",
    ]
    assert [is_pruned(x) for x in ("copris@48", "copris+cppo")] == [False, True]


@pytest.mark.parametrize("word", ["4", "x8", "4x", "0x8", "4x8x2", "-4x8", "axb"])
def test_a_batch_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="write PROMPTSxRESPONSES"):
        Batch.parse(word)


def test_the_cost_curve_pools_what_falls_by_weight() -> None:
    points = [
        CurvePoint(running=1, n=1, seconds=0.5),
        CurvePoint(running=2, n=3, seconds=0.1),
        CurvePoint(running=8, n=1, seconds=0.8),
        CurvePoint(running=8, n=3, seconds=0.4),
    ]
    curve = fit(points)
    assert curve is not None
    # (1 x 0.5 + 3 x 0.1) / 4 at 1 and 2; (0.8 + 3 x 0.4) / 4 at 8; half-way in between.
    assert [curve.at(x) for x in (1, 2, 5, 8)] == pytest.approx([0.2, 0.2, 0.35, 0.5])
    assert [curve.at(x) for x in (0, 99)] == pytest.approx([0.2, 0.5])
    assert curve.per_request(99) == pytest.approx(0.5 / 8)
    assert curve.best_width == 8


def test_violators_are_pooled_back_to_the_first_one() -> None:
    curve = fit([CurvePoint(running=i, n=1, seconds=x) for i, x in enumerate((3.0, 2.0, 1.0), 1)])
    assert curve is not None
    assert curve.seconds_R.tolist() == [2.0, 2.0, 2.0]
    assert fit([]) is None


def test_curve_points_are_medians_by_running() -> None:
    import numpy as np

    running_N, seconds_N = np.array([2, 2, 2, 0, 5]), np.array([1.0, 9.0, 2.0, 7.0, 4.0])
    assert curve_points(running_N, seconds_N) == (
        CurvePoint(running=2, n=3, seconds=2.0),
        CurvePoint(running=5, n=1, seconds=4.0),
    )
