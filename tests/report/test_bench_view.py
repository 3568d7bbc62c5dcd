import io
from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from rich.console import Console

from copris_core.report.bench import BenchReport, BenchSetup, Failure
from copris_core.report.bench_cell import Cell
from copris_core.report.bench_groups import group_cells
from copris_core.report.bench_names import Batch
from copris_core.report.bench_picture import PIECES, draw_workload, ratios, seconds
from copris_core.report.bench_view import bench_view
from copris_core.report.bench_words import words
from tests.report.bench_house import BATCH, cell, key, waterfall


def _report(*cells: Cell, failures: tuple[Failure, ...] = (), rounds: int = 1) -> BenchReport:
    setup = BenchSetup(
        workloads=tuple(dict.fromkeys(x.key.workload for x in cells)) or ("longtail",),
        batches=(BATCH,),
        methods=tuple(dict.fromkeys(x.key.method for x in cells)) or ("sync",),
        rounds=rounds,
        steps=15,
        warmup_steps=3,
        concurrency=None,
        seed=0,
        overrides=(),
    )
    return BenchReport(
        setup=setup, command="copris bench", machine={}, cells=cells, failures=failures
    )


def _fast(**changes: object) -> Cell:
    halved = {"step_s": (7.0, 7.0), "generate_s": 6.0, "waterfall": waterfall(tail_bubble=0.0)}
    return cell("copris", **{**halved, **changes})


def _printed(report: BenchReport) -> str:
    console = Console(width=100, file=io.StringIO())
    console.print(bench_view(report))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def _sentence(report: BenchReport, start: str) -> str:
    (found,) = (x for x in words(report) if x.startswith(start))
    return found


def test_the_table_fits_a_hundred_columns_and_folds_no_name() -> None:
    text = _printed(_report(cell(), cell("colocate_async_released"), _fast()))
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "colocate_async_released " in text
    assert "0.7 " in text  # 8 samples in 12 s
    assert "2.00x" in text


def test_every_goal_is_printed() -> None:
    text = " ".join(_printed(_report(cell(), _fast())).split())
    assert "not measured" in text
    for words_of_goal in (
        "occupancy of copris",
        "scripts/bench_loss.py",
        "uniform 4x8, uniform 16x8",
    ):
        assert words_of_goal in text


def test_a_report_without_a_cell_is_printed() -> None:
    assert "goals" in _printed(_report())


def test_a_sentence_puts_the_ratio_beside_both_limits() -> None:
    said = _sentence(_report(cell(), _fast()), "longtail 2x2: copris has")
    assert "2.00x the rollout samples/s and 1.43x the whole-step samples/s of sync" in said
    assert "0.91 of the 1.56x that the empty slots allow" in said
    assert "1.00 of the 1.43x that this engine's costs at its width allow" in said


def test_without_a_tail_it_says_that_there_is_nothing_to_gain_and_what_was_measured() -> None:
    flat = [replace(x, key=replace(x.key, workload="uniform")) for x in (cell(), cell("copris"))]
    said = _sentence(_report(*flat), "uniform 2x2: all")
    assert "partial rollout has nothing to gain" in said
    assert "1.00x the rollout samples/s and 1.00x the whole-step samples/s of sync" in said


def test_a_range_is_told_of_several_rounds_only() -> None:
    rounds = [cell(), _fast(), cell(number=2), _fast(key=key("copris", round=2), generate_s=5.0)]
    assert "has 2.20x (2.00..2.40) the" in _sentence(_report(*rounds), "longtail 2x2: copris")
    assert "has 2.00x the" in _sentence(_report(*rounds[:2]), "longtail 2x2: copris")


def test_a_lag_that_no_limit_enclosed_is_told() -> None:
    theirs = cell("colocate_async", lag_mean=3.0, generate_s=8.0)
    said = _sentence(_report(cell(), _fast(lag_mean=1.0), theirs), "longtail 2x2: at the mean lag")
    assert "3.00 (copris 1.00)" in said
    assert "no two N' enclose that lag in every round, nearest: copris" in said


def test_pruning_is_told_beside_its_bound() -> None:
    pruned = cell("copris+cppo", trained_samples=4, waterfall=waterfall(update=3.3))
    said = _sentence(_report(cell(), _fast(), pruned), "longtail 2x2: CPPO")
    assert "P = 0.50 over copris takes 0.55x" in said
    assert said.endswith("wanted at most 0.55x")


def test_what_weakens_the_numbers_is_told_first() -> None:
    failure = Failure(key=key("copris", round=2), reason="exit code 1: out of memory", seconds=4.2)
    unsplit = waterfall(generate_full=0, tail_bubble=0, engine_gap=0, waiting=0, unsplit=12.0)
    blind = _fast(engine=None, note="no engine log", revision="fedcba9", waterfall=unsplit)
    report = _report(cell(), blind, failures=(failure,), rounds=2)
    said = words(report)
    assert said[:3] == [
        "1 of 4 cells have not run yet",
        "failed: longtail/2x2/copris/round2 after 4 s: exit code 1: out of memory",
        "the cells are of several revisions (0123abc, fedcba9): don't compare",
    ]
    assert "longtail/2x2/copris/round1: no engine log, so its generation is not split" in said


def test_pieces_that_miss_the_step_are_told() -> None:
    exact, off = waterfall(), waterfall(other=0.75)  # 20 s in all; 1.25% more
    assert not any("miss" in x for x in words(_report(cell(waterfall=exact))))
    assert "longtail/2x2/sync/round1: the pieces miss the step's seconds by 1.2%" in words(
        _report(cell(waterfall=off))
    )


def test_the_picture_is_a_png_with_a_row_for_each_batch() -> None:
    small, large = cell(), cell(key=replace(key(), batch=Batch(16, 8)))
    one, two = (
        imread(io.BytesIO(draw_workload(group_cells(x)))) for x in ([small], [small, large])
    )
    assert one.shape[1] == two.shape[1]
    assert one.shape[0] < two.shape[0]
    with pytest.raises(ValueError, match="at least one workload"):
        draw_workload([])


def test_bars_add_up_to_a_mean_step_and_useful_seconds_come_first() -> None:
    (group,) = group_cells([cell(), _fast()])
    axis = Figure().subplots()
    seconds(axis, group)
    first = [bar for bar in axis.patches if bar.get_y() < 0.5]
    assert sum(bar.get_width() for bar in first) == pytest.approx(10.0)
    assert [bar.get_width() for bar in first][:3] == [2.0, 0.5, 3.0]  # full, log-probs, update
    assert "10.00 s" in [x.get_text() for x in axis.texts]
    assert len(PIECES) == len({colour for _, colour in PIECES.values()})


def test_an_unsplit_generation_is_drawn_as_such() -> None:
    pieces = waterfall(generate_full=0, tail_bubble=0, engine_gap=0, waiting=0, unsplit=12.0)
    (group,) = group_cells([cell(waterfall=pieces, engine=None, note="no engine log")])
    axis = Figure().subplots()
    seconds(axis, group)
    names = axis.get_legend_handles_labels()[1]
    assert "generating, not split" in names
    assert "empty slots" not in names


def test_a_prefill_that_is_not_told_apart_is_marked() -> None:
    (group,) = group_cells([cell("colocate_async", reprefill_tokens=None)])
    axis = Figure().subplots()
    seconds(axis, group)
    assert any("prefill again not told apart" in x.get_text() for x in axis.texts)


def test_ratios_are_drawn_with_both_limits() -> None:
    (group,) = group_cells([cell(), _fast()])
    axis = Figure().subplots()
    ratios(axis, group, ink="#000000")
    assert "1.43x" in [x.get_text() for x in axis.texts]
    marks = {x.get_label(): x.get_xdata()[0] for x in axis.lines if "limit" in str(x.get_label())}
    assert marks["limit by empty slots"] == pytest.approx(1.5625)
    assert marks["limit by engine costs"] == pytest.approx(1 / 0.7)
    (alone,) = group_cells([_fast()])
    axis = Figure().subplots()
    ratios(axis, alone, ink="#000000")
    assert "not measured" in [x.get_text() for x in axis.texts]
