"""The scaling figures of the CoPRIS paper against this simulator.

    arXiv 2511.05589, "scalability" figure: samples/s of veRL and of CoPRIS over the context length
    and over the model size, read off the picture (+-0.05 samples/s)

The paper does not say which GPUs, how long the responses were or what a step costs outside
generation. So `FITTED` holds two unknowns, fitted to the published ratios of exactly two of the
eight points (`FITTED_ON`). The form of the model, `SIGMA`, `PROMPT_SHARE` and the roofline of
`copris_core.simulator.presets` were chosen with all eight residuals in view: the other six points
are a reproduction, not blind predictions. One of them, 1.5B, is the simulation of 16K again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from copris_core.simulator.lengths import LognormalLengths
from copris_core.simulator.presets import (
    QWEN_1_5B,
    QWEN_7B,
    QWEN_14B,
    ModelShape,
    h100_engine,
    h100_update,
)
from copris_core.simulator.simulation import Workload
from copris_core.simulator.strategies import Strategy, simulation_of, sync

GPUS: Final = 16
"""2 nodes of 8, the authors' script; all else of the script stands beside it here."""

PROMPTS: Final = 64
GROUP_SIZE: Final = 8
CONCURRENCY: Final = 1024
PROMPT_BUDGET: Final = 1024
"""Tokens of the context that the script leaves to the prompt; the rest is the response's cap."""

PROMPT_TOKENS: Final = 150
"""Usual length of a competition problem; it hardly matters."""

SIGMA: Final = 1.2
"""Standard deviation of the log length. Chosen out of 0.9, 1.0 and 1.2 after looking: with 0.9 the
fit leaves 24K at +13%, with 1.0 at +10%."""

PROMPT_SHARE: Final = 0.5
"""Share of the variance of the log length that a prompt's responses have in common. A guess."""

UNBOUNDED: Final = 10**9
"""A cap that no response reaches."""

SCRIPT_CONTEXT: Final = 16384
"""Context of the authors' script, taken for the three models; the paper leaves theirs out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One pair of bars of the paper's figure."""

    name: str
    """Context length, or model size."""
    context: int
    """Tokens of prompt and response together."""
    model: ModelShape
    """What is trained."""
    tensor_parallel: int = 1
    """GPUs per engine; the paper does not say."""
    sync_rate: float
    """Published samples/s of veRL."""
    copris_rate: float
    """Published samples/s of CoPRIS."""
    ratio: float
    """Published ratio, as the paper prints it."""


POINTS: Final = (
    Point(name="8K", context=8192, model=QWEN_1_5B, sync_rate=4.90, copris_rate=6.14, ratio=1.25),
    Point(name="16K", context=16384, model=QWEN_1_5B, sync_rate=2.30, copris_rate=3.55, ratio=1.54),
    Point(name="24K", context=24576, model=QWEN_1_5B, sync_rate=1.59, copris_rate=2.78, ratio=1.75),
    Point(name="32K", context=32768, model=QWEN_1_5B, sync_rate=1.27, copris_rate=2.54, ratio=2.00),
    Point(name="40K", context=40960, model=QWEN_1_5B, sync_rate=1.10, copris_rate=2.49, ratio=2.27),
    Point(
        name="1.5B",
        context=SCRIPT_CONTEXT,
        model=QWEN_1_5B,
        sync_rate=5.87,
        copris_rate=9.19,
        ratio=1.57,
    ),
    Point(
        name="7B",
        context=SCRIPT_CONTEXT,
        model=QWEN_7B,
        sync_rate=3.19,
        copris_rate=5.71,
        ratio=1.79,
    ),
    Point(
        name="14B",
        context=SCRIPT_CONTEXT,
        model=QWEN_14B,
        tensor_parallel=2,
        sync_rate=1.74,
        copris_rate=3.19,
        ratio=1.84,
    ),
)
FITTED_ON: Final = ("40K", "14B")
"""The far end of each figure. With `SIGMA` as it is any other pair does about as well (all eight
within 10%); which two unknowns are fitted was settled by trying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknowns:
    """What the paper leaves out and the ratios depend on."""

    median: float
    """Tokens that half of the responses would exceed if there were no cap."""
    rest_s: float
    """Seconds of a step outside generation, beside the arithmetic of the model."""


FITTED: Final = Unknowns(median=1120.0, rest_s=112.0)
"""What `fit` comes to, to three digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutLengths:
    """One lognormal for every context, cut off at the cap, which may lie below its median."""

    median: float
    """Tokens that half of the responses would exceed without a cap."""
    cap: int
    """Most response tokens."""

    def draw(self, rng: np.random.Generator, group_size: int) -> list[int]:
        """Lengths of one group's responses, in tokens."""
        uncut = LognormalLengths(
            median=self.median, sigma=SIGMA, cap=UNBOUNDED, prompt_share=PROMPT_SHARE
        )
        return [min(self.cap, length) for length in uncut.draw(rng, group_size)]

    @property
    def mean(self) -> float:
        """E[min(X, cap)] of a lognormal X = median e^(sigma Z).

        median e^(sigma^2 / 2) Phi(k - sigma) + cap Phi(-k),  k = ln(cap / median) / sigma
        """
        k = math.log(self.cap / self.median) / SIGMA
        below = self.median * math.exp(SIGMA**2 / 2) * _normal_cdf(k - SIGMA)
        return below + self.cap * _normal_cdf(-k)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One point of the paper beside its simulation."""

    point: Point
    """What was published."""
    sync_s: float
    """Simulated seconds of a synchronous step."""
    copris_s: float
    """Simulated seconds per batch with `CONCURRENCY` in flight, in steady state."""

    @property
    def ratio(self) -> float:
        """Simulated speed-up."""
        return self.sync_s / self.copris_s

    @property
    def error(self) -> float:
        """Simulated over published ratio, less one."""
        return self.ratio / self.point.ratio - 1

    @property
    def sync_rate(self) -> float:
        """Simulated samples/s of the synchronous step; nothing was fitted to the published one."""
        return PROMPTS * GROUP_SIZE / self.sync_s

    @property
    def is_fitted(self) -> bool:
        """Whether the unknowns were chosen to meet this point."""
        return self.point.name in FITTED_ON


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long a point is simulated."""

    warm_up: int
    """Steps left out, until the pool holds its steady mix of ages."""
    steps: int
    """Steps counted."""


FULL: Final = Effort(warm_up=10, steps=24)
QUICK: Final = Effort(warm_up=5, steps=5)
"""Noisier by some percent, and five times as fast."""


def table(unknowns: Unknowns = FITTED, *, effort: Effort = FULL) -> list[Row]:
    """All eight points, in the paper's order."""
    return [simulate(point, unknowns, effort=effort) for point in POINTS]


def simulate(point: Point, unknowns: Unknowns, *, effort: Effort = FULL) -> Row:
    """One point: a synchronous run and a CoPRIS run on the same engines.

    ``rest_s`` is added afterwards, for no response notices it.
    """
    engine = h100_engine(point.model, gpus=GPUS, tensor_parallel=point.tensor_parallel)
    lengths = CutLengths(median=unknowns.median, cap=point.context - PROMPT_BUDGET)
    workload = _workload(point, lengths)
    seconds = []
    for strategy in (sync(workload), Strategy(name="copris", concurrency=CONCURRENCY)):
        simulation = simulation_of(strategy, engine=engine, workload=workload, seed=0)
        results = simulation.run(effort.warm_up + effort.steps)[effort.warm_up :]
        # In steady state what is sampled is what is trained, and the tokens are far less noisy.
        per_token_s = sum(r.total_s for r in results) / sum(r.tokens for r in results)
        seconds.append(per_token_s * lengths.mean * workload.samples_per_stage + unknowns.rest_s)
    return Row(point=point, sync_s=seconds[0], copris_s=seconds[1])


def fit(*, effort: Effort = FULL) -> Unknowns:
    """The unknowns that meet the two published ratios of `FITTED_ON`.

    For each median the first point tells rest_s: (sync + rest) / (copris + rest) = ratio. The
    median is bisected until the second point is met, whose ratio falls as responses get longer.

    Raises:
        ValueError: no median within `MEDIANS` meets both.
    """
    first, second = (point for name in FITTED_ON for point in POINTS if point.name == name)
    low, high = MEDIANS
    ends = [_second_error(median, first, second, effort) for median in MEDIANS]
    if not ends[0] > 0 > ends[1]:
        raise ValueError(f"no median of {low:g} to {high:g} tokens meets {' and '.join(FITTED_ON)}")
    while high / low > 1 + MEDIAN_PRECISION:
        middle = math.sqrt(low * high)
        too_high = _second_error(middle, first, second, effort) > 0
        low, high = (middle, high) if too_high else (low, middle)
    return _with_rest(math.sqrt(low * high), first, effort)


MEDIANS: Final = (600.0, 3000.0)
"""Medians between which `fit` looks, in tokens."""

MEDIAN_PRECISION: Final = 0.02
"""Relative width at which it stops; single responses make the ratios jump by more."""


def _second_error(median: float, first: Point, second: Point, effort: Effort) -> float:
    return simulate(second, _with_rest(median, first, effort), effort=effort).error


def _with_rest(median: float, point: Point, effort: Effort) -> Unknowns:
    """With the rest that meets ``point``: (sync - ratio copris) / (ratio - 1), seconds without."""
    bare = simulate(point, Unknowns(median=median, rest_s=0.0), effort=effort)
    rest_s = (bare.sync_s - point.ratio * bare.copris_s) / (point.ratio - 1)
    return Unknowns(median=median, rest_s=max(0.0, rest_s))


def markdown(rows: Sequence[Row], unknowns: Unknowns = FITTED) -> str:
    """The table, with what was fitted and what it cannot tell."""
    lines = [
        "| point | published | simulated | error | veRL samples/s: published | simulated |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.point.name}{' (fitted)' if row.is_fitted else ''} | {row.point.ratio:.2f}x | "
        f"{row.ratio:.2f}x | {row.error:+.0%} | {row.point.sync_rate:.2f} | {row.sync_rate:.2f} |"
        for row in rows
    ]
    worst = max((row for row in rows if not row.is_fitted), key=lambda row: abs(row.error))
    lines += [
        "",
        f"Fitted to the ratios of {' and '.join(FITTED_ON)}: lengths with a median of "
        f"{unknowns.median:.0f} tokens before the cut, {unknowns.rest_s:.0f} s of a step outside "
        f"generation. {SETTINGS_NOTE} Farthest off of the others: {worst.point.name}, "
        f"{worst.error:+.0%}.",
        "",
        f"{RATES_NOTE} {unknowns.rest_s:.0f} s outside generation are even more than the whole "
        f"published step at {POINTS[0].name}, {PROMPTS * GROUP_SIZE / POINTS[0].sync_rate:.0f} s.",
    ]
    return "\n".join(lines) + "\n"


SETTINGS_NOTE: Final = (
    f"The other settings (sigma {SIGMA}, prompt share {PROMPT_SHARE}, the engine presets) and the "
    "form of the model were chosen with all eight errors in view: the other points are reproduced, "
    "not predicted blindly, and 1.5B is the simulation of 16K again."
)

RATES_NOTE: Final = (
    "The absolute rates were not fitted and do not agree: the paper names no GPUs and no lengths, "
    "and its own figures have the 1.5B model at 2.30 samples/s (16K) and at 5.87 (model size), so "
    "no one setting meets both. The ratios say that the shape is right, not that the seconds are:"
)


def _workload(point: Point, lengths: CutLengths) -> Workload:
    update_s, update_token_s = h100_update(point.model, gpus=GPUS)
    return Workload(
        lengths=lengths,
        groups_per_stage=PROMPTS,
        group_size=GROUP_SIZE,
        prompt_tokens=PROMPT_TOKENS,
        update_s=update_s,
        update_token_s=update_token_s,
    )


def _normal_cdf(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2
