"""Where unfinished responses can stay in their engine over an update (strategy.park).

This file refuses to change anything.
"""

from collections.abc import Iterator
from typing import Final

from omegaconf import DictConfig

from copris_core.verl_adapter.config import RunConfig
from copris_core.verl_adapter.reading import number, optional, text

ROLLOUT: Final = "actor_rollout_ref.rollout"


def why_not_parked(run: RunConfig, cfg: DictConfig) -> str | None:
    """What forbids it in this run, in a few words; None if nothing does."""
    if run.strategy.resume_kv == "keep":
        return "strategy.resume_kv=keep"
    if run.correction.name == "stage":
        return "correction=stage, whose trainer needs every token at once"
    if run.staleness.max_lag is not None and run.staleness.when_exceeded == "drop":
        return "staleness.when_exceeded=drop"
    if text(cfg, f"{ROLLOUT}.name") != "vllm":
        return f"{ROLLOUT}.name other than vllm"
    if optional(cfg, f"{ROLLOUT}.free_cache_engine", bool):
        return f"{ROLLOUT}.free_cache_engine=true, which puts the engine to sleep over the update"
    if number(cfg, f"{ROLLOUT}.data_parallel_size") > 1:
        return f"{ROLLOUT}.data_parallel_size above 1"
    return None


def parks(run: RunConfig, cfg: DictConfig) -> bool:
    """Whether this run parks."""
    return bool(run.strategy.park) and why_not_parked(run, cfg) is None


def park_notes(run: RunConfig, cfg: DictConfig) -> Iterator[str]:
    """Why it does not although it was asked to, in one sentence."""
    why = why_not_parked(run, cfg)
    if run.strategy.park and why:
        yield f"strategy.park=true has no effect with {why}: partials are aborted and sent again"
