"""The run's own record: one row of metrics per step, and what the run is doing now.

Translates verl's metric names into ours; computes nothing but sums of what verl measured.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import transfer_queue as tq
from omegaconf import DictConfig
from transfer_queue import KVBatchMeta

from copris_core.controllers.reference_reset import ResetOrder
from copris_core.losses.importance import LAG_BUCKETS, merge_lag_statistics
from copris_core.report.run_folder import RunFolder
from copris_core.verl_adapter.phase import write_phase

TRAJECTORY_FILE = "trajectories.jsonl"
RESETS_FILE = "resets.jsonl"

TIMINGS = {
    "generate": ("prepare", "gen"),
    "old_log_prob": ("old_log_prob",),
    "ref": ("ref",),
    "update": ("update_actor",),
    "weight_sync": ("update_weights",),
}
"""Phase of a step -> verl's timers that belong to it; the rest of the step is "other"."""

UPDATE_METRICS = {
    "actor/pg_clipfrac": "update/clip_fraction",
    "actor/ppo_kl": "update/behaviour_kl",
    "actor/grad_norm": "update/grad_norm",
    "actor/entropy": "update/entropy",
    "actor/kl_loss": "update/kl_loss",
    "actor/kl_coef": "update/kl_coefficient",
    "actor/entropy_loss": "update/entropy",
}
"""verl's name -> ours, copied as they are."""


GAPS = {
    "actor/logprob_gap/": "logprob_gap/",
    "actor/resumed_gap/": "kv/resumed_logprob_error_",
}
"""verl's prefix -> ours: how far engine and trainer are apart, over all fresh tokens, and over
those of responses that older policies began."""


class RunRecord:
    """Writes metrics.jsonl and the phase line of one run."""

    def __init__(
        self, folder: Path, started_s: float, *, facts: Mapping[str, float] | None = None
    ) -> None:
        """Write nothing yet.

        Args:
            folder: the run folder.
            started_s: Unix time of the launch, from which ``time_s`` counts.
            facts: what every row says, so that a reader needs no other file.
        """
        self._folder = RunFolder(path=folder)
        self._started_s = started_s
        self._facts = facts or {}

    @classmethod
    def of(cls, config: DictConfig) -> "RunRecord":
        """The record of the run that verl's config is for."""
        bound = config.correction.max_logprob_gap
        facts = {"run/total_steps": config.trainer.total_training_steps}
        facts |= {} if bound is None else {"run/max_logprob_gap": bound}
        return cls(Path(config.run.dir), config.run.started_s, facts=facts)

    def phase(self, text: str, *, step: int | None = None) -> None:
        """Say in one line what the run is doing, and in which training step."""
        write_phase(self._folder.path, text, step=step)

    def write(self, step: int, row: Mapping[str, float]) -> dict[str, float]:
        """Append one row; return it as it was written, for verl's loggers."""
        head = {"step": step, "time_s": time.time() - self._started_s, **self._facts}
        whole = {**head, **row}
        self._folder.append_metrics(whole)
        return whole

    def note_reset(self, order: ResetOrder) -> None:
        """Append why the reference was reset; once, also if a resumed run does it again."""
        path = self._folder.path / RESETS_FILE
        line = json.dumps({**asdict(order), "reasons": list(order.reasons)})
        known = path.read_text().splitlines() if path.exists() else []
        if line not in known:
            with path.open("a") as file:
                file.write(line + "\n")

    def write_trajectories(self, step: int, batch: KVBatchMeta) -> None:
        """Append every trained response with its tokens, log-probs and versions."""
        names = ["prompts", "responses", "response_mask", "rollout_log_probs"]
        names += ["policy_version", "ref_log_prob"]
        data = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=[*names, "extra_fields"]
        )
        with (self._folder.path / TRAJECTORY_FILE).open("a") as file:
            for i, key in enumerate(batch.keys):
                fields = {name: data[name][i].tolist() for name in names if name in data}
                told = getattr(data["extra_fields"][i], "data", data["extra_fields"][i])
                fields["score"] = told.get("reward_extra_info", {}).get("score")
                file.write(json.dumps({"step": step, "key": key, **fields}) + "\n")


def phase_seconds(timing_raw: Mapping[str, float]) -> dict[str, float]:
    """Seconds per phase of one step; together they are the step."""
    row = {
        f"timing_s/{phase}": sum(timing_raw.get(name, 0.0) for name in timers)
        for phase, timers in TIMINGS.items()
    }
    row["timing_s/other"] = max(0.0, timing_raw["step"] - sum(row.values()))
    row["timing_s/step"] = timing_raw["step"]
    return row


def first_token_lag(batch: KVBatchMeta, *, current_version: int) -> dict[str, float]:
    """Mean over the rows of the policy versions between a row's first token and its training.

    The one measure of staleness that verl's own rows carry too (their tag min_global_steps).
    """
    first = [tag["min_global_steps"] for tag in batch.tags]
    if any(version is None for version in first):
        return {}
    return {"staleness/first_token_lag": current_version - sum(first) / len(first)}


def update_metrics(metrics: dict[str, Any], *, num_forwards: int) -> dict[str, float]:
    """What the actor measured in its forward passes; takes the raw sums out of ``metrics``.

    verl averages sums over mini-batches and over ranks; ``num_forwards``, mini-batches times ranks,
    undoes that for the token count.
    """
    sums = {
        name.removeprefix("actor/"): metrics.pop(name)
        for name in list(metrics)
        if name.startswith((*(f"actor/lag{lag}/" for lag in LAG_BUCKETS), *GAPS))
    }
    row = merge_lag_statistics([{k: v for k, v in sums.items() if k.startswith("lag")}])
    for theirs, ours in GAPS.items():
        name = theirs.removeprefix("actor/").removesuffix("/")
        if sums.get(f"{name}/tokens"):
            row[f"{ours}max"] = sums[f"{name}/max"]
            row[f"{ours}mean"] = sums[f"{name}/abs_sum"] / sums[f"{name}/tokens"]
    seen = sum(value for name, value in sums.items() if re.fullmatch(r"lag\d/tokens", name))
    row["update/tokens"] = round(seen * num_forwards)
    return row | {ours: metrics[name] for name, ours in UPDATE_METRICS.items() if name in metrics}


def length_metrics(lengths: Sequence[int], name: str) -> dict[str, float]:
    """Mean and quantiles of response lengths, in tokens."""
    ordered = sorted(lengths)
    quantiles = {
        f"length/{name}_p{q}": ordered[min(len(ordered) - 1, q * len(ordered) // 100)]
        for q in (50, 90, 99)
    }
    return {f"length/{name}_mean": sum(ordered) / len(ordered), **quantiles}
