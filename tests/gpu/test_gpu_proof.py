"""scripts/gpu_proof.py: what it would run, that it goes on where it was, what its table says."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # starts processes

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def proving() -> ModuleType:
    return _script("gpu_proof")


@pytest.fixture(scope="module")
def making() -> ModuleType:
    return _script("make_qwen2_model")


def _spread(median: float) -> dict[str, float]:
    return {"n": 1, "median": median, "low": median, "q1": median, "q3": median, "high": median}


def _method(name: str, samples_per_s: float, **more: Any) -> dict[str, Any]:
    values = {"generate_samples_per_s": _spread(samples_per_s), "decode_step_s": _spread(0.005)}
    waterfall = {"generate_full": 8.0, "tail_bubble": None, "update": 3.0}
    plain = {"method": name, "values": values, "ratios": {}, "limits": {}, "waterfall": waterfall}
    return {**plain, **more}


def _result(**more: Any) -> dict[str, Any]:
    faster = {
        "ratios": {"generate_samples_per_s": _spread(2.5), "step_samples_per_s": None},
        "limits": {"slots": {"step": 1.8}},
    }
    group = {
        "workload": "longtail-8k",
        "batch": "16x8",
        "methods": [_method("sync", 4.0), _method("copris", 10.0, **faster)],
    }
    plain = {
        "date": "2026-11-21",
        "platform": "gpu",
        "small": False,
        "device": {"name": "NVIDIA H100", "driver": "580.1", "memory_gib": 79.2},
        "packages": {"python": "3.11.7", "torch": "2.11.0"},
        "command": "bash scripts/gpu_proof.sh",
        "stages": {"bench-1": {"command": "x", "code": 0, "seconds": 12.0}},
        "tests": "94 passed",
        "bench": {
            "setup": {"steps": 6, "warmup_steps": 2, "rounds": 1},
            "groups": [group],
            "failures": [{"key": "longtail-8k/64x8/copris/round1", "reason": "exit code 1"}],
        },
        "engine": None,
        "validate": "| cell | step s |\n",
    }
    return {**plain, **more}


def _cells(text: str, begins: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(begins)]
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_the_table_says_when_on_what_and_how(proving: ModuleType) -> None:
    text = proving.table(_result())

    assert "2026-11-21, NVIDIA H100, 79.2 GiB, driver 580.1; python 3.11.7, torch 2.11.0" in text
    assert "    bash scripts/gpu_proof.sh" in text
    assert "rehearsal" not in text
    assert "Failed: longtail-8k/64x8/copris/round1: exit code 1" in text


def test_the_table_puts_each_ratio_behind_its_number_and_a_hyphen_for_the_unknown(
    proving: ModuleType,
) -> None:
    text = proving.table(_result())

    assert _cells(text, "| `sync` | 4.0")[:3] == ["`sync`", "4.0", "-"]
    row = _cells(text, "| `copris` | 10.0")
    assert row[:3] == ["`copris`", "10.0", "2.50"]
    assert row[-1] == "1.80 / -"
    heads = _cells(text, "| method | rollout")
    assert len(heads) == len(row)
    assert row[heads.index("iteration ms")] == "5.0"
    assert _cells(text, "| `copris` | 8.00")[:3] == ["`copris`", "8.00", "-"]


def test_a_rehearsal_says_that_it_is_none(proving: ModuleType) -> None:
    assert "no number here says anything of a GPU" in proving.table(_result(small=True))


@pytest.mark.parametrize("missing", ["bench", "validate", "tests"])
def test_what_was_not_run_is_said_to_be_missing(proving: ModuleType, missing: str) -> None:
    assert "not run" in proving.table(_result(**{missing: None}, stages={}))


def _proof(proving: ModuleType, out: Path, *, platform: str = "gpu") -> Any:
    return proving.Proof(out=out, platform=platform, small=platform == "cpu")


def test_every_cell_of_a_gpu_proof_forces_lengths_up_to_8k(
    proving: ModuleType, tmp_path: Path
) -> None:
    from copris_core.verl_adapter.bench_methods import WORKLOADS

    benches = [
        stage for stage in _proof(proving, tmp_path).stages() if stage.name.startswith("bench")
    ]

    assert {stage.words[stage.words.index("--batches") + 1] for stage in benches} == {
        "16x8",
        "64x8",
    }
    for stage in benches:
        workload = stage.words[stage.words.index("--workloads") + 1]
        assert "task.cap=8192" in WORKLOADS[workload]
        assert "platform=gpu" in stage.words


def _stages(proving: ModuleType, monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    stages = [
        proving.Stage(name=f"s{number}", words=("-c", script))
        for number, script in enumerate(scripts)
    ]
    monkeypatch.setattr(proving.Proof, "stages", lambda _: iter(stages))
    monkeypatch.setattr(proving.Proof, "planner", lambda *_: iter(()))
    monkeypatch.setattr(proving, "write", lambda _, done: {"stages": dict(done)})


def test_a_stage_that_is_done_is_not_done_again(
    proving: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = f"open({str(tmp_path / 'count')!r}, 'a').write('x')"
    _stages(proving, monkeypatch, count, "import sys; sys.exit(3)")
    proof = _proof(proving, tmp_path / "out")

    first = proving.prove(proof, budget_s=600)
    second = proving.prove(proof, budget_s=600)

    assert (tmp_path / "count").read_text() == "x"
    assert [each["code"] for each in first["stages"].values()] == [0, 3]
    assert second["stages"]["s0"] == first["stages"]["s0"]
    assert not (tmp_path / "out" / "s1.json").exists()


def test_no_stage_begins_for_which_the_budget_has_no_time(
    proving: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stages(proving, monkeypatch, "pass")
    proof = _proof(proving, tmp_path)

    assert proving.prove(proof, budget_s=proving.RESERVE_S + proving.LEAST_S / 2)["stages"] == {}


def test_a_stage_is_asked_to_end_when_the_budget_does(proving: ModuleType, tmp_path: Path) -> None:
    script = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); time.sleep(60)"
    stage = proving.Stage(name="long", words=("-c", script))

    found = proving.run(stage, _proof(proving, tmp_path), limit_s=1.0)

    assert found["code"] in (7, -15)
    assert found["seconds"] < 30


def test_a_stage_does_not_outlive_a_proof_that_is_stopped(
    proving: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Stopped(subprocess.Popen):
        """Its first wait is cut off by SIGTERM's handler."""

        def wait(self, timeout: float | None = None) -> int:
            if self not in started:
                started.append(self)
                raise SystemExit(143)
            return super().wait(timeout)

    monkeypatch.setattr(proving.subprocess, "Popen", Stopped)
    stage = proving.Stage(name="long", words=("-c", "import time; time.sleep(60)"))

    with pytest.raises(SystemExit):
        proving.run(stage, _proof(proving, tmp_path), limit_s=30)

    assert started[0].poll() is not None


def test_another_proof_in_the_same_folder_is_refused(proving: ModuleType, tmp_path: Path) -> None:
    assert proving.refuse(_proof(proving, tmp_path, platform="cpu")) is None
    assert proving.refuse(_proof(proving, tmp_path, platform="cpu")) is None
    whole = proving.Proof(out=tmp_path, platform="cpu", small=False)
    assert "holds another proof" in proving.refuse(whole)


def test_what_is_written_names_no_place_of_the_machine(proving: ModuleType, tmp_path: Path) -> None:
    proof = _proof(proving, tmp_path, platform="cpu")
    (tmp_path / "validate.log").write_text(f"no cell of {tmp_path}/bench can be predicted\n")
    done = {"model": {"command": f"python make --out {tmp_path}/model", "code": 0, "seconds": 1.0}}

    result = proving.write(proof, done)

    assert result["stages"]["model"]["command"] == "python make --out DIR/model"
    for name in ("result.json", "table.md"):
        assert str(tmp_path) not in (tmp_path / name).read_text()


def test_the_model_has_half_a_billion_weights_and_room_for_8k_tokens(making: ModuleType) -> None:
    config = making.model_config(small=False)

    # Qwen2.5-0.5B has 494,032,768 by its model card; this one 11,904 more rows of 896 in its
    # embedding.
    assert making.num_parameters({**config, "vocab_size": 151_936}) == 494_032_768
    assert making.num_parameters(config) == 494_032_768 + 11_904 * 896 >= 5e8
    assert config["max_position_embeddings"] > 8192


def test_every_token_of_the_vocabulary_has_a_word_and_no_text_is_split_otherwise(
    making: ModuleType,
) -> None:
    assets = Path(__file__).resolve().parents[2] / "copris_core" / "assets" / "tiny_days"
    before = json.loads((assets / "tokenizer.json").read_text())

    after = making.fill_up(before, 1024)

    vocabulary = after["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(1024))
    assert after["model"]["merges"] == before["model"]["merges"]
    assert before["model"]["vocab"].items() <= vocabulary.items()
