"""Prolonged training (ProRL): KL control, reference reset, entropy control and lengths together.

Facts of an update or a validation in, orders for the next update out. Whatever part is absent is
not controlled.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from copris_core.controllers import fields
from copris_core.controllers.adaptive_kl import KLControl, check_kl
from copris_core.controllers.entropy import EntropyControl, Trend
from copris_core.controllers.length_schedule import LengthSchedule
from copris_core.controllers.reference_reset import ReferenceReset, ResetOrder
from copris_core.controllers.validation_watch import blended


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """What one update measured."""

    step: int
    """Training step, from 1."""
    kl: float | None
    """KL(policy || reference), in nats per token; None if it was not measured."""
    entropy: float | None
    """Entropy of the policy, in nats per token; None if it was not measured."""
    mean_length: float
    """Mean tokens of the trained responses."""

    def __post_init__(self) -> None:
        """Refuse what no update can measure.

        Raises:
            ValueError: a step below 1, or a number that is not finite.
        """
        if self.step < 1:
            raise ValueError(f"step {self.step} trains nothing: training steps count from 1")
        if self.kl is not None:
            check_kl(self.kl)
        if self.entropy is not None and not math.isfinite(self.entropy):
            raise ValueError(
                f"entropy is {self.entropy}: logits are no longer finite; lower the learning rate "
                "and resume from an earlier checkpoint"
            )
        if not 0 <= self.mean_length < math.inf:
            raise ValueError(f"mean_length={self.mean_length} must be a mean number of tokens")


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What the next update is to be done with."""

    kl_coefficient: float | None
    """Weight of the KL loss; None: not controlled."""
    entropy_coefficient: float | None
    """Weight of the entropy bonus; None: not controlled."""
    reset: ResetOrder | None
    """Copy the policy into the reference first; None: do not."""


class _Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Prolonged:
    """The parts of a prolonged run, driven by two calls per step.

    Order within a step: KL control takes the update's KL, then the triggers are asked; a reset
    puts KL control back to its start, so that the new reference is not held to the old one's
    coefficient.
    """

    def __init__(
        self,
        *,
        kl: KLControl | None = None,
        reset: ReferenceReset | None = None,
        entropy: EntropyControl | None = None,
        length: LengthSchedule | None = None,
    ) -> None:
        """Compose the parts; None leaves one out."""
        self._kl = kl
        self._reset = reset
        self._entropy = entropy
        self._length = length
        self._entropy_watch: EntropyControl | Trend = Trend() if entropy is None else entropy
        self._last: StepFacts | None = None
        self._blended: float | None = None

    # ---- questions ----

    def orders(self) -> Orders:
        """The coefficients in force, as for the first update; no reset."""
        return self._orders(None)

    @property
    def reset_count(self) -> int:
        """Resets of the reference so far."""
        return 0 if self._reset is None else self._reset.count

    def response_budget(self, step: int) -> int | None:
        """Tokens that a response of ``step`` may have; None: as configured for the engine.

        Raises:
            ValueError: ``step`` < 1.
        """
        return None if self._length is None else self._length.tokens_at(step)

    def metrics(self) -> dict[str, float]:
        """``prorl/*`` after the last step, coefficients for the next; what is unknown is absent."""
        last, known = self._last, {"prorl/blended_validation": self._blended}
        if last is not None:
            known["prorl/kl_divergence"] = last.kl
            known["prorl/entropy"] = last.entropy
            known["prorl/avg_response_length"] = last.mean_length
            known["prorl/response_budget"] = self.response_budget(last.step)
        known["prorl/entropy_trend"] = self._entropy_trend()
        if self._kl is not None:
            known["prorl/kl_coefficient"] = self._kl.coefficient
        if self._reset is not None:
            known["prorl/reset_count"] = self._reset.count
            known["prorl/steps_since_reset"] = self._reset.steps_since_reset
            if self._reset.count and self._reset.steps_since_reset == 0:
                known["prorl/reset"] = 1
        return {name: value for name, value in known.items() if value is not None}

    # ---- facts ----

    def on_step(self, facts: StepFacts) -> Orders:
        """Take one update; the orders for the next.

        Raises:
            ValueError: the step does not come after the last one; nothing was changed.
        """
        if self._last is not None and facts.step <= self._last.step:
            raise ValueError(
                f"step {facts.step} came after step {self._last.step}: steps must ascend"
            )
        # First of all, because it may refuse the step; it changes no coefficient.
        reset = None if self._reset is None else self._reset.on_step(facts.step, facts.kl)
        self._last = facts
        if self._kl is not None and facts.kl is not None:
            self._kl.observe(facts.kl)
        if facts.entropy is not None:
            self._entropy_watch.observe(facts.entropy)
        return self._carry_out(reset)

    def on_validation(self, step: int, accuracy_by_domain: Mapping[str, float]) -> Orders:
        """Take one validation, after the update of ``step``; the orders for the next update.

        Args:
            step: training step; 0 before the first.
            accuracy_by_domain: mean score of each domain, in [0, 1].

        Raises:
            ValueError: the step goes backwards, scores outside [0, 1], or other domains than
                before; nothing was changed.
        """
        if self._last is not None and step < self._last.step:
            raise ValueError(f"validation of step {step} came after step {self._last.step}")
        if self._reset is None:
            self._blended = blended(accuracy_by_domain, None)
            return self._orders(None)
        reset = self._reset.on_validation(step, accuracy_by_domain)
        self._blended = self._reset.blended
        return self._carry_out(reset)

    # ---- across a restart ----

    def state_dict(self) -> dict[str, Any]:
        """Every part's state and the last facts, as JSON."""
        last = self._last
        return {
            "parts": {name: part.state_dict() for name, part in self._parts().items()},
            "blended": self._blended,
            "last": None
            if last is None
            else {
                "step": last.step,
                "kl": last.kl,
                "entropy": last.entropy,
                "mean_length": last.mean_length,
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave.

        Raises:
            ValueError: malformed, or of a run with other parts; nothing was changed.
        """
        own, saved = self._parts(), fields.part(state, "parts")
        if own.keys() != saved.keys():
            raise ValueError(
                f"the checkpoint holds the state of [{', '.join(sorted(saved))}], this run has "
                f"[{', '.join(sorted(own))}]: resume with the same kl_control, reference_reset and "
                "entropy_control"
            )
        last = _facts_of(state)
        score = fields.optional_number(state, "blended", low=0, high=1)
        for name, part in own.items():  # on a copy first, so that all are taken up or none
            copy.deepcopy(part).load_state_dict(fields.part(saved, name))
        for name, part in own.items():
            part.load_state_dict(saved[name])
        self._last, self._blended = last, score

    # ---- within ----

    def _parts(self) -> dict[str, _Stateful]:
        """The parts that remember something, by name; lengths are a function of the step."""
        named: dict[str, _Stateful | None] = {
            "kl": self._kl,
            "reset": self._reset,
            "entropy_trend" if self._entropy is None else "entropy": self._entropy_watch,
        }
        return {name: part for name, part in named.items() if part is not None}

    def _carry_out(self, reset: ResetOrder | None) -> Orders:
        if reset is not None and self._kl is not None:
            self._kl.restart()
        return self._orders(reset)

    def _orders(self, reset: ResetOrder | None) -> Orders:
        return Orders(
            kl_coefficient=None if self._kl is None else self._kl.coefficient,
            entropy_coefficient=None if self._entropy is None else self._entropy.coefficient,
            reset=reset,
        )

    def _entropy_trend(self) -> float | None:
        watch = self._entropy_watch
        return watch.value if isinstance(watch, Trend) else watch.trend


def _facts_of(state: Mapping[str, Any]) -> StepFacts | None:
    if state.get("last") is None:
        return None
    last = fields.part(state, "last")
    return StepFacts(
        step=fields.count(last, "step"),
        kl=fields.optional_number(last, "kl"),
        entropy=fields.optional_number(last, "entropy"),
        mean_length=fields.number(last, "mean_length", low=0),
    )
