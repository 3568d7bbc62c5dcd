"""The words of ``copris bench`` and its exit codes."""

import json
import sys
from pathlib import Path

import pytest

from copris_core import cli
from copris_core.cli_bench import BENCH_HELP, DEFAULTS, REPORT_ONLY, split_bench
from copris_core.report.bench import BenchReport, BenchSetup, Failure
from copris_core.report.bench_names import Batch
from copris_core.verl_adapter import bench_methods
from copris_core.verl_adapter.bench_runs import refuse_unknown_names
from copris_core.verl_adapter.errors import ConfigError
from tests.report.bench_house import key, row, write_run


def test_without_words_everything_of_the_issue_is_measured():
    told = split_bench([])
    assert told.setup.workloads == ("days", "longtail", "uniform", "longtail-heavy")
    assert told.setup.batches == (Batch(4, 8), Batch(16, 8))
    assert len(told.setup.methods) == 8
    assert (told.setup.rounds, told.setup.steps, told.setup.warmup_steps) == (3, 15, 3)
    assert (told.setup.seed, told.setup.concurrency) == (0, None)
    assert (told.out, told.report_only) == (Path("runs/bench"), False)
    refuse_unknown_names(told.setup)


def test_words_are_told_from_overrides():
    told = split_bench(
        [
            *("--workloads", "days", "--batches", "2x4", "mini_batches=1", "--rounds", "1"),
            *("--methods", "sync,copris@48+cppo", "--steps", "5", "--warmup-steps", "0"),
            *("--concurrency", "16", "--cell-limit", "60", "--out", "x=y", "--report-only"),
            *("seed=7", "+a.b=c"),
        ]
    )
    assert told.setup == BenchSetup(
        workloads=("days",),
        batches=(Batch(2, 4),),
        methods=("sync", "copris@48+cppo"),
        rounds=1,
        steps=5,
        warmup_steps=0,
        concurrency=16,
        seed=7,
        overrides=("mini_batches=1", "+a.b=c"),
    )
    assert (told.out, told.cell_limit_s, told.report_only) == (Path("x=y"), 60, True)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--rounds 0", "--rounds 0: give a whole number of 1 or more"),
        ("--rounds two", "--rounds two: give a whole number"),
        ("--steps 3 --warmup-steps 3", "--steps 3 leaves nothing to count behind --warmup-steps 3"),
        ("--warmup-steps -1", "--warmup-steps -1: give a whole number of 0 or more"),
        ("--concurrency 0", "--concurrency 0: give a whole number of 1 or more"),
        ("--out", "--out needs a word: --out runs/bench"),
        ("--methods --rounds 2", "--methods needs a word: --methods sync_released,"),
        ("--methods sync,,copris", "--methods sync,,copris: write each name once"),
        ("--methods sync,sync", "--methods sync,sync: write each name once"),
        ("--batches 4by8", "batch '4by8': write PROMPTSxRESPONSES"),
        ("--round 2", "unknown word --round: did you mean --rounds"),
        ("copris", "unknown word copris: see copris bench --help"),
        ("seed=x", "seed x: give a whole number of 0 or more"),
        ("run.dir=x", "run.dir=x: bench sets it for each cell"),
        ("experiment=copris", "experiment=copris: bench sets it for each cell"),
        ("trainer.total_training_steps=9", "trainer.total_training_steps=9: bench sets it"),
        ("--methods coprs", "unknown method coprs: did you mean copris?"),
        ("--workloads day --rounds 1", "unknown workload day: did you mean days?"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_2(words, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", *words.split()]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"copris: {line}")
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.verl
@pytest.mark.parametrize(
    ("word", "line"),
    [("seeed=1", "unknown key seeed"), ("mini_batches=5", "mini_batches=5 does not")],
)
def test_a_wrong_override_is_refused_before_the_first_cell(
    word, line, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", word]) == 2
    assert capsys.readouterr().err.startswith(f"copris: {line}")
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_every_flag_workload_and_method():
    names = (*DEFAULTS, REPORT_ONLY, *bench_methods.WORKLOADS, *bench_methods.METHODS)
    assert [name for name in names if name not in BENCH_HELP] == []


def test_a_flag_of_bench_is_no_override():
    with pytest.raises(ConfigError, match="unknown word --seed=3"):
        split_bench(["--seed=3"])


def _bench(out: Path, *failures: Failure) -> Path:
    """A bench of one finished cell."""
    setup = split_bench(
        [
            *("--workloads", "longtail", "--batches", "2x2", "--methods", "sync"),
            *("--rounds", "2", "--steps", "3", "--warmup-steps", "1"),
        ]
    ).setup
    write_run(out / key().path, [row(1), row(2), row(3)])
    report = BenchReport(setup=setup, command="x", machine={}, cells=(), failures=failures)
    (out / "bench.json").write_text(json.dumps(report.to_json()))
    return out


def test_report_only_reads_what_is_there_and_prints_it(tmp_path, capsys):
    assert cli.main(["bench", "--report-only", "--out", str(_bench(tmp_path / "bench"))]) == 0
    told = capsys.readouterr()
    assert "longtail 2x2" in told.out
    assert "1 of 2 cells have not run yet" in told.out
    assert "goals" in told.out
    assert told.err == ""


def test_without_the_drawing_package_it_is_one_line_and_exit_2(tmp_path, capsys, monkeypatch):
    out = _bench(tmp_path / "bench")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["bench", "--report-only", "--out", str(out)]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("copris: matplotlib is missing: pip install")
    assert told.err.count("\n") == 1


def test_a_failed_cell_is_one_line_and_exit_1(tmp_path, capsys):
    failure = Failure(key=key(round=2), reason="exit code 1: out of memory", seconds=3.0)
    assert (
        cli.main(["bench", "--out", str(_bench(tmp_path / "bench", failure)), "--report-only"]) == 1
    )
    told = capsys.readouterr()
    assert told.err == "copris: 1 of 2 cells failed: longtail/2x2/sync/round2\n"
    assert "failed: longtail/2x2/sync/round2 after 3 s: exit code 1: out of memory" in told.out


def test_nothing_to_read_is_one_line_and_exit_2(tmp_path, capsys):
    assert cli.main(["bench", "--report-only", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("copris: no file ")
