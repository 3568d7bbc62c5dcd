"""A comparison is planned, goes on, and survives a run that fails; nothing is trained here."""

import functools
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.verl

QUIET = ("data.train_batch_size=4", "trainer.total_training_steps=4")


class Stage:
    """Stands in for training: writes what a run leaves behind, and remembers its runs."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.failing: set[str] = set()

    def train(self, cfg, run) -> Path:
        from omegaconf import OmegaConf

        from copris_core.report.run_folder import RunFolder, write_json
        from copris_core.verl_adapter.errors import TrainingError
        from tests.report.compare_house import run_of

        name = f"{run.run_dir.parent.name}/{run.run_dir.name}"
        self.trained.append(name)
        folder = RunFolder(path=run.run_dir)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_config(OmegaConf.to_yaml(cfg, resolve=True))
        if name in self.failing:
            raise TrainingError("out of memory; logs: /secret/place/logs")
        known = run_of(experiment=run.experiment_name, seed=run.seed)
        folder.metrics_path.unlink(missing_ok=True)
        for row in known.rows:
            folder.append_metrics(row)
        write_json(folder.summary_path, known.summary.to_json())
        return folder.path


@functools.cache
def _entered(words: tuple[str, ...]):
    """Composing takes a second; what comes out is not changed by anybody here."""
    from copris_core.verl_adapter.door import compose, derive, parse

    cfg = compose(words)
    run = parse(cfg)
    return derive(cfg, run), run


@pytest.fixture
def stage(monkeypatch):
    from copris_core.verl_adapter import compare_runs, launch

    stage, written = Stage(), []

    def write(methods, out, *, failures=(), command=None):
        from copris_core.report.write import ReportPaths

        written.append(([(x.label, x.seeds) for x in methods], list(failures), command))
        place = out / "x"
        return ReportPaths(json=place, text=place, page=place, picture=place)

    monkeypatch.setattr(launch, "train", stage.train)
    monkeypatch.setattr(compare_runs.door, "enter", lambda words: _entered(tuple(words)))
    monkeypatch.setattr(compare_runs, "check", lambda run, cfg: [])
    # Pictures take seconds, and are tested where they are drawn.
    monkeypatch.setattr(compare_runs, "write_report", write)
    stage.written = written
    return stage


def compare(*words: str) -> int:
    from copris_core.cli_compare import compare as run

    return run([*words, *QUIET])


def test_seeds_are_trained_in_turn_and_the_report_is_written_after_each_run(stage, tmp_path):
    assert compare("grpo", "copris", "--seeds", "2", "--out", str(tmp_path)) == 0
    assert stage.trained == ["grpo/seed_0", "copris/seed_0", "grpo/seed_1", "copris/seed_1"]
    assert [methods for methods, *_ in stage.written] == [
        [("grpo", (0,))],
        [("grpo", (0,)), ("copris", (0,))],
        [("grpo", (0, 1)), ("copris", (0,))],
        [("grpo", (0, 1)), ("copris", (0, 1))],
    ]
    noted = json.loads((tmp_path / "grpo" / "seed_0" / "machine.json").read_text())
    assert noted["devices"] == "1 x cpu"
    assert noted["cores"] >= 1


def test_what_is_finished_stays_and_what_is_not_is_trained(stage, tmp_path, capsys):
    assert compare("grpo", "--out", str(tmp_path)) == 0
    assert compare("grpo", "copris", "--seeds", "2", "--out", str(tmp_path)) == 0
    assert stage.trained == ["grpo/seed_0", "copris/seed_0", "grpo/seed_1", "copris/seed_1"]
    assert "is finished and stays" in capsys.readouterr().out
    stage.trained.clear()
    assert compare("grpo", "copris", "--seeds", "2", "--out", str(tmp_path)) == 0
    assert stage.trained == []


def test_a_run_that_fails_is_reported_and_the_rest_still_run(stage, tmp_path, capsys):
    stage.failing = {"grpo/seed_1"}
    assert compare("grpo", "copris", "--seeds", "2", "--out", str(tmp_path)) == 1
    assert stage.trained[-1] == "copris/seed_1"
    methods, failures, _ = stage.written[-1]
    assert methods == [("grpo", (0,)), ("copris", (0, 1))]
    # The report may be passed on: it tells nothing of the machine's folders.
    assert failures == ["grpo, seed 1: out of memory; logs: .../logs"]
    assert "No result: grpo, seed 1" in " ".join(capsys.readouterr().out.split())
    stage.failing = set()
    assert compare("grpo", "copris", "--seeds", "2", "--out", str(tmp_path)) == 0
    assert stage.trained[4:] == ["grpo/seed_1"]


def test_a_fault_of_ours_in_one_run_does_not_end_the_others(stage, tmp_path, monkeypatch):
    from copris_core.verl_adapter import launch

    def train(cfg, run):
        if run.experiment_name == "grpo":
            raise KeyError("a bug")
        return stage.train(cfg, run)

    monkeypatch.setattr(launch, "train", train)
    assert compare("grpo", "copris", "--out", str(tmp_path)) == 1
    methods, failures, _ = stage.written[-1]
    assert methods == [("copris", (0,))]
    assert failures == ["grpo, seed 0: KeyError: 'a bug'"]


def test_ctrl_c_ends_the_comparison(stage, tmp_path, monkeypatch):
    from copris_core.verl_adapter import launch

    def train(cfg, run):
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "train", train)
    with pytest.raises(KeyboardInterrupt):
        compare("grpo", "copris", "--out", str(tmp_path))
    assert stage.written == []


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("trainer.total_training_steps=5", "trainer.total_training_steps=4 (not 5)"),
        ("actor_rollout_ref.actor.optim.lr=0.5", "optim.lr="),
        ("trainer.test_freq=1", "trainer.test_freq=4 (not 1)"),
    ],
)
def test_a_folder_with_another_run_is_refused_before_anything_starts(stage, tmp_path, word, told):
    from copris_core.verl_adapter.errors import ConfigError

    compare("grpo", "--out", str(tmp_path))
    with pytest.raises(ConfigError, match=r"holds a run with .*name another --out") as error:
        compare("copris", f"grpo {word} as grpo", "--out", str(tmp_path))
    assert told in str(error.value)
    assert stage.trained == ["grpo/seed_0"]


def test_where_a_run_is_saved_and_logged_may_change(stage, tmp_path):
    compare("grpo", "--out", str(tmp_path))
    assert (
        compare("grpo", "--out", str(tmp_path), "trainer.save_freq=2", "run.engine_log=true") == 0
    )
    assert stage.trained == ["grpo/seed_0"]


def test_a_wrong_word_of_the_last_experiment_stops_all_before_the_first(stage, tmp_path):
    from copris_core.verl_adapter.errors import ConfigError

    with pytest.raises(ConfigError, match="unknown key seeed"):
        compare("grpo", "copris seeed=1", "--out", str(tmp_path))
    with pytest.raises(ConfigError, match="experiment=gropo is unknown"):
        compare("grpo", "gropo", "--out", str(tmp_path))
    assert stage.trained == []


def test_finished_runs_are_compared_without_training(stage, tmp_path):
    from copris_core.cli_compare import compare as run

    compare("grpo", "copris as ours", "--seeds", "2", "--out", str(tmp_path / "first"))
    stage.trained.clear()
    words = [str(tmp_path / "first"), "--out", str(tmp_path / "second")]
    assert run(words) == 0
    assert stage.trained == []
    assert stage.written[-1][0] == [("grpo", (0, 1)), ("ours", (0, 1))]
    words[0] = str(tmp_path / "first" / "ours" / "seed_1")
    assert run([*words, str(tmp_path / "first" / "grpo")]) == 0
    assert stage.written[-1][0] == [("ours", (1,)), ("grpo", (0, 1))]


def test_finished_runs_stand_beside_trained_ones_where_the_words_put_them(stage, tmp_path):
    compare("grpo", "--out", str(tmp_path / "first"))
    old, out = str(tmp_path / "first"), str(tmp_path / "second")
    assert compare(old, "copris", "--out", out) == 0
    assert [x for x, _ in stage.written[-1][0]] == ["grpo", "copris"]
    assert compare("copris", old, "--out", out) == 0
    assert [x for x, _ in stage.written[-1][0]] == ["copris", "grpo"]
    assert compare("grpo", old, "--out", out) == 0
    assert [x for x, _ in stage.written[-1][0]] == ["grpo", "grpo #2"]


def test_the_report_names_its_command_without_the_machines_folders(stage, tmp_path):
    compare("grpo", "cppo pruning.pruning_rate=0.5", "--out", str(tmp_path / "x"))
    command = stage.written[-1][2]
    assert command.startswith("copris compare grpo 'cppo pruning.pruning_rate=0.5' --out .../x")
    assert str(tmp_path) not in command


def test_a_folder_without_a_finished_run_is_the_users_error(tmp_path, capsys):
    from copris_core import cli

    (tmp_path / "empty").mkdir()
    assert cli.main(["compare", str(tmp_path / "empty")]) == 2
    told = capsys.readouterr().err
    assert "holds no finished run" in told
    assert told.count("\n") == 1


def test_allocation_trains_as_many_rows_on_more_prompts(entered):
    _, plain = entered("experiment=grpo")
    _, allocated = entered("experiment=cppo_allocated")
    assert allocated.plan.trained_rows == plain.plan.trained_rows
    assert allocated.plan.prompts == 2 * plain.plan.prompts
    assert allocated.plan.rows_per_mini_batch == plain.plan.rows_per_mini_batch
