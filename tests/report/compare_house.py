"""Small made-up methods whose numbers can be followed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from copris_core.report.compared import Method, RunData
from copris_core.report.run_folder import Row
from copris_core.report.summary import summarise

PACKAGES = {"verl": "0.9.1"}
EVERY = {"samples/finished": 8, "samples/trained": 8, "tokens/trained": 100}


def run_of(
    *,
    experiment: str = "grpo",
    seed: int = 0,
    seconds: Sequence[float] = (10.0, 10.0, 10.0, 10.0),
    validations: Mapping[int, float] | None = None,
    updates: int = 2,
    tokens: int = 1000,
    trained: int = 8,
    rewards: Sequence[float] | None = None,
    config: Mapping[str, Any] | None = None,
    revision: str = "abc",
    machine: Mapping[str, Any] | None = None,
    **more: float,
) -> RunData:
    """A run whose steps take ``seconds``; ``validations`` are accuracies by step."""
    rates = {0: 0.1, len(seconds): 0.9} if validations is None else validations
    rows: list[Row] = [{"step": 0, "time_s": 5.0}]
    for step, took in enumerate(seconds, start=1):
        rows.append(
            {
                "step": step,
                "time_s": 5.0 + sum(seconds[:step]),
                **EVERY,
                "samples/trained": trained,
                "tokens/generated": tokens,
                "optimizer/updates": updates,
                "timing_s/generate": took / 2,
                "timing_s/update": took / 4,
                "timing_s/other": took / 4,
                "timing_s/step": took,
                "reward/mean": 0.5 if rewards is None else rewards[step - 1],
                "logprob_gap/max": 1e-6,
                "logprob_gap/mean": 1e-7,
                **more,
            }
        )
    for step, rate in rates.items():
        rows[step] |= {"val/accuracy": rate, "val/n": 200}
    summary = summarise(
        rows,
        experiment=experiment,
        seed=seed,
        packages=PACKAGES,
        revision=revision,
        concurrency=None,
        wall_s=60.0 + sum(seconds),
    )
    return RunData(
        path=Path("runs") / experiment / f"seed_{seed}",
        summary=summary,
        rows=rows,
        config=settings_of() if config is None else config,
        audit=None,
        machine=machine or {},
    )


def method_of(label: str, *runs: RunData) -> Method:
    """The runs as one method."""
    return Method(label=label, runs=runs)


def settings_of(*, prompts: int = 4, n: int = 8, **pruning: Any) -> dict[str, Any]:
    """A config of the few keys that a comparison reads."""
    chosen = {"name": "cppo", "scope": "group", **pruning} if pruning else {"name": "none"}
    return {
        "seed": 0,
        "data": {"train_batch_size": prompts},
        "actor_rollout_ref": {"rollout": {"n": n}},
        "pruning": chosen,
    }
