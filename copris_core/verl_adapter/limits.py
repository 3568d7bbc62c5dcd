"""The in-flight limit of a run: fixed, or fed with what engines and stages report."""

from collections.abc import Mapping, Sequence
from typing import Any

from copris_core.rollout.adaptive import AdaptiveLimit
from copris_core.rollout.concurrency import EngineFacts, FixedLimit, StageFacts
from copris_core.verl_adapter.stage import StageCounts

WATCH_EVERY_S = 0.25
"""How often engines are asked while a stage runs: several times in the shortest that matters."""


def limit_of(settings: Mapping[str, Any]) -> FixedLimit | AdaptiveLimit:
    """How many may be in flight, by rule; ``settings``: see ``gate_settings``."""
    if not settings["adaptive"]:
        return FixedLimit(limit=settings["concurrency"])
    return AdaptiveLimit(
        start=settings["concurrency"],
        samples_per_stage=settings["groups_per_stage"] * settings["group_size"],
        floor=settings["group_size"],
        max_interruptions=settings["staleness_cap"],
    )


def engine_facts(told: Sequence[Mapping[str, Any]]) -> EngineFacts:
    """What several engines said, as one: sums, and the fullest KV cache."""
    prefilled = [each["prefilled_tokens"] for each in told]
    return EngineFacts(
        time_s=max(each["time_s"] for each in told),
        running=sum(each["running"] for each in told),
        waiting=sum(each["waiting"] for each in told),
        kv_cache_use=max(each["kv_cache_use"] for each in told),
        preemptions=sum(each["preemptions"] for each in told),
        generated_tokens=sum(each["generated_tokens"] for each in told),
        prefilled_tokens=None if None in prefilled else sum(prefilled),
    )


def stage_facts(counts: StageCounts, *, limit: int, next_opens_at_s: float) -> StageFacts | None:
    """What a stage and the rest of its step came to; None if it sampled nothing.

    Args:
        counts: of the stage.
        limit: N' in force.
        next_opens_at_s: when the stage after it opens, on the router's clock.
    """
    open_s, in_flight = counts.meter.open_s, counts.meter.mean
    if not counts.tokens or not counts.finished or not open_s:
        return None
    return StageFacts(
        open_s=open_s,
        finished=counts.finished,
        tokens=counts.tokens,
        prefilled_again=counts.prefilled_again,
        occupancy=in_flight / limit,
        in_flight=in_flight,
        rest_s=max(0.0, next_opens_at_s - counts.opened_at_s - open_s),
        interrupted=counts.interrupted,
    )
