"""One cell of the bench: a run folder in, what its counted steps came to out.

Counted are the steps behind the warm-up. Refuses to guess: what was not measured is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from copris_core.report.bench_curve import CurvePoint
from copris_core.report.bench_names import Batch, CellKey, is_pruned
from copris_core.report.bench_waterfall import EngineReading, Waterfall, Window, split_generation
from copris_core.report.engine_steps import EngineSteps, read_engine_steps
from copris_core.report.run_folder import Row, RunFolder, read_json, read_metrics
from copris_core.report.summary import merge_steps, training

NO_LOG = "no engine log"
NO_CLOCK = "metrics.jsonl has no time/step_begin_s"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What the counted steps of one run came to; sums unless it says otherwise."""

    key: CellKey
    """Which run."""
    step_s: tuple[float, ...]
    """Seconds of each counted step, in order."""
    step_samples: tuple[int, ...]
    """Responses of each counted step's batch. What pruning drops counts: it was sampled, too."""
    generate_s: float
    """Seconds of generation."""
    trained_samples: int
    """Responses that reached the update."""
    trained_tokens: int
    """Their tokens."""
    finished: int | None
    """Responses that finished in the counted steps' generation."""
    sampled_tokens: int | None
    """Tokens sampled in it: as the engine log says, else as the gate says."""
    width: float
    """Responses that could be in flight, mean over the steps: N' where there is one, else B n or,
    if more were seen to run, as many."""
    gate_occupancy: float | None
    """Mean in flight over the limit by the gate's own clock; None where there is no gate."""
    reprefill_tokens: int | None
    """Response tokens sent to an engine again; None for a trainer that carries responses over
    and does not tell."""
    lag_mean: float | None
    """Policy versions between sampling and training, mean over trained tokens."""
    lag_max: float | None
    """The largest."""
    first_token_lag: float | None
    """The same of a response's first token, mean over trained responses; verl's own modes tell
    this one alone."""
    waterfall: Waterfall
    """Where the seconds went."""
    engine: EngineReading | None
    """What the engine log tells; None without one."""
    note: str
    """Why the waterfall does not split generation; empty when it does."""
    wall_s: float | None
    """Seconds of the whole run, start-up and warm-up included."""
    revision: str | None
    """Revision of the source that ran."""
    packages: Mapping[str, str]
    """Version of each package that matters."""

    @property
    def steps(self) -> int:
        """Counted steps."""
        return len(self.step_s)

    @property
    def samples(self) -> int:
        """Responses of the batches."""
        return sum(self.step_samples)

    def to_json(self) -> dict[str, Any]:
        """An object of bench.json; the key is its path."""
        return {**asdict(self), "key": self.key.path}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cell:
        """Read such an object back."""
        engine = value["engine"]
        if engine is not None:
            engine = EngineReading(
                **{**engine, "curve": tuple(CurvePoint(**point) for point in engine["curve"])}
            )
        parts = {
            "key": CellKey.parse(value["key"]),
            "step_s": tuple(value["step_s"]),
            "step_samples": tuple(value["step_samples"]),
            "waterfall": Waterfall(**value["waterfall"]),
            "engine": engine,
        }
        return cls(**{**value, **parts})


def read_cell(folder: Path, key: CellKey, *, warmup_steps: int) -> Cell:
    """Read a finished run.

    Args:
        folder: its run folder.
        key: which run of the bench it is.
        warmup_steps: first training steps that do not count.

    Raises:
        ValueError: a file is missing or malformed, or no step is left to count; names the folder.
    """
    run = RunFolder(path=folder)
    rows = [row for row in merge_steps(read_metrics(run.metrics_path)) if training(row)]
    counted = rows[warmup_steps:]
    if not counted:
        raise ValueError(f"{folder} has {len(rows)} steps, the warm-up alone takes {warmup_steps}")
    for name in ("timing_s/generate", "timing_s/step", "samples/trained", "tokens/trained"):
        if any(row.get(name) is None for row in counted):
            raise ValueError(f"{run.metrics_path} has a step without {name}: run the cell anew")
    summary = read_json(run.summary_path)
    return measure(counted, key, steps=read_engine_steps(folder), summary=summary)


def measure(
    rows: Sequence[Row], key: CellKey, *, steps: EngineSteps | None, summary: Mapping[str, Any]
) -> Cell:
    """Sum the counted ``rows`` and the engine's iterations in them up."""
    carried_none = all(row.get("staleness/first_token_lag") == 0 for row in rows)
    trained = [_int(row, "samples/trained") for row in rows]
    sampled = [key.batch.samples] * len(rows) if is_pruned(key.method) else trained
    again = [row.get("rollout/reprefill_tokens", 0 if carried_none else None) for row in rows]
    widths = _widths(rows, key.batch, steps)
    waterfall, engine, note = _where_the_seconds_went(rows, widths, again, steps)
    return Cell(
        key=key,
        step_s=tuple(_values(rows, "timing_s/step")),
        step_samples=tuple(sampled),
        generate_s=sum(_values(rows, "timing_s/generate")),
        trained_samples=sum(trained),
        trained_tokens=round(sum(_values(rows, "tokens/trained"))),
        finished=_total(rows, "samples/finished", sum(trained) if carried_none else None),
        sampled_tokens=engine.decode_tokens if engine else _total(rows, "tokens/generated", None),
        width=sum(widths) / len(widths),
        gate_occupancy=_weighted(rows, "rollout/occupancy", "rollout/open_s"),
        reprefill_tokens=None if None in again else round(sum(x or 0 for x in again)),
        lag_mean=_weighted(rows, "staleness/lag_mean", "tokens/trained"),
        lag_max=max(
            (x for row in rows if (x := row.get("staleness/lag_max")) is not None), default=None
        ),
        first_token_lag=_weighted(rows, "staleness/first_token_lag", "samples/trained"),
        waterfall=waterfall,
        engine=engine,
        note=note,
        wall_s=summary.get("wall_s"),
        revision=summary.get("revision"),
        packages=summary.get("packages", {}),
    )


def _where_the_seconds_went(
    rows: Sequence[Row],
    widths: Sequence[float],
    again: Sequence[float | None],
    steps: EngineSteps | None,
) -> tuple[Waterfall, EngineReading | None, str]:
    generate_s = sum(_values(rows, "timing_s/generate"))
    pieces: dict[str, float] = dict.fromkeys(
        ("generate_full", "tail_bubble", "prefill_again", "engine_gap", "waiting"), 0.0
    )
    pieces["unsplit"] = generate_s
    engine, note = None, NO_LOG if steps is None else ""
    if steps is not None and any(row.get("time/step_begin_s") is None for row in rows):
        note = NO_CLOCK
    if steps is not None and not note:
        windows = [
            Window(
                begin_s=_float(row, "time/step_begin_s"),
                generate_s=_float(row, "timing_s/generate"),
                step_s=_float(row, "timing_s/step"),
                width=width,
                prefilled_again=tokens,
            )
            for row, width, tokens in zip(rows, widths, again, strict=True)
        ]
        split, engine = split_generation(windows, steps)
        pieces = {**split, "unsplit": 0.0}
    known = {
        "log_prob": ("timing_s/old_log_prob", "timing_s/ref"),
        "update": ("timing_s/update",),
        "sync": ("timing_s/weight_sync",),
        "other": ("timing_s/other",),
    }
    phases = {name: sum(sum(_values(rows, key)) for key in keys) for name, keys in known.items()}
    return Waterfall(**pieces, **phases), engine, note


def _widths(rows: Sequence[Row], batch: Batch, steps: EngineSteps | None) -> list[float]:
    """Responses that could be in flight, of each step."""
    limits = [row.get("rollout/limit") for row in rows]
    free = float(max(batch.samples, _peak(rows, steps) if None in limits else 0))
    return [free if limit is None else limit for limit in limits]


def _peak(rows: Sequence[Row], steps: EngineSteps | None) -> int:
    """Most requests in one iteration of the counted steps' generation, over all engines."""
    begins = [row.get("time/step_begin_s") for row in rows]
    if steps is None or None in begins:
        return 0
    peaks: dict[int, int] = {}
    for row in rows:
        begin_s = _float(row, "time/step_begin_s")
        end_s = begin_s + _float(row, "timing_s/generate")
        inside = steps.where((steps.begin_s_N >= begin_s) & (steps.begin_s_N < end_s))
        for engine, running in zip(
            inside.engine_N.tolist(), inside.running_N.tolist(), strict=True
        ):
            peaks[engine] = max(peaks.get(engine, 0), running)
    return sum(peaks.values())


def _float(row: Row, key: str) -> float:
    value = row[key]
    assert value is not None, "read_cell lets no counted row without it through"
    return value


def _int(row: Row, key: str) -> int:
    return round(_float(row, key))


def _values(rows: Sequence[Row], key: str) -> list[float]:
    return [row.get(key) or 0.0 for row in rows]


def _total(rows: Sequence[Row], key: str, otherwise: int | None) -> int | None:
    """The sum where every step has the key."""
    values = [row.get(key) for row in rows]
    return otherwise if None in values else round(sum(x or 0 for x in values))


def _weighted(rows: Sequence[Row], key: str, weight_key: str) -> float | None:
    """sum(w x) / sum(w) over the steps that have both; None if they weigh nothing."""
    pairs = [
        (x, w)
        for row in rows
        if (x := row.get(key)) is not None and (w := row.get(weight_key)) is not None
    ]
    weight = sum(w for _, w in pairs)
    return sum(x * w for x, w in pairs) / weight if weight > 0 else None
