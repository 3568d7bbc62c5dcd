"""Which N' makes a whole training step cheapest, per generated token.

    whole(N') = step_s / N' + token_s + grow N' + rest_s / tokens
    grow = again_s r / (B n)

In steady state N' / (B n) is how often a response is interrupted (Little's law), and r, the mean
length of what is cut over the mean length, is how much each time has to be prefilled again.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from copris_core.rollout.concurrency import StageFacts
from copris_core.rollout.cost_curve import Cost

TOLERANCE = 0.005
"""Share of the cheapest step's time that is given for a smaller N'."""

HOLD_BAND = 0.05
"""Share of the cheapest step's time within which a held N' is left alone; below it is noise."""

SMALLER_FACTOR = 3.0
"""A held N' is also left alone up to this factor above the smallest that costs nearly the same;
beyond it, it would buy staleness for nothing."""

RATIO_PRIOR_STAGES = 16.0
"""Stages that the prior weighs in r: the ages of what is cut vary so much that one stage's tell
little."""

AVERAGE_STAGES = 32.0
"""Stages that the averages reach back; lengths change over tens of updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where the cost curve wants N'."""

    target: int
    """Smallest N' within ``TOLERANCE`` of the cheapest step."""
    low: float
    """Below it a step costs more than ``HOLD_BAND`` above the cheapest."""
    high: float
    """Above it, likewise, or N' could be ``SMALLER_FACTOR`` times smaller."""

    def allows(self, limit: int) -> bool:
        """Whether ``limit`` need not move."""
        return self.low <= limit <= self.high


@dataclass(slots=True, kw_only=True)
class _Averages:
    """Fading sums over the steps."""

    rest_s: float = 0.0
    tokens: float = 0.0
    steady_stages: float = 0.0
    steady_tokens: float = 0.0
    again: float = 0.0
    exposed: float = 0.0  # tokens x interruptions per response
    interrupted_before: int = 0


class StepPlanner:
    """Averages over the steps, and the plan that follows from them and a fitted cost."""

    def __init__(self, *, samples_per_stage: int) -> None:
        """``samples_per_stage`` is B n, the responses trained per step."""
        self._samples_per_stage = samples_per_stage
        self._averages = _Averages()

    @property
    def again_ratio(self) -> float:
        """Mean length of what is cut over the mean length.

            r = (tokens prefilled again / tokens) / (N' / (B n))

        E[L^2] / (2 E[L]^2) in theory: 1/2 for equal lengths, 1 for exponential ones, the prior.
        """
        averages = self._averages
        if not averages.steady_stages:
            return 1.0
        prior = RATIO_PRIOR_STAGES * averages.steady_tokens / averages.steady_stages
        return (averages.again + prior) / (averages.exposed + prior)

    def record(self, facts: StageFacts, *, is_steady: bool) -> None:
        """One step; not steady while N' moves, when too old or too young responses are cut."""
        averages, fade = self._averages, 1 - 1 / AVERAGE_STAGES
        averages.rest_s = fade * averages.rest_s + facts.rest_s
        averages.tokens = fade * averages.tokens + facts.tokens
        if is_steady:
            exposed = facts.tokens * averages.interrupted_before / self._samples_per_stage
            averages.steady_stages = fade * averages.steady_stages + 1
            averages.steady_tokens = fade * averages.steady_tokens + facts.tokens
            averages.again = fade * averages.again + facts.prefilled_again
            averages.exposed = fade * averages.exposed + exposed
        averages.interrupted_before = facts.interrupted

    def plan(self, cost: Cost, *, floor: int, top: float) -> Plan:
        """The N' from ``floor`` to ``top`` to aim at; after at least one ``record``.

        The cheapest is sqrt(step_s / grow); beyond ``top`` the curve is not believed.
        """
        averages = self._averages
        grow = cost.again_s * self.again_ratio / self._samples_per_stage
        cheapest = math.sqrt(cost.step_s / grow) if grow > 0 else top
        cheapest = max(floor, min(top, cheapest))
        least = cost.step_s / cheapest + grow * cheapest
        whole = least + cost.token_s + averages.rest_s / averages.tokens
        first, _ = _roots(cost.step_s, grow, least + TOLERANCE * whole)
        low, high = _roots(cost.step_s, grow, least + HOLD_BAND * whole)
        target = max(floor, math.ceil(first))
        return Plan(target=target, low=low, high=min(high, SMALLER_FACTOR * target))

    def state_dict(self) -> dict[str, Any]:
        """The averages, as JSON."""
        return asdict(self._averages)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        self._averages = _Averages(**state)


def _roots(step_s: float, grow: float, budget: float) -> tuple[float, float]:
    """Between which N step_s / N + grow N stays within ``budget``, which is not below the least."""
    spread = math.sqrt(max(0.0, budget**2 - 4 * grow * step_s))
    high = (budget + spread) / (2 * grow) if grow > 0 else math.inf
    return (2 * step_s / (budget + spread) if budget > 0 else 0.0), high
