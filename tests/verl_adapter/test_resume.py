"""The same command again starts, goes on, starts over or refuses, by what the folder holds."""

import contextlib
import json
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from copris_core.checkpoint.seal import begin, seal
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.resume import plan, prepare

pytestmark = pytest.mark.verl

NOW_S = 1000.0


def _config(**changes: object) -> DictConfig:
    config = OmegaConf.create(
        {
            "seed": 0,
            "run": {"dir": "here", "started_s": None},
            "actor": {"lr": 1e-6, "betas": [0.9, 0.999], "nothing": {}},
            "trainer": {
                "resume_mode": "auto",
                "total_training_steps": 10,
                "test_freq": 5,
                "save_freq": 1,
            },
        }
    )
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    return config


def _rows(*steps: int, **extra: float) -> str:
    return "".join(json.dumps({"step": x, "time_s": 10.0 * x, **extra}) + "\n" for x in steps)


def _begun(folder: Path, *, rows: str = "", sealed: tuple[int, ...] = (), **changes) -> Path:
    """A run folder as a run leaves it that was cut off."""
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(_config(**changes)))
    (folder / "metrics.jsonl").write_text(rows)
    for step in sealed:
        checkpoint = folder / "checkpoints" / f"global_step_{step}"
        begin(checkpoint)
        (checkpoint / "data.pt").write_bytes(b"x")
        seal(checkpoint, step)
    return folder


def _finished(folder: Path, **given) -> Path:
    (_begun(folder, **given) / "summary.json").write_text("{}")
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_folder_starts_at_the_beginning(tmp_path):
    start = plan(tmp_path, _config(), now_s=NOW_S)
    assert (start.step, start.checkpoint, start.started_s) == (0, None, NOW_S)
    assert start.overrides == {"trainer.resume_mode": "disable"}  # verl shall not look for itself


def test_a_checkpoint_of_the_users_own_is_left_to_verl(tmp_path):
    start = plan(tmp_path, _config(trainer__resume_mode="resume_path"), now_s=NOW_S)
    assert start.overrides == {}


def test_a_run_that_was_cut_off_goes_on_from_its_newest_whole_checkpoint(tmp_path):
    _begun(tmp_path, rows=_rows(1, 2, 3, 4), sealed=(1, 2, 3))
    begin(tmp_path / "checkpoints" / "global_step_4")
    start = plan(tmp_path, _config(), now_s=NOW_S)
    assert start.step == 3
    assert start.overrides == {
        "trainer.resume_mode": "resume_path",
        "trainer.resume_from_path": str(tmp_path / "checkpoints" / "global_step_3"),
        "trainer.val_before_train": False,
    }
    assert start.started_s == NOW_S - 30.0  # the clock goes on where row 3 was written


@pytest.mark.parametrize(
    ("sealed", "validated", "again"), [(5, False, True), (5, True, False), (4, False, False)]
)
def test_a_validation_that_the_kill_prevented_is_made_up_for(tmp_path, sealed, validated, again):
    extra = {"val/accuracy": 0.5} if validated else {}
    _begun(tmp_path, rows=_rows(sealed, **extra), sealed=(sealed,))
    start = plan(tmp_path, _config(), now_s=NOW_S)
    assert start.overrides["trainer.val_before_train"] is again


def test_a_run_without_a_checkpoint_starts_over(tmp_path):
    _begun(tmp_path, rows=_rows(0, 1, 2))
    start = plan(tmp_path, _config(), now_s=NOW_S)
    assert (start.checkpoint, start.started_s) == (None, NOW_S)
    prepare(tmp_path, start)
    assert (tmp_path / "metrics.jsonl").read_text() == ""
    assert (tmp_path / "metrics.abandoned.jsonl").read_text() == _rows(0, 1, 2)


def test_what_lies_behind_the_checkpoint_is_kept_aside(tmp_path):
    torn = '{"step": 4, "ti'
    _begun(tmp_path, rows=_rows(0, 1, 2, 3) + torn, sealed=(2,))
    (tmp_path / "trajectories.jsonl").write_text('{"step": 2}\n{"step": 3}\n')
    (tmp_path / "failure.json").write_text("{}")
    begin(tmp_path / "checkpoints" / "global_step_3")
    prepare(tmp_path, plan(tmp_path, _config(), now_s=NOW_S))
    assert (tmp_path / "metrics.jsonl").read_text() == _rows(0, 1, 2)
    assert (tmp_path / "metrics.abandoned.jsonl").read_text() == _rows(3) + torn + "\n"
    assert (tmp_path / "trajectories.jsonl").read_text() == '{"step": 2}\n'
    assert (tmp_path / "trajectories.abandoned.jsonl").read_text() == '{"step": 3}\n'
    assert not (tmp_path / "failure.json").exists()
    assert [x.name for x in (tmp_path / "checkpoints").iterdir()] == ["global_step_2"]


def test_rows_abandoned_before_are_kept_as_well(tmp_path):
    _begun(tmp_path, rows=_rows(1, 2), sealed=(1,))
    start = plan(tmp_path, _config(), now_s=NOW_S)
    prepare(tmp_path, start)
    (tmp_path / "metrics.jsonl").write_text(_rows(1, 2, 3))
    prepare(tmp_path, start)
    assert (tmp_path / "metrics.abandoned.jsonl").read_text() == _rows(2, 2, 3)


def test_nothing_abandoned_leaves_no_file(tmp_path):
    _begun(tmp_path, rows=_rows(1, 2), sealed=(2,))
    prepare(tmp_path, plan(tmp_path, _config(), now_s=NOW_S))
    assert not (tmp_path / "metrics.abandoned.jsonl").exists()


def test_a_finished_run_is_refused_with_the_way_to_go_on(tmp_path):
    _finished(tmp_path, sealed=(10,))
    with pytest.raises(ConfigError, match="finished run of 10 steps: name another folder, or go"):
        plan(tmp_path, _config(), now_s=NOW_S)


def test_a_finished_run_goes_on_when_asked_for_more_steps(tmp_path):
    _finished(tmp_path, rows=_rows(9, 10), sealed=(10,))
    start = plan(tmp_path, _config(trainer__total_training_steps=20), now_s=NOW_S)
    assert start.step == 10
    prepare(tmp_path, start)
    assert not (tmp_path / "summary.json").exists()  # it is no longer finished


def test_a_finished_run_without_a_checkpoint_is_never_started_over(tmp_path):
    _finished(tmp_path)
    with pytest.raises(ConfigError, match="without a checkpoint to go on from"):
        plan(tmp_path, _config(trainer__total_training_steps=20), now_s=NOW_S)


def test_fewer_steps_than_are_done_are_refused(tmp_path):
    _begun(tmp_path, sealed=(8,))
    with pytest.raises(ConfigError, match=r"past step 7: set trainer\.total_training_steps to 8"):
        plan(tmp_path, _config(trainer__total_training_steps=7), now_s=NOW_S)
    assert plan(tmp_path, _config(trainer__total_training_steps=8), now_s=NOW_S).step == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"actor__lr": 1e-5}, "actor.lr=1e-06, the command says 1e-05"),
        ({"seed": 1}, "seed=0, the command says 1"),
        (
            {"actor__betas": [0.9, 0.99]},
            r"actor.betas=\[0.9, 0.999\], the command says \[0.9, 0.99",
        ),
        ({"actor__nothing": {"new": 1}}, r"actor.nothing=\{\}, the command says None"),
    ],
)
def test_another_config_is_refused_by_its_first_key_with_both_values(tmp_path, change, said):
    _begun(tmp_path, sealed=(2,))
    with pytest.raises(ConfigError, match=f"holds a run with {said}"):
        plan(tmp_path, _config(**change), now_s=NOW_S)


def test_what_does_not_change_the_training_may_change(tmp_path):
    _begun(tmp_path, sealed=(2,))
    changes = {"trainer__save_freq": 2, "trainer__test_freq": -1, "run__dir": "there"}
    assert plan(tmp_path, _config(**changes), now_s=NOW_S).step == 2


def test_a_user_who_wants_no_resuming_is_refused(tmp_path):
    _begun(tmp_path, sealed=(2,))
    with pytest.raises(ConfigError, match="holds a run already: name another folder, or remove"):
        plan(tmp_path, _config(trainer__resume_mode="disable"), now_s=NOW_S)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"trainer__resume_mode": "disable"}, {"trainer__save_freq": 3}]
)
def test_planning_changes_nothing(tmp_path, change):
    _begun(tmp_path, rows=_rows(1, 2, 3), sealed=(2,))
    begin(tmp_path / "checkpoints" / "global_step_3")
    before = _files(tmp_path)
    with contextlib.suppress(ConfigError):
        plan(tmp_path, _config(**change), now_s=NOW_S)
    assert _files(tmp_path) == before


def test_a_kill_while_rows_are_moved_loses_none(tmp_path, monkeypatch):
    _begun(tmp_path, rows=_rows(1, 2, 3), sealed=(2,))
    start = plan(tmp_path, _config(), now_s=NOW_S)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("copris_core.verl_adapter.resume.os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, start)
    assert (tmp_path / "metrics.jsonl").read_text() == _rows(1, 2, 3)
    prepare(tmp_path, start)
    assert (tmp_path / "metrics.jsonl").read_text() == _rows(1, 2)
    assert _rows(3) in (tmp_path / "metrics.abandoned.jsonl").read_text()
