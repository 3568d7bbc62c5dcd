"""The plan: every strategy over a sweep of N', the knee of the curve, and the N' to choose."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from copris_core.simulator.engine import KV_HEADROOM, EngineModel
from copris_core.simulator.events import EventLog
from copris_core.simulator.lengths import Shape, shape_of
from copris_core.simulator.prediction import Prediction, predict
from copris_core.simulator.simulation import Workload
from copris_core.simulator.strategies import Strategy, groups_in, sync

MULTIPLES: Final = (0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4)
"""N' of the default sweep, in batches of B n."""
KNEE_SHARE: Final = 0.03
"""Of the best throughput, what is given for a smaller N'."""
CAP_SLACK: Final = 0.02
"""Share by which a simulated mean may exceed the user's cap: it is a mean over few steps."""
ADAPTIVE_CAP: Final = 2.0
"""Interruptions per response of an adaptive N' without a cap of the user's, as configs/strategy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a plan is asked."""

    engine: EngineModel
    """The replicas."""
    workload: Workload
    """What is sampled and trained per step."""
    concurrency: tuple[int, ...] = ()
    """N' to look at; empty: `MULTIPLES` of the batch, as far as they fit."""
    staleness_cap: float | None = None
    """Most interruptions per response, N' / (B n); None: no bound."""
    max_lag: int | None = None
    """K, most versions between sampling and training; None: no bound."""
    seed: int = 0
    """Of the lengths."""
    stages: int | None = None
    """Steps of each simulation that count; None: as many as a good mean takes."""

    def __post_init__(self) -> None:
        """Refuse what no run could do.

        Raises:
            ValueError: see above.
        """
        if min(self.workload.groups_per_stage, self.workload.group_size) < 1:
            raise ValueError("a batch needs at least one prompt and one response per prompt")
        if self.workload.prompt_tokens < 0:
            raise ValueError(f"a prompt of {self.workload.prompt_tokens} tokens cannot be")
        if self.stages is not None and self.stages < 1:
            raise ValueError(f"stages={self.stages} count nothing: use 1 or more")
        if self.max_lag is not None and self.max_lag < 0:
            raise ValueError(f"max_lag={self.max_lag} is negative: set it to 0 or more")
        cap = self.staleness_cap
        if cap is not None and not cap * self.workload.samples_per_stage >= self.floor:
            raise ValueError(
                f"a cap of {cap:g} interruptions a response allows fewer than {self.floor} in "
                f"flight: set it to {self.floor / self.workload.samples_per_stage:g} or more"
            )

    @property
    def floor(self) -> int:
        """Smallest N' that is planned for under a cap: one group."""
        return self.workload.group_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The answer."""

    question: Question
    """What was asked."""
    shape: Shape
    """Of the lengths."""
    fits: int
    """Responses in flight that the KV caches and the batches hold."""
    sync: Prediction
    """The synchronous loop."""
    partial: tuple[Prediction, ...]
    """The other strategies, each in ascending order of N'."""
    knee: Prediction
    """Of ``copris``: the smallest N' within `KNEE_SHARE` of the best throughput."""
    chosen: Prediction
    """The same among those that the cap allows."""

    def of(self, strategy: str) -> tuple[Prediction, ...]:
        """The predictions of one strategy."""
        return tuple(each for each in (self.sync, *self.partial) if each.strategy == strategy)

    def gain(self, prediction: Prediction) -> float:
        """Throughput over that of the synchronous loop."""
        return prediction.samples_per_s / self.sync.samples_per_s

    def allows(self, prediction: Prediction) -> bool:
        """Whether it keeps the cap on the interruptions per response."""
        cap = self.question.staleness_cap
        return cap is None or prediction.interruptions <= cap * (1 + CAP_SLACK)

    @property
    def limit_of_gain(self) -> float:
        """1 / (1 - f b): what filling the empty slots of ``sync`` alone is worth at most."""
        return 1 / (1 - self.sync.idle_step)

    def to_json(self) -> dict[str, Any]:
        """The plan as a JSON object; ``gain`` is over sync, ``allowed`` by the staleness cap."""
        question, workload = self.question, self.question.workload
        return {
            "seed": question.seed,
            "engine": asdict(question.engine),
            "workload": {
                "prompts": workload.groups_per_stage,
                "group_size": workload.group_size,
                "prompt_tokens": workload.prompt_tokens,
                "update_s": workload.update_s,
                "update_token_s": workload.update_token_s,
                "update_padded_token_s": workload.update_padded_token_s,
                "lengths": asdict(self.shape),
            },
            "staleness_cap": question.staleness_cap,
            "max_lag": question.max_lag,
            "fits": self.fits,
            "limit_of_gain": self.limit_of_gain,
            "predictions": [
                {**each.to_json(), "gain": self.gain(each), "allowed": self.allows(each)}
                for each in (self.sync, *self.partial)
            ],
            "knee": self.knee.concurrency,
            "chosen": self.chosen.concurrency,
        }


def make_plan(question: Question) -> Plan:
    """Simulate the strategies and choose N'.

    Raises:
        ValueError: a response or a given N' does not fit into the KV cache.
    """
    shape = shape_of(question.workload.lengths)
    fits = responses_that_fit(question.engine, question.workload.prompt_tokens, shape)
    points = question.concurrency or default_points(question, fits)
    if max(points) > fits:
        raise ValueError(f"N'={max(points)} does not fit: {_capacity_words(question, shape, fits)}")
    asked = [sync(question.workload), *_strategies(question, points)]
    first, *partial = (_predict(each, question, shape) for each in asked)
    fixed = [each for each in partial if each.strategy == "copris"]
    return Plan(
        question=question,
        shape=shape,
        fits=fits,
        sync=first,
        partial=tuple(partial),
        knee=knee_of(fixed),
        chosen=knee_of(
            [each for each in fixed if _allows(question, each.concurrency)] or fixed[:1]
        ),
    )


def responses_that_fit(engine: EngineModel, prompt_tokens: int, shape: Shape) -> int:
    """Responses in flight that all KV caches and batches hold, at the mean tokens they have.

        N' (prompt + E[L^2] / (2 E[L])) <= KV tokens

    Raises:
        ValueError: the longest response alone does not fit.
    """
    longest = prompt_tokens + shape.longest
    if longest > engine.kv_tokens:
        raise ValueError(
            f"a response of {shape.longest} tokens with its prompt of {prompt_tokens} does not fit "
            f"into a KV cache of {engine.kv_tokens}: lower the cap, or take a larger cache"
        )
    held = engine.kv_tokens * (1 - KV_HEADROOM) / (prompt_tokens + shape.mean_held)
    return engine.replicas * max(1, min(engine.max_running, math.floor(held)))


def default_points(question: Question, fits: int) -> tuple[int, ...]:
    """`MULTIPLES` of the batch as far as they fit, the most that fits, and the cap's own N'."""
    samples = question.workload.samples_per_stage
    wanted = {max(1, round(multiple * samples)) for multiple in MULTIPLES}
    if question.staleness_cap is not None:
        wanted.add(math.floor(question.staleness_cap * samples))
    points = {point for point in wanted if point <= fits}
    return tuple(sorted(points | {fits} if len(points) < len(wanted) else points))


def knee_of(predictions: Sequence[Prediction]) -> Prediction:
    """The smallest N' within `KNEE_SHARE` of the best throughput.

    Raises:
        ValueError: there is none.
    """
    best = max(each.samples_per_s for each in predictions)
    good = [each for each in predictions if each.samples_per_s >= (1 - KNEE_SHARE) * best]
    return min(good, key=lambda each: each.concurrency)


def log_events(plan: Plan, events: EventLog) -> None:
    """Simulate the chosen N' once more, telling ``events`` whatever happens."""
    question, chosen = plan.question, plan.chosen
    strategy = Strategy(
        name=chosen.strategy, concurrency=chosen.concurrency, max_lag=chosen.max_lag
    )
    predict(
        strategy,
        engine=question.engine,
        workload=question.workload,
        shape=plan.shape,
        seed=question.seed,
        stages=question.stages,
        events=events,
    )


def _strategies(question: Question, points: Sequence[int]) -> list[Strategy]:
    """Every partial strategy at every N' that it can have."""
    workload, lag = question.workload, question.max_lag
    batches = sorted({groups_in(point, workload) for point in points})
    oversampled = [
        groups * workload.group_size for groups in batches if groups > workload.groups_per_stage
    ]
    by_name = {"naive_partial": points, "oversample": oversampled, "copris": points}
    fixed = [
        Strategy(name=name, concurrency=point, max_lag=lag)
        for name, chosen in by_name.items()
        for point in chosen
    ]
    adaptive = Strategy(
        name="copris_adaptive",
        concurrency=min(max(points), workload.samples_per_stage),
        max_lag=lag,
        staleness_cap=question.staleness_cap or ADAPTIVE_CAP,
    )
    return [*fixed, adaptive]


def _predict(strategy: Strategy, question: Question, shape: Shape) -> Prediction:
    return predict(
        strategy,
        engine=question.engine,
        workload=question.workload,
        shape=shape,
        seed=question.seed,
        stages=question.stages,
    )


def _allows(question: Question, concurrency: int) -> bool:
    """Whether N' keeps the cap, by Little's law: interruptions per response are N' / (B n)."""
    cap = question.staleness_cap
    return cap is None or concurrency <= cap * question.workload.samples_per_stage


def _capacity_words(question: Question, shape: Shape, fits: int) -> str:
    engine = question.engine
    each = question.workload.prompt_tokens + shape.mean_held
    return (
        f"{engine.replicas} x {engine.kv_tokens:,} tokens of KV cache and batches of "
        f"{engine.max_running} hold {fits} responses of {each:.0f} tokens on average"
    )
