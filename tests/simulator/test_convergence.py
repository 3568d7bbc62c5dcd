"""The adaptive limit against a sweep of fixed ones, on simulated engines with noise and long tails.

Throughput is response tokens per second of whole steps: in steady state proportional to samples per
second, and far less noisy, for a batch of a few groups may happen to be long.
"""

import functools

import pytest

from copris_core.rollout.adaptive import AdaptiveLimit, Phase
from copris_core.rollout.admission import AdmissionGate
from copris_core.rollout.concurrency import FixedLimit
from copris_core.simulator.presets import CPU_2_CORES, GPU_ESTIMATE, Preset
from copris_core.simulator.simulation import Controller, Simulation

pytestmark = pytest.mark.slow  # long simulations

PRESETS = {preset.name: preset for preset in (CPU_2_CORES, GPU_ESTIMATE)}
SWEEP_STAGES = {"cpu-2-cores": 150, "gpu-estimate": 24}
NOISE = 0.06  # standard deviation of a stage's log speed
NUM_SETTLE, NUM_HELD = 20, 50


def _simulation(
    preset: Preset, limit: FixedLimit | Controller, *, seed: int, noise: float = 0.0
) -> Simulation:
    gate = AdmissionGate(
        limit=limit,
        groups_per_stage=preset.workload.groups_per_stage,
        group_size=preset.workload.group_size,
    )
    return Simulation(
        gate=gate,
        engine=preset.engine,
        workload=preset.workload,
        seed=seed,
        noise=noise,
        controller=None if isinstance(limit, FixedLimit) else limit,
    )


@functools.cache
def _tokens_per_s(name: str, limit: int) -> float:
    """Of a fixed N', without noise, once the first third of the stages has filled the pool."""
    num_stages = SWEEP_STAGES[name]
    results = _simulation(PRESETS[name], FixedLimit(limit=limit), seed=99).run(num_stages)
    steady = results[num_stages // 3 :]
    return sum(r.tokens for r in steady) / sum(r.total_s for r in steady)


@functools.cache
def _best_fixed(name: str) -> int:
    samples = PRESETS[name].workload.samples_per_stage
    sweep = [round(samples * 2 ** (step / 2)) for step in range(-2, 5)]
    return max(sweep, key=lambda limit: _tokens_per_s(name, limit))


def _adapted(name: str, *, start: float, seed: int) -> tuple[AdaptiveLimit, list[int]]:
    """Run from ``start`` times the best fixed N'; the controller and its limit after each stage."""
    preset = PRESETS[name]
    limit = AdaptiveLimit(
        start=round(start * _best_fixed(name)),
        samples_per_stage=preset.workload.samples_per_stage,
        floor=preset.workload.group_size,
    )
    sim = _simulation(preset, limit, seed=seed, noise=NOISE)
    limits = []
    for _ in range(NUM_SETTLE + NUM_HELD):
        sim.run_stage()
        limits.append(limit.limit)
    return limit, limits


@pytest.mark.parametrize(
    "name", ["cpu-2-cores", pytest.param("gpu-estimate", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("start", [1 / 8, 8])
def test_it_ends_within_five_percent_of_the_best_fixed_limit_and_stays(
    name: str, start: float
) -> None:
    limit, limits = _adapted(name, start=start, seed=0)
    assert limit.phase is Phase.HOLDING
    assert _tokens_per_s(name, limits[-1]) >= 0.95 * _tokens_per_s(name, _best_fixed(name))
    held = limits[NUM_SETTLE:]
    assert max(held) <= 1.1 * min(held)


@pytest.mark.slow
def test_over_many_runs_few_end_outside_and_few_move_late() -> None:
    """Noise may mislead one run; of 16, at most two, and never by much."""
    name = "cpu-2-cores"
    best = _tokens_per_s(name, _best_fixed(name))
    ends, moves = [], 0
    for seed in range(8):
        for start in (1 / 8, 8):
            _, limits = _adapted(name, start=start, seed=seed)
            ends.append(_tokens_per_s(name, limits[-1]) / best)
            held = limits[NUM_SETTLE:]
            moves += max(held) > 1.1 * min(held)
    assert sum(end < 0.95 for end in ends) <= 2
    assert min(ends) >= 0.9
    assert moves <= 2
