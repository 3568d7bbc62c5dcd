"""Which weights an evaluation takes: a folder's, or those of a checkpoint of a run."""

import json
import os
import shutil
from importlib import resources
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from copris_core.checkpoint.seal import begin, seal
from copris_core.verl_adapter import eval_merge, hub_model
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.eval_model import best_step, find_model

pytestmark = pytest.mark.verl

ASSET = Path(str(resources.files("copris_core"))) / "assets" / "tiny_days"


def _run(folder: Path, *steps: int, whole: bool = False) -> Path:
    """A run folder with FSDP checkpoints whose weights are the asset's plus the step."""
    for step in steps:
        checkpoint = folder / "checkpoints" / f"global_step_{step}"
        begin(checkpoint)
        _actor(checkpoint / "actor", shift=float(step), whole=whole)
        seal(checkpoint, step)
    (folder / "config.yaml").write_text("task: {name: gsm8k, answer_format: Say it.}\n")
    return folder


def _actor(actor: Path, *, shift: float, whole: bool = False) -> None:
    actor.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ASSET, actor / "huggingface", ignore=shutil.ignore_patterns("*.md"))
    weights = _shifted(shift)
    os.unlink(actor / "huggingface" / "model.safetensors")
    if whole:
        save_file(weights, actor / "huggingface" / "model.safetensors")
    torch.save(weights, actor / "model_world_size_1_rank_0.pt")
    (actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": 1}))


def _shifted(shift: float) -> dict[str, torch.Tensor]:
    """In fp32, and not what bf16 can hold."""
    return {name: tensor.float() + shift + 0.001 for name, tensor in _weights(ASSET).items()}


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def _metrics(run: Path, rows: dict[int, dict[str, float]]) -> None:
    lines = [json.dumps({"step": step, "time_s": 1.0, **row}) for step, row in rows.items()]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def test_a_hugging_face_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    found = find_model(str(ASSET), step="newest")
    assert (found.path, found.name, found.step) == (ASSET, "tiny_days", None)
    assert find_model("tiny_days", step="newest").path == ASSET  # by its name, as training has it
    assert found.trained_on == {}


def test_the_newest_checkpoint_that_counts_is_merged_by_verls_merger(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", 1, 2, 10)
    (run / "checkpoints" / "global_step_10" / "complete.json").unlink()
    found = find_model(str(run), step="newest")
    assert (found.step, found.name) == (2, "run step 2")
    assert found.path == run / "eval" / "step_2" / "model"
    merged, trained = _weights(found.path), _shifted(2.0)
    assert merged.keys() == trained.keys()
    assert all(torch.equal(merged[name], trained[name].bfloat16()) for name in trained)
    assert {"config.json", "tokenizer.json"} <= {path.name for path in found.path.iterdir()}
    assert found.trained_on["answer_format"] == "Say it."


def test_a_step_can_be_named(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", 1, 2)
    assert find_model(str(run), step="1").home == run / "eval" / "step_1"
    with pytest.raises(ConfigError, match="saved step 1, 2; name one of them"):
        find_model(str(run), step="3")


def test_weights_that_training_saved_whole_keep_its_type(tmp_path: Path) -> None:
    found = find_model(str(_run(tmp_path / "run", 1, whole=True)), step="newest")
    taken, trained = _weights(found.path), _shifted(1.0)
    assert all(torch.equal(taken[name], trained[name]) for name in trained)
    assert not (tmp_path / "run" / "eval").exists()


def test_the_best_is_the_best_of_the_held_out_validation_among_saved_steps(
    tmp_path: Path,
) -> None:
    run = _run(tmp_path / "run", 2, 4, 6)
    _metrics(
        run,
        {
            0: {"val/accuracy": 0.9},
            2: {"val/accuracy": 0.3},
            3: {"val/accuracy": 0.8},  # never saved
            4: {"val/accuracy": 0.5},
            5: {"reward/mean": 1.0},
            6: {"val/accuracy": 0.4},
        },
    )
    assert find_model(str(run), step="best").step == 4


def test_no_result_of_an_evaluation_chooses_weights(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", 1, 2)
    _metrics(run, {1: {"val/accuracy": 0.6}, 2: {"val/accuracy": 0.2}})
    before = find_model(str(run), step="best").step
    for step, accuracy in ((1, 0.0), (2, 1.0)):
        place = run / "eval" / f"step_{step}" / "gsm8k"
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps({"val/accuracy": accuracy, "step": step}))
    assert find_model(str(run), step="best").step == before == 1


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([{"step": 1, "val/accuracy": 0.5}, {"step": 2, "val/accuracy": 0.5}], 1),
        (
            [
                {"step": 1, "val/accuracy": 0.9, "val/blended": 0.1},
                {"step": 2, "val/accuracy": 0.1, "val/blended": 0.2},
            ],
            2,
        ),
        ([{"step": 1, "val/accuracy": 0.9, "val/blended": 0.1}, {"step": 2, "val/accuracy": 1}], 2),
        ([{"step": 3, "val/accuracy": 0.9}, {"step": 1, "reward/mean": 1.0}], None),
        ([], None),
    ],
)
def test_the_blended_accuracy_decides_where_every_step_has_it_and_the_earlier_of_equals(
    rows: list[dict[str, float]], best: int | None
) -> None:
    assert best_step(rows, [1, 2]) == best


def test_a_checkpoint_written_anew_is_merged_anew_and_else_once(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", 1)
    first = find_model(str(run), step="newest")
    stamp = (first.path / "model.safetensors").stat().st_mtime_ns
    assert find_model(str(run), step="newest").digest() == first.digest()
    assert (first.path / "model.safetensors").stat().st_mtime_ns == stamp
    digest = first.digest()
    shutil.rmtree(run / "checkpoints")
    _run(run, 1)
    actor = run / "checkpoints" / "global_step_1" / "actor"
    torch.save(_shifted(7.0), actor / "model_world_size_1_rank_0.pt")
    assert find_model(str(run), step="newest").digest() != digest


def test_a_merge_that_dies_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(tmp_path / "run", 1)

    def die(actor: Path, target: Path) -> None:
        (target / "config.json").write_text("{}")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(eval_merge, "_run_merger", die)
        with pytest.raises(KeyboardInterrupt):
            find_model(str(run), step="newest")
    assert not (run / "eval" / "step_1" / "model").exists()
    assert "model.safetensors" in os.listdir(find_model(str(run), step="newest").path)


def test_a_checkpoint_that_cannot_be_merged_is_one_line(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", 1)
    (run / "checkpoints" / "global_step_1" / "actor" / "fsdp_config.json").write_text("{}")
    seal(run / "checkpoints" / "global_step_1", 1)
    with pytest.raises(ConfigError, match=r"World size not found.*: name another --step"):
        find_model(str(run), step="newest")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere/at/all", "no such folder; give a Hugging Face folder, a hub id"),
        ("empty", "empty has no config.json"),
        ("run", "has no checkpoint to evaluate: train with trainer.save_freq=N"),
        ("bare", "bare has no weights"),
    ],
)
def test_what_is_no_model_is_one_line_with_the_mend(tmp_path: Path, name: str, told: str) -> None:
    for folder in ("empty", "run", "bare"):
        (tmp_path / folder).mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    (tmp_path / "bare" / "config.json").write_text("{}")
    with pytest.raises(ConfigError) as error:
        find_model(str(tmp_path / name), step="newest")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub_model, "find_model", lambda word: (Path(word), word))
    with pytest.raises(ConfigError, match="the hub does not answer, and some/model is not on"):
        find_model("some/model", step="newest")


def test_a_step_is_for_runs_only() -> None:
    with pytest.raises(ConfigError, match="--step best is for run folders"):
        find_model(str(ASSET), step="best")


def test_other_weights_have_another_digest(tmp_path: Path) -> None:
    shutil.copytree(ASSET, tmp_path / "m")
    before = find_model(str(tmp_path / "m"), step="newest").digest()
    assert before == find_model(str(ASSET), step="newest").digest()
    weights = _weights(ASSET)
    last = sorted(weights)[-1]
    weights[last] = weights[last] + 1
    save_file(weights, tmp_path / "m" / "model.safetensors")
    assert find_model(str(tmp_path / "m"), step="newest").digest() != before
