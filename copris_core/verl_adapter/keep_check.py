"""What ``copris check`` refuses and notes about keeping the KV cache over a weight update.

This file refuses to change anything.
"""

from collections.abc import Iterator
from typing import Final

from omegaconf import DictConfig

from copris_core.verl_adapter.config import RunConfig
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.reading import number, optional, text

ROLLOUT: Final = "actor_rollout_ref.rollout"
KEEP: Final = "strategy.resume_kv=keep"


def refuse_keep(run: RunConfig, cfg: DictConfig) -> None:
    """Refuse to keep what does not survive the update, or what nobody could account for.

    Raises:
        ConfigError: see above.
    """
    if run.strategy.resume_kv != "keep":
        return
    if text(cfg, f"{ROLLOUT}.name") != "vllm":
        raise ConfigError(f"{KEEP} is told to vLLM alone: set {ROLLOUT}.name=vllm")
    if optional(cfg, f"{ROLLOUT}.free_cache_engine", bool):
        raise ConfigError(
            f"{KEEP}, but the engine sleeps through the update and frees its KV cache: set "
            f"{ROLLOUT}.free_cache_engine=false {ROLLOUT}.enable_sleep_mode=false"
        )
    if number(cfg, f"{ROLLOUT}.data_parallel_size") > 1:
        raise ConfigError(
            f"{KEEP} cannot wake several engines of a replica together: set "
            f"{ROLLOUT}.data_parallel_size=1"
        )
    if optional(cfg, f"{ROLLOUT}.enable_rollout_routing_replay", bool):
        raise ConfigError(
            f"{KEEP} has no routes of old tokens to replay: set "
            f"{ROLLOUT}.enable_rollout_routing_replay=false"
        )
    if number(cfg, "actor_rollout_ref.model.lora_rank") > 0:
        raise ConfigError(
            f"{KEEP}, but verl removes the adapter that the kept requests sample with: set "
            "actor_rollout_ref.model.lora_rank=0"
        )
    if run.correction.name == "stage":
        raise ConfigError(
            f"{KEEP} samples from no policy that the trainer could recompute: use "
            "correction=cross_stage or decoupled, which take the engine's log-probs"
        )


def keep_notes(run: RunConfig) -> Iterator[str]:
    """What it costs, in one sentence."""
    if run.strategy.resume_kv == "keep":
        yield (
            f"{KEEP} samples on keys and values of older weights: not exact; "
            "kv/resumed_logprob_error says by how much"
        )
