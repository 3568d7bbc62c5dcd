"""Made-up runs shaped like real ones, handed out as factories."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from copris_core.report.run_folder import Row
from copris_core.report.summary import Summary, summarise

PACKAGES = {"verl": "0.9.1", "vllm": "0.11.0", "torch": "2.13.0", "ray": "2.50.0"}
GENERATE_S = {"grpo": 9.0, "copris": 5.6, "cppo": 9.1, "copris_cppo": 5.7}
UPDATE_S = {"grpo": 5.2, "copris": 5.4, "cppo": 2.9, "copris_cppo": 3.0}


def synthetic_rows(experiment: str, *, num_steps: int = 40, seed: int = 0) -> list[Row]:
    """Rows as a run would write them; only CoPRIS runs have a gate, only CPPO runs prune."""
    rng = np.random.default_rng([seed, *experiment.encode()])
    rows: list[Row] = [{"step": 0, "time_s": 41.0, "val/accuracy": 0.165, "val/n": 200}]
    time_s = 44.0
    for step in range(1, num_steps + 1):
        row = _training_row(experiment, step, rng)
        seconds = row["timing_s/step"]
        assert seconds is not None
        time_s += seconds
        row["time_s"] = time_s
        if step % 10 == 0 or step == num_steps:
            row |= {"val/accuracy": _skill(step) - 0.02 + 0.02 * rng.normal(), "val/n": 200}
            time_s += 3
        rows.append(row)
    return rows


def synthetic_summary(experiment: str, *, num_steps: int = 40, seed: int = 0) -> Summary:
    """The summary of `synthetic_rows`."""
    rows = synthetic_rows(experiment, num_steps=num_steps, seed=seed)
    return summarise(
        rows,
        experiment=experiment,
        seed=seed,
        packages=PACKAGES,
        revision="0123abc",
        concurrency=64 if "copris" in experiment else None,
        wall_s=(rows[-1]["time_s"] or 0) + 6,
    )


def _skill(step: int) -> float:
    return 0.93 - 0.75 * math.exp(-step / 11)


def _training_row(experiment: str, step: int, rng: np.random.Generator) -> Row:
    generate_s = GENERATE_S[experiment] * rng.lognormal(0, 0.12)
    update_s = UPDATE_S[experiment] * rng.lognormal(0, 0.06)
    other = {"old_log_prob": 0.8 if "copris" not in experiment else 0.02, "weight_sync": 0.3}
    other["other"] = 0.6
    trained = 64 if "cppo" in experiment else 128
    row: Row = {
        "step": step,
        "timing_s/generate": generate_s,
        "timing_s/update": update_s,
        **{f"timing_s/{name}": value for name, value in other.items()},
        "timing_s/step": generate_s + update_s + sum(other.values()),
        "reward/mean": min(1.0, max(0.0, _skill(step) - 0.06 + 0.035 * rng.normal())),
        "samples/finished": 128 + (int(rng.integers(0, 9)) if "copris" in experiment else 0),
        "samples/trained": trained,
        "tokens/generated": 128 * 55,
        "tokens/trained": trained * 55,
        "optimizer/updates": 2,
        "logprob_gap/max": 3e-6 * rng.lognormal(0, 0.3),
        "logprob_gap/mean": 2e-7,
    }
    if "copris" in experiment:
        row |= {
            "rollout/in_flight": 62.8 + 0.5 * rng.normal(),
            "rollout/limit": 64,
            "rollout/occupancy": 0.98,
            "staleness/segments_per_sample": 1.35,
            "staleness/on_policy_token_fraction": 0.72,
        }
    else:
        row |= {"rollout/in_flight": 31 + 2 * rng.normal(), "staleness/segments_per_sample": 1.0}
    return row


@pytest.fixture
def make_rows() -> Callable[..., list[Row]]:
    return synthetic_rows


@pytest.fixture
def make_summary() -> Callable[..., Summary]:
    """A summary like that of a real run, with fields replaced."""

    def make(experiment: str = "grpo", *, num_steps: int = 12, **changes: Any) -> Summary:
        return replace(synthetic_summary(experiment, num_steps=num_steps), **changes)

    return make
