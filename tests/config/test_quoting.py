"""A folder of any name reaches the config as it is."""

from pathlib import Path

import pytest

from copris_core.verl_adapter.quoting import path_override

NAMES = ["plain", "my bench, 2", "it's", 'a "b"', "x=[1]", "back\\slash", 'a\\"b', "end\\", "{a:b}"]


def test_the_folder_is_quoted():
    assert path_override("run.dir", Path("my bench, 2")) == 'run.dir="my bench, 2"'


@pytest.mark.verl
@pytest.mark.parametrize("name", NAMES)
def test_hydra_reads_back_the_same_folder(name):
    from copris_core.verl_adapter.door import compose

    path = Path("runs") / name
    assert compose([path_override("run.dir", path)]).run.dir == str(path)


@pytest.mark.verl
def test_compare_puts_its_runs_into_a_folder_of_any_name(tmp_path, monkeypatch):
    from copris_core.cli_compare import split_compare
    from copris_core.verl_adapter import compare_runs, launch
    from copris_core.verl_adapter.errors import TrainingError

    folders = []

    def no_training(cfg, run):
        folders.append(run.run_dir)
        raise TrainingError("stop here")

    monkeypatch.setattr(launch, "train", no_training)
    with pytest.raises(TrainingError):
        compare_runs.compare(split_compare(["grpo", "--out", str(tmp_path / "two, three")]))
    assert folders == [tmp_path / "two, three" / "grpo" / "seed_0"]


@pytest.mark.verl
@pytest.mark.parametrize("method", ["copris", "copris_adaptive", "naive_partial", "oversample"])
def test_the_cells_of_a_bench_in_a_folder_of_any_name_pass_the_check(method, tmp_path):
    from copris_core.cli_bench import split_bench
    from copris_core.verl_adapter.bench_runs import overrides_of
    from copris_core.verl_adapter.check import check
    from copris_core.verl_adapter.door import enter

    setup = split_bench(["--methods", method, "--workloads", "longtail"]).setup
    for key in setup.order[:: setup.rounds]:
        folder = tmp_path / "my bench, 2" / key.path
        cfg, run = enter([*overrides_of(setup, key), path_override("run.dir", folder)])
        check(run, cfg)
        assert run.run_dir == folder
        assert run.plan.in_flight == 2 * key.batch.samples
