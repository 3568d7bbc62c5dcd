"""Run folders of a bench with a handful of iterations, so that every second is known by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from copris_core.report.bench_cell import Cell
from copris_core.report.bench_curve import CurvePoint
from copris_core.report.bench_names import Batch, CellKey
from copris_core.report.bench_waterfall import EngineReading, Waterfall
from copris_core.report.engine_steps import HEADER

BATCH = Batch(2, 2)

ITERATIONS = (
    (1.0, 1.0, 4, 40, 4),
    (2.5, 1.0, 4, 0, 4),
    (3.5, 2.0, 2, 0, 2),
    (6.0, 1.5, 1, 0, 1),
)
"""Of one generation of 10 s: begin after its start, seconds, running, prefilled, sampled."""


def key(method: str = "sync", **changes: Any) -> CellKey:
    return CellKey(
        **{"workload": "longtail", "batch": BATCH, "method": method, "round": 1, **changes}
    )


def row(step: int, **changes: Any) -> dict[str, Any]:
    """A step of 16 s that began at 1000 s + 20 s for each step before it."""
    return {
        "step": step,
        "time_s": 20.0 * step,
        "time/step_begin_s": 980.0 + 20 * step,
        "timing_s/generate": 10.0,
        "timing_s/old_log_prob": 0.75,
        "timing_s/ref": 0.25,
        "timing_s/update": 3.0,
        "timing_s/weight_sync": 0.5,
        "timing_s/other": 1.5,
        "timing_s/step": 16.0,
        "samples/trained": 4,
        "tokens/trained": 11,
        "staleness/first_token_lag": 0.0,
        **changes,
    }


def write_run(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    iterations: Sequence[Sequence[float]] | None = ITERATIONS,
    *,
    pid: int = 7,
) -> Path:
    """A finished run; the same iterations in every step, or no engine log."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in rows))
    (folder / "summary.json").write_text(
        json.dumps({"wall_s": 99.0, "revision": "0123abc", "packages": {"verl": "0.9.1"}})
    )
    if iterations is not None:
        (folder / "engine").mkdir(exist_ok=True)
        begins = [x.get("time/step_begin_s", 0.0) for x in rows]
        lines = [(begin + first, *rest) for begin in begins for first, *rest in iterations]
        text = "".join(f"{a:.6f},{b:.6f},{c},{d},{e}\n" for a, b, c, d, e in lines)
        (folder / "engine" / f"steps-{pid}.csv").write_text(f"{HEADER}\n{text}")
    return folder


def waterfall(**changes: float) -> Waterfall:
    """Of two steps of 10 s: 12 s of generation, 8 s of the rest."""
    pieces = {
        "generate_full": 4.0,
        "tail_bubble": 6.0,
        "prefill_again": 0.0,
        "engine_gap": 1.0,
        "waiting": 1.0,
        "unsplit": 0.0,
        "log_prob": 1.0,
        "update": 6.0,
        "sync": 0.5,
        "other": 0.5,
    }
    return Waterfall(**{**pieces, **changes})


def engine(**changes: Any) -> EngineReading:
    """100 s of decode iterations would be 0.1 s each; the curve says t(2) = 0.1, t(4) = 0.12."""
    values = {
        "num_engines": 1,
        "occupancy": 0.4,
        "decode_iterations": 100,
        "decode_s": 10.0,
        "decode_tokens": 200,
        "prefill_tokens": 40,
        "outside_s": 0.0,
        "curve": (
            CurvePoint(running=2, n=60, seconds=0.1),
            CurvePoint(running=4, n=40, seconds=0.12),
        ),
    }
    return EngineReading(**{**values, **changes})


def cell(method: str = "sync", number: int = 1, **changes: Any) -> Cell:
    """Two counted steps of 10 s and 4 samples, 12 s of generation in all."""
    values: dict[str, Any] = {
        "key": key(method, round=number),
        "step_s": (10.0, 10.0),
        "step_samples": (4, 4),
        "generate_s": 12.0,
        "trained_samples": 8,
        "trained_tokens": 200,
        "finished": 8,
        "sampled_tokens": 200,
        "width": 4.0,
        "gate_occupancy": None,
        "reprefill_tokens": 0,
        "lag_mean": 0.0,
        "lag_max": 0.0,
        "first_token_lag": 0.0,
        "waterfall": waterfall(),
        "engine": engine(),
        "note": "",
        "wall_s": 60.0,
        "revision": "0123abc",
        "packages": {"verl": "0.9.1"},
    }
    return Cell(**{**values, **changes})
