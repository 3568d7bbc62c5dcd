"""The runs for GPUs: thin scripts, a source for each number, checked without a GPU or a network."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "configs" / "experiment"
SCRIPTS = {
    "copris/run_grpo_r1_1p5b.sh": "grpo_r1_1p5b",
    "copris/run_grpo_r1_7b.sh": "grpo_r1_7b",
    "copris/run_grpo_qwen3_8b.sh": "grpo_qwen3_8b",
    "copris/run_copris_r1_1p5b.sh": "copris_r1_1p5b",
    "copris/run_copris_r1_7b.sh": "copris_r1_7b",
    "copris/run_copris_qwen3_8b.sh": "copris_qwen3_8b",
    "cppo/gsm8k_grpo.sh": "grpo_gsm8k",
    "cppo/gsm8k_cppo.sh": "cppo_gsm8k",
    "cppo/math_grpo.sh": "grpo_math",
    "cppo/math_cppo.sh": "cppo_math",
    "prorl/run_prorl_qwen_1p5b.sh": "prorl_qwen_1p5b",
}
PAIRS = {
    "copris_r1_1p5b": "grpo_r1_1p5b",
    "copris_r1_7b": "grpo_r1_7b",
    "copris_qwen3_8b": "grpo_qwen3_8b",
    "cppo_gsm8k": "grpo_gsm8k",
    "cppo_math": "grpo_math",
}
SOURCE = re.compile(r"\b(script|paper|ours):|\b(script|paper)\b")
PARAMETERS = {
    "qwen2p5_1p5b_instruct": 1_543_714_304,
    "qwen2p5_7b_instruct": 7_615_616_512,
    "qwen3_8b": 8_190_735_360,
    "r1_1p5b": 1_777_088_000,
    "r1_7b": 7_615_616_512,
}


# ---- scripts ----


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_names_its_experiment_and_does_nothing_else(script):
    path = ROOT / "recipes" / script
    commands = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    assert commands == [
        "set -euo pipefail",
        'cd "$(dirname "${BASH_SOURCE[0]}")/../.."',
        f'exec bash scripts/experiment.sh {SCRIPTS[script]} "$@"',
    ]
    assert path.stat().st_mode & 0o111
    assert (EXPERIMENTS / f"{SCRIPTS[script]}.yaml").is_file()


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the scripts alone, and programs that only say their words."""
    for name in ("scripts/experiment.sh", "recipes/cppo/gsm8k_cppo.sh"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for place in ("path", "there/.venv/bin"):
        program = tmp_path / place / "copris"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\necho {place} "$@"\n')
        program.chmod(0o755)
    return tmp_path


def _run(checkout, *words, path=""):
    return subprocess.run(
        ["bash", checkout / "recipes/cppo/gsm8k_cppo.sh", *words],
        env={"PATH": f"{path}/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_script_trains_or_checks_and_hands_its_words_on(checkout):
    there = f"{checkout}/path:"
    assert (
        _run(checkout, "seed=1", path=there).stdout == "path train experiment=cppo_gsm8k seed=1\n"
    )
    assert _run(checkout, "check", "seed=1", path=there).stdout == (
        "path check experiment=cppo_gsm8k seed=1\n"
    )


def test_a_script_takes_the_environment_of_the_checkout_if_none_is_active(checkout):
    (checkout / "there/.venv").rename(checkout / ".venv")
    assert _run(checkout).stdout == "there/.venv/bin train experiment=cppo_gsm8k\n"


def test_without_copris_a_script_says_in_one_line_how_to_install_it(checkout):
    ended = _run(checkout)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("copris is not installed: ")
    assert ended.stderr.count("\n") == 1


# ---- numbers ----


def _unsourced(text: str) -> list[str]:
    """Lines with a value whose comment, on the lines right above, names no source."""
    bare, comment = [], ""
    for line in text.partition("\nexperiment_name")[2].splitlines()[1:]:
        if line.lstrip().startswith("#"):
            comment += line
            continue
        key, _, value = line.partition(":")
        if re.search(r"\d|true|false", value) and not SOURCE.search(comment):
            bare.append(key.strip())
        comment = ""
    return bare


@pytest.mark.parametrize("experiment", SCRIPTS.values())
def test_every_number_has_its_source(experiment):
    assert _unsourced((EXPERIMENTS / f"{experiment}.yaml").read_text()) == []


def test_a_number_without_a_source_is_found():
    text = "\nexperiment_name: x\na:\n  # script\n  b: 1\n  c: 2\n  # as it was\n  d: true\n"
    assert _unsourced(text) == ["c", "d"]


@pytest.mark.parametrize("policy", PARAMETERS)
def test_a_policy_has_the_parameters_that_are_published(policy):
    yaml = pytest.importorskip("yaml")
    from copris_core.simulator.architecture import Architecture

    text = (ROOT / "configs" / "policy" / f"{policy}.yaml").read_text()
    config = yaml.safe_load(text)["policy"]["architecture"]
    assert Architecture.from_config(config).params == PARAMETERS[policy]
    assert f"{PARAMETERS[policy]} parameters" in text


# ---- the runs ----


@pytest.fixture
def _no_hub(monkeypatch, tmp_path):
    """Neither a network nor anything kept from the hub."""
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))


@pytest.mark.verl
@pytest.mark.usefixtures("_no_hub")
@pytest.mark.parametrize("experiment", SCRIPTS.values())
def test_a_run_passes_the_check_without_gpu_and_network_and_fits(entered, experiment):
    from copris_core.verl_adapter.check import check

    # The least that a device of 80 GB shows.
    cfg, run = entered(f"experiment={experiment}", "platform.gpu_memory_gib=79")
    lines = check(run, cfg)
    assert run.platform.name == "gpu"
    assert [line.split()[0] for line in lines].count("memory") == 1
    notes = [line for line in lines if "note" in line]
    assert any("fetched when training starts; sizes are" in note for note in notes)
    assert any("rows are not checked" in note for note in notes)
    # A batch of 512 at once is GRPO's own; only fewer in flight fit the 8B model on 8 GPUs.
    crowded = ["engine will preempt"] if experiment == "grpo_qwen3_8b" else []
    too_much = ("engine will preempt", "holds no whole", "takes ", "not worked out")
    assert [each for each in too_much if any(each in note for note in notes)] == crowded


@pytest.mark.verl
@pytest.mark.parametrize("experiment", PAIRS)
def test_a_method_differs_from_its_baseline_by_itself_alone(entered, experiment):
    from omegaconf import OmegaConf

    from copris_core.verl_adapter.overrides import leaves

    pair = [entered(f"experiment={name}")[0] for name in (experiment, PAIRS[experiment])]
    differing = {
        key
        for key in {key for cfg in pair for key in leaves(cfg)}
        if not key.endswith(("experiment_name", "default_local_dir"))
        and OmegaConf.select(pair[0], key) != OmegaConf.select(pair[1], key)
    }
    method = ("strategy.", "correction.", "trainer.v1.", "algorithm.rollout_correction.")
    gate = ("custom.resume_kv", "agent.agent_loop_manager_class", "max_num_seqs")
    pruned = {"data.train_batch_size", "trainer.total_training_steps", "trainer.test_freq"}
    if experiment.startswith("copris"):
        bound = (*method, *(f"actor_rollout_ref.rollout.{key}" for key in gate))
        assert [key for key in differing if not key.startswith(bound)] == []
    else:
        assert {key for key in differing if not key.startswith("pruning.")} <= pruned
    assert differing


@pytest.mark.verl
def test_cppo_trains_as_many_rows_of_twice_the_prompts(entered):
    plan, base = entered("experiment=cppo_gsm8k")[1].plan, entered("experiment=grpo_gsm8k")[1].plan
    assert (plan.prompts, base.prompts) == (16, 8)
    assert plan.prompts * plan.steps == base.prompts * base.steps == 7472


@pytest.mark.verl
def test_two_nodes_are_two_settings(entered):
    two = ("platform.nodes=2", "platform.ray_address=auto")
    cfg, run = entered("experiment=copris_r1_1p5b", *two)
    assert (cfg.trainer.nnodes, cfg.trainer.n_gpus_per_node, run.plan.devices) == (2, 8, 16)


@pytest.mark.verl
@pytest.mark.slow
def test_a_script_checks_in_a_process_of_its_own(tmp_path):
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    program = Path(sys.executable).parent
    told = subprocess.run(
        ["bash", ROOT / "recipes/copris/run_copris_r1_1p5b.sh", "check", "seed=3"],
        env=os.environ | offline | {"PATH": f"{program}:/usr/bin:/bin"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("copris_r1_1p5b, seed 3\n")
    assert "1040 responses at the cap" in told.stdout


# One process for all of them: verl's first import takes longer than the rest.
PROGRAM = """
import json, sys
from omegaconf import OmegaConf
from copris_core.verl_adapter.door import enter
from verl.utils.config import omega_conf_to_dataclass, validate_config

taken = []
for experiment in sys.argv[1:]:
    cfg, _ = enter([f"experiment={experiment}"])
    cfg = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    uses = bool(cfg.actor_rollout_ref.actor.use_kl_loss)
    validate_config(config=cfg, use_reference_policy=uses, use_critic=False)
    for section in ("rollout", "actor"):
        omega_conf_to_dataclass(cfg.actor_rollout_ref[section])
    taken.append(experiment)
sys.stderr.write("RESULT " + json.dumps(taken))
"""


@pytest.mark.verl
@pytest.mark.slow
def test_verl_accepts_every_run():
    from copris_core.verl_adapter import environment

    variables = os.environ | environment.COMMON | environment.CPU | {"HF_HUB_OFFLINE": "1"}
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, *SCRIPTS.values()],
        cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    assert json.loads(told.stderr.rpartition("RESULT ")[2]) == [*SCRIPTS.values()]
