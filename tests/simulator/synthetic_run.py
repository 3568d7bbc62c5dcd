"""Run folders as a training with ``run.engine_log=true`` would leave them, with known costs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

BUSY = 0.9  # share of an interval that is the model
START_S, STOP_S = 0.03, 0.07  # waiting for the first request; from the last iteration to the abort
UPDATE_S, UPDATE_TOKEN_S = 0.4, 0.0003
SAMPLES = 32


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What an iteration costs, in seconds."""

    step_s: float = 0.002
    response_s: float = 0.0001
    flat_to: int = 0
    token_s: float = 0.00003
    request_s: float = 0.004
    open_s: float = 0.0
    """In the two iterations of four in which a slot is open; with 0 none ever is."""


USUAL = Costs()


def write_run(
    path: Path,
    *,
    costs: Costs = USUAL,
    running: tuple[int, ...] = (4, 16, 40, 64),
    steps: int = 8,
    iterations: int = 120,
    noise: float = 0.05,
    seed: int = 0,
    padded_token_s: float = 0.0,
    config: dict[str, Any] | None = None,
) -> Path:
    """Write metrics.jsonl, engine/steps-1.csv, config.yaml and summary.json."""
    rng = np.random.default_rng(seed)
    (path / "engine").mkdir(parents=True)
    rows, metrics, now_s = ["begin_s,seconds,running,prefill_tokens,decode_tokens"], [], 1.7e9
    for step in range(1, steps + 1):
        begin_s, now_s, before = now_s, now_s + START_S, 0
        for index in range(iterations):
            batch = running[index * len(running) // iterations]
            prefill = int(rng.integers(20, 600)) if index % 4 == 0 or batch > before else 0
            is_open = bool(costs.open_s) and index % 4 >= 2
            now_running = batch - is_open
            seconds = costs.step_s + costs.response_s * max(0, now_running - costs.flat_to)
            seconds += costs.open_s * is_open
            seconds += costs.token_s * prefill + costs.request_s * (prefill > 0)
            seconds *= float(np.exp(noise * rng.standard_normal()))
            busy_s, before = BUSY * seconds, batch
            rows.append(f"{now_s:.6f},{busy_s:.6f},{now_running},{prefill},{now_running}")
            now_s += seconds
        over_s = now_s - seconds + busy_s + STOP_S
        tokens = 1000 + 250 * step
        longest = int(rng.integers(100, 1000))
        rest_s = UPDATE_S + UPDATE_TOKEN_S * tokens + padded_token_s * SAMPLES * longest
        metrics.append(
            {
                "step": step,
                "time/step_begin_s": begin_s,
                "timing_s/generate": over_s - begin_s,
                "timing_s/step": over_s - begin_s + rest_s,
                "tokens/trained": tokens,
                "rollout/interrupted": 20,
                "length/trained_p99": longest,
                "samples/trained": SAMPLES,
            }
        )
        now_s = over_s + rest_s
    (path / "engine" / "steps-1.csv").write_text("\n".join(rows) + "\n17000")  # torn by a kill
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    (path / "config.yaml").write_text(yaml.safe_dump(config or {}))
    (path / "summary.json").write_text(json.dumps({"packages": {"verl": "0.9.1"}}))
    return path


def model_config(folder: Path) -> dict[str, Any]:
    """A config with a small model: 2 x 3 layers x 2 KV heads x 32 x 4 bytes = 1536 B a token."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = {
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_size": 128,
    }
    (folder / "config.json").write_text(json.dumps(shape))
    rollout = {
        "dtype": "float32",
        "max_num_seqs": 256,
        "engine_kwargs": {"vllm": {"kv_cache_memory_bytes": 1_536_000}},
    }
    return {"actor_rollout_ref": {"rollout": rollout, "model": {"path": str(folder)}}}
