"""verl accepts what the door hands over, and finds every name in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# One process for all of it: verl's first import takes longer than the rest, and wants a platform.
PROGRAM = """
import dataclasses, json, sys
from omegaconf import OmegaConf
from copris_core.verl_adapter.door import enter
from copris_core.verl_adapter.keys import CODE_ONLY_KEYS
from copris_core.verl_adapter import gate_trainer, stock_trainer, trainer
from copris_core.verl_adapter.strategy_config import STOCK
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.utils.config import omega_conf_to_dataclass, validate_config
from verl.utils.import_utils import load_class_from_fqn, load_extern_object
from verl.workers.config import RolloutConfig

found, gpu = {}, ["platform=gpu", "platform.devices=1"]
experiments = {name: [] for name in ("grpo", "copris", "cppo", "copris_cppo")}
stock = [(mode, [f"strategy={mode}", "correction=none"]) for mode in STOCK]
for experiment, overrides in (*experiments.items(), ("grpo", gpu), ("copris", gpu), *stock):
    given = [] if experiment in STOCK else [f"experiment={experiment}"]
    cfg, _ = enter([*given, *overrides])
    cfg = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    validate_config(config=cfg, use_reference_policy=True, use_critic=False)
    rollout = omega_conf_to_dataclass(cfg.actor_rollout_ref.rollout)
    actor = omega_conf_to_dataclass(cfg.actor_rollout_ref.actor)
    sampler, reward = cfg.trainer.v1.sampler.custom_sampler, cfg.reward.custom_reward_function
    manager = rollout.agent.agent_loop_manager_class
    found[f"{experiment} on {cfg.trainer.device}"] = [
        get_trainer_cls(cfg.trainer.v1.trainer_mode).__name__,
        get_policy_loss_fn(actor.policy_loss.loss_mode).__name__,
        sampler.name and load_extern_object(sampler.path, sampler.name).__name__,
        load_extern_object(reward.path, reward.name).__name__,
        manager and load_class_from_fqn(manager, "AgentLoopManager").__name__,
    ]
fields = {field.name for field in dataclasses.fields(RolloutConfig)}
known = {key.rpartition(".")[2] for key in CODE_ONLY_KEYS}
sys.stderr.write("RESULT " + json.dumps({"found": found, "strange": sorted(known - fields)}))
"""


@pytest.mark.verl
@pytest.mark.slow
def test_verl_accepts_every_experiment_and_finds_every_name():
    from copris_core.verl_adapter import environment

    variables = os.environ | environment.COMMON | environment.CPU
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    result = json.loads(told.stderr.rpartition("RESULT ")[2].splitlines()[0])
    sync = ["SyncTrainer", "cross_stage", "FilteringReplayBuffer", "compute_score"]
    sync.append("LeanAgentLoopManager")
    gate = ["GateTrainer", "cross_stage", "GateReplayBuffer", "compute_score"]
    gate.append("GateAgentLoopManager")
    stock = ["compute_policy_loss_vanilla", None, "compute_score", None]
    assert result["found"] == {
        "grpo on cpu": sync,
        "copris on cpu": gate,
        "cppo on cpu": sync,
        "copris_cppo on cpu": gate,
        "grpo on cuda": sync,
        "copris on cuda": gate,
        "verl_sync on cpu": ["ObservedSyncTrainer", *stock],
        "verl_colocate_async on cpu": ["ObservedAsyncTrainer", *stock],
    }
    assert result["strange"] == []
