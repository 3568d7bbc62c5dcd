"""The gate's settings, from the typed choices to the actor that holds it.

verl hands a router nothing but a YAML file, so the choices travel in it as plain numbers.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from copris_core.filtering import FilterBook
from copris_core.rollout.admission import AdmissionGate
from copris_core.rollout.concurrency import Limit
from copris_core.rollout.supply import BatchBound, OnDemand, Oversample, Supply, oversampled_groups
from copris_core.verl_adapter.config import RunConfig

ROUTER_CLASS = "copris_core.verl_adapter.router.GateRouter"


def gate_settings(run: RunConfig) -> dict[str, Any]:
    """What goes into the YAML from which verl builds its router."""
    strategy, plan = run.strategy, run.plan
    factor = strategy.oversample_factor
    waits = run.staleness.when_exceeded == "wait"
    return {
        "router_class": ROUTER_CLASS,
        "strategy": strategy.name,
        "concurrency": plan.concurrency,
        "adaptive": strategy.is_adaptive,
        "staleness_cap": strategy.staleness_cap,
        "oversampled_groups": oversampled_groups(plan.prompts, factor) if factor else None,
        "groups_per_stage": plan.prompts,
        "group_size": plan.group_size,
        "max_lag": run.staleness.max_lag if waits else None,
        "keeps_kv": strategy.resume_kv == "keep",
        "drop_lag": None if waits else run.staleness.max_lag,
        "filter": None if run.group_filter is None else asdict(run.group_filter),
    }


def gate_of(settings: Mapping[str, Any], limit: Limit) -> AdmissionGate:
    """A fresh gate with these settings."""
    return AdmissionGate(
        limit=limit,
        groups_per_stage=settings["groups_per_stage"],
        group_size=settings["group_size"],
        supply=_supply(settings),
        max_lag=settings["max_lag"],
    )


def filter_of(settings: Mapping[str, Any]) -> FilterBook | None:
    """What judges complete groups; None: nothing does."""
    chosen = settings["filter"]
    if chosen is None:
        return None
    return FilterBook(groups_per_stage=settings["groups_per_stage"], **chosen)


def _supply(settings: Mapping[str, Any]) -> Supply:
    if settings["strategy"] == "oversample":
        return Oversample(groups=settings["oversampled_groups"])
    return BatchBound() if settings["strategy"] == "naive_partial" else OnDemand()
