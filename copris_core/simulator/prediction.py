"""What one strategy's steps cost once they have settled.

Every strategy is given the same prompts with the same lengths in the same order, so strategies
differ by less than chance. What chance is left is taken out of the seconds: a step trains
B n responses, and over few steps their mean length is not that of the distribution.

    generate = (B n mean length) x seconds of generation / tokens sampled in them
"""

import contextlib
import gc
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from copris_core.simulator.engine import EngineModel
from copris_core.simulator.events import EventLog
from copris_core.simulator.lengths import Shape
from copris_core.simulator.simulation import Simulation, Workload
from copris_core.simulator.step_result import StageResult
from copris_core.simulator.strategies import Strategy, simulation_of

MEASURED_RESPONSES: Final = 4096
"""Responses trained in the steps that count, at least."""
MEASURED_STAGES: Final = 16
"""Steps that count, at least."""
SETTLE_STAGES: Final = 20
"""Steps after which an adaptive N' is held."""
MOST_WARM_UP: Final = 80
"""Steps that are left out, at most, beyond ``SETTLE_STAGES``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One strategy at one N': means over the steps that count."""

    strategy: str
    """Its name."""
    concurrency: int
    """N', responses in flight at most; the mean of an adaptive one."""
    max_lag: int | None
    """K of the pacing; None: no bound."""
    warm_up: int
    """Steps left out."""
    stages: int
    """Steps that count."""
    step_s: float
    """Seconds of a step."""
    decode_s: float
    """Seconds of them in which the mean replica decodes."""
    prefill_s: float
    """Seconds in which it prefills."""
    stop_s: float
    """Seconds until the aborts are acknowledged."""
    update_s: float
    """Seconds outside generation."""
    samples_per_s: float
    """Trained responses per second of the whole step."""
    tokens_per_s: float
    """Sampled response tokens per second of the whole step."""
    in_flight: float
    """Mean responses in flight while generating."""
    occupancy: float
    """Of N', the share in flight while generating."""
    running: float
    """Mean responses in the decode batches while generating."""
    idle_generate: float
    """Share of the slots in which nothing runs while generating; slots are N', or what the
    engines' batches hold if that is less."""
    interruptions: float
    """Interruptions per trained response."""
    prefilled_again: float
    """Response tokens prefilled again, per sampled one."""
    preemptions: float
    """Responses thrown out of the KV cache per step."""
    lag_mean: float
    """Versions between sampling and training, mean over the trained tokens."""
    lag_p95: int
    """Versions that 95% of the trained tokens do not exceed."""
    lag_max: int
    """Largest seen."""
    token_share_by_lag: dict[int, float]
    """Share of the trained tokens by lag."""

    @property
    def generate_s(self) -> float:
        """Seconds of generation, the stop included."""
        return self.decode_s + self.prefill_s + self.stop_s

    @property
    def generate_share(self) -> float:
        """Generation's share of the step, f."""
        return self.generate_s / self.step_s

    @property
    def idle_step(self) -> float:
        """Share of the step that the empty slots of generation amount to, f b."""
        return self.idle_generate * (self.decode_s + self.prefill_s) / self.step_s

    @property
    def parts(self) -> dict[str, float]:
        """Seconds of a step by what they are spent on; they add up to the step."""
        empty_s = self.idle_generate * self.decode_s
        return {
            "decoding": self.decode_s - empty_s,
            "empty slots": empty_s,
            "prefill": self.prefill_s,
            "stop": self.stop_s,
            "update": self.update_s,
        }

    def to_json(self) -> dict[str, Any]:
        """The prediction as a JSON object."""
        more = {"generate_s": self.generate_s, "idle_step": self.idle_step, "parts": self.parts}
        return {**asdict(self), **more}


def predict(
    strategy: Strategy,
    *,
    engine: EngineModel,
    workload: Workload,
    shape: Shape,
    seed: int,
    stages: int | None = None,
    events: EventLog | None = None,
) -> Prediction:
    """Simulate ``strategy`` until it has settled, then ``stages`` steps more.

    Settled: in steady state a response of length L takes L / mean x N' / (B n) steps. When that
    many have passed for one of the 99th percentile, what all began at once at step 0 has gone.

    Args:
        strategy: who runs and who waits.
        engine: the replicas.
        workload: what is sampled and trained.
        shape: of the workload's lengths.
        seed: of the lengths.
        stages: steps that count; None: enough for `MEASURED_RESPONSES`.
        events: is told whatever happens.

    Raises:
        ValueError: the strategy cannot be simulated with this workload.
    """
    sim = simulation_of(strategy, engine=engine, workload=workload, seed=seed, events=events)
    samples = workload.samples_per_stage
    stages = stages or max(MEASURED_STAGES, -(-MEASURED_RESPONSES // samples))
    with _collector_paused():
        warm_up = _settle(sim, strategy, workload, shape)
        results = sim.run(stages)
    return _means(strategy, results, engine, workload, shape, warm_up)


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """No search for reference cycles among the objects of a run.

    The cycles are few and the objects many: with 100,000 in flight it takes a fifth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _settle(sim: Simulation, strategy: Strategy, workload: Workload, shape: Shape) -> int:
    """Run the steps that are left out; how many they were."""
    before = SETTLE_STAGES if strategy.is_adaptive else 0
    sim.run(before)
    pools = min(sim.gate.limit, strategy.concurrency) if not before else sim.gate.limit
    turnover = pools / workload.samples_per_stage * shape.p99 / shape.mean
    after = 1 if strategy.name == "sync" else min(MOST_WARM_UP, 2 + math.ceil(turnover))
    sim.run(after)
    return before + after


def _means(
    strategy: Strategy,
    results: Sequence[StageResult],
    engine: EngineModel,
    workload: Workload,
    shape: Shape,
    warm_up: int,
) -> Prediction:
    num, samples = len(results), workload.samples_per_stage
    tokens = sum(each.tokens for each in results)
    open_s = sum(each.open_s for each in results)
    limit = sum(each.limit for each in results) / num
    to_mean = samples * shape.mean / tokens  # from the sum over the steps to a step of mean length
    decode_s, prefill_s = (
        to_mean * sum(getattr(each, name) for each in results) for name in ("decode_s", "prefill_s")
    )
    stop_s = sum(each.stop_s for each in results) / num
    padded_tokens = sum(each.padded_tokens for each in results) / num
    update_s = workload.update_seconds(tokens=samples * shape.mean, padded_tokens=padded_tokens)
    step_s = decode_s + prefill_s + stop_s + update_s
    in_flight, running = (
        sum(getattr(each, name) * each.open_s for each in results) / open_s
        for name in ("in_flight", "running")
    )
    shares = _shares(results)
    return Prediction(
        strategy=strategy.name,
        concurrency=round(limit),
        max_lag=strategy.max_lag,
        warm_up=warm_up,
        stages=num,
        step_s=step_s,
        decode_s=decode_s,
        prefill_s=prefill_s,
        stop_s=stop_s,
        update_s=update_s,
        samples_per_s=samples / step_s,
        tokens_per_s=samples * shape.mean / step_s,
        in_flight=in_flight,
        occupancy=in_flight / limit,
        running=running,
        idle_generate=max(0.0, 1 - running / min(limit, engine.max_running * engine.replicas)),
        interruptions=sum(each.trained_interruptions for each in results) / (num * samples),
        prefilled_again=sum(each.prefilled_again for each in results) / tokens,
        preemptions=sum(each.preemptions for each in results) / num,
        lag_mean=sum(lag * share for lag, share in shares.items()),
        lag_p95=_percentile(shares, 0.95),
        lag_max=max(shares),
        token_share_by_lag=shares,
    )


def _shares(results: Sequence[StageResult]) -> dict[int, float]:
    """Share of the trained tokens by lag, in ascending order."""
    lags: Counter[int] = Counter()
    for each in results:
        lags.update(each.tokens_by_lag)
    return {lag: lags[lag] / lags.total() for lag in sorted(lags)}


def _percentile(shares: dict[int, float], part: float) -> int:
    """The smallest lag that ``part`` of the tokens do not exceed; ``shares`` ascend."""
    total = 0.0
    for lag, share in shares.items():
        total += share
        if total >= part - 1e-12:
            return lag
    return max(shares)
