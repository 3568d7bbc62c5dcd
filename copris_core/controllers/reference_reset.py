"""When the reference policy becomes a copy of the current one (ProRL, arXiv 2505.24864, sec. 3).

Any trigger fires alone; together they give one reset with several reasons. ProRL's first version
resets when the blended validation degrades or stalls, and clears the optimizer too; its second
every 200-500 steps, on a KL spike or on a stalled validation, and keeps the optimizer.

Knows neither weights nor optimizers: it says when, the caller carries it out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from copris_core.controllers import fields
from copris_core.controllers.adaptive_kl import check_kl
from copris_core.controllers.validation_watch import ValidationTrigger, ValidationWatch, blended


@dataclass(frozen=True, kw_only=True)
class ResetConfig:
    """The triggers, and what a reset takes along; at least one trigger must be set."""

    interval: int | None = None
    """Steps after the last reset, or the start, at which the next is due; None: no such trigger."""
    kl_above: float | None = None
    """KL to the reference, in nats per token, above which a reset is due; None: no such trigger."""
    validation: ValidationTrigger | None = None
    """What validation must have come to; None: no such trigger."""
    min_spacing: int = 1
    """Fewest steps between two resets, and before the first. A trigger held back by it fires as
    soon as it is over, if it still holds."""
    reset_optimizer: bool = False
    """Whether the optimizer's moments are cleared as well: ProRL v1 does, v2 does not."""

    def __post_init__(self) -> None:
        """Refuse triggers that contradict each other.

        Raises:
            ValueError: a field is out of its range, or no trigger is set.
        """
        if self.interval is None and self.kl_above is None and self.validation is None:
            raise ValueError(
                "reference_reset has no trigger: set interval, kl_above or window, or choose "
                "reference_reset=none"
            )
        if self.min_spacing < 1:
            raise ValueError(f"reference_reset.min_spacing={self.min_spacing} must be 1 or more")
        if self.interval is not None and self.interval < self.min_spacing:
            raise ValueError(
                f"reference_reset.interval={self.interval} is shorter than "
                f"min_spacing={self.min_spacing}: raise the one or lower the other"
            )
        if self.kl_above is not None and not 0 < self.kl_above < float("inf"):
            raise ValueError(
                f"reference_reset.kl_above={self.kl_above} must be above 0, in nats per token"
            )


@dataclass(frozen=True, kw_only=True)
class ResetOrder:
    """Copy the policy into the reference now."""

    step: int
    """Training step after whose update the copy is made."""
    reasons: tuple[str, ...]
    """Some of ``interval``, ``kl``, ``validation_degraded``, ``validation_stalled``; never none."""
    sentence: str
    """The reasons with their numbers, for a person."""
    reset_optimizer: bool
    """Clear the optimizer's moments too."""


class ReferenceReset:
    """Counts steps, KL and validations since the last reset, and orders the next.

    Deciding books the reset in the same move: the caller carries every order out, or dies and
    resumes from a state of before the order.

    Invariant: two orders are at least ``min_spacing`` steps apart, and none is without a reason.
    """

    def __init__(self, config: ResetConfig) -> None:
        """Begin at step 0, before the first update."""
        self._config = config
        self._watch = None if config.validation is None else ValidationWatch(config.validation)
        self._step = 0
        self._last_reset = 0
        self._count = 0
        self._kl: float | None = None
        self._blended: float | None = None
        self._validated_step: int | None = None

    # ---- questions ----

    @property
    def count(self) -> int:
        """Resets so far."""
        return self._count

    @property
    def last_reset(self) -> int:
        """Step of the last reset; 0 before the first."""
        return self._last_reset

    @property
    def steps_since_reset(self) -> int:
        """Steps from the last reset, or the start, to the last step that was seen."""
        return self._step - self._last_reset

    @property
    def best(self) -> float | None:
        """Best blended validation; None without one, or without that trigger."""
        return None if self._watch is None else self._watch.best

    @property
    def blended(self) -> float | None:
        """Blended score of the latest validation; None before there is one."""
        return self._blended

    # ---- facts ----

    def on_step(self, step: int, kl: float | None) -> ResetOrder | None:
        """Take an update; an order if a trigger holds and the spacing allows.

        Args:
            step: training step, from 1.
            kl: KL to the reference, in nats per token; None if it was not measured.

        Raises:
            ValueError: the step goes backwards, or ``kl`` is not finite; nothing was changed.
        """
        self._check_step(step)
        if kl is not None:
            check_kl(kl)
        self._step, self._kl = step, kl
        return self._order()

    def on_validation(
        self, step: int, accuracy_by_domain: Mapping[str, float]
    ) -> ResetOrder | None:
        """Take a validation; an order if a trigger holds and the spacing allows.

        A second validation of the same step, as a resumed run may make before it trains, is no
        news and is not counted.

        Args:
            step: training step after whose update it was made; 0 before the first.
            accuracy_by_domain: mean score of each domain, in [0, 1].

        Raises:
            ValueError: the step goes backwards, scores outside [0, 1], or other domains than
                before; nothing was changed.
        """
        self._check_step(step)
        if step == self._validated_step:
            return None
        if self._watch is None:
            score = blended(accuracy_by_domain, None)
        else:
            score = self._watch.record(accuracy_by_domain)
        self._step = self._validated_step = step
        self._blended = score
        return self._order()

    # ---- across a restart ----

    def state_dict(self) -> dict[str, Any]:
        """Everything remembered, as JSON."""
        return {
            "step": self._step,
            "last_reset": self._last_reset,
            "count": self._count,
            "kl": self._kl,
            "blended": self._blended,
            "validated_step": self._validated_step,
            "validation": None if self._watch is None else self._watch.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave.

        Raises:
            ValueError: malformed, or of a run with another validation trigger; nothing was changed.
        """
        step = fields.count(state, "step")
        last_reset = fields.count(state, "last_reset", high=step)
        count = fields.count(state, "count", high=last_reset)
        kl = fields.optional_number(state, "kl")
        score = fields.optional_number(state, "blended", low=0, high=1)
        validated = state.get("validated_step")
        if validated is not None:
            validated = fields.count(state, "validated_step", high=step)
        if (state.get("validation") is None) != (self._watch is None):
            raise ValueError(
                "the checkpoint was made with another reference_reset.validation: resume with the "
                "same"
            )
        if self._watch is not None:
            self._watch.load_state_dict(fields.part(state, "validation"))
        self._step, self._last_reset, self._count = step, last_reset, count
        self._kl, self._blended, self._validated_step = kl, score, validated

    # ---- decisions ----

    def _check_step(self, step: int) -> None:
        if step < self._step:
            raise ValueError(f"step {step} came after step {self._step}: steps must not go back")

    def _order(self) -> ResetOrder | None:
        why = self._why()
        if not why or self.steps_since_reset < self._config.min_spacing:
            return None
        self._last_reset = self._step
        self._count += 1
        self._kl = None  # it was the distance to the old reference
        if self._watch is not None:
            self._watch.restart()
        return ResetOrder(
            step=self._step,
            reasons=tuple(why),
            sentence=f"reset {self._count} at step {self._step}: {'; '.join(why.values())}",
            reset_optimizer=self._config.reset_optimizer,
        )

    def _why(self) -> dict[str, str]:
        """Reason -> its sentence, for each trigger that holds now."""
        config, since, why = self._config, self.steps_since_reset, {}
        if config.interval is not None and since >= config.interval:
            why["interval"] = f"{since} steps since the last, of an interval of {config.interval}"
        if config.kl_above is not None and self._kl is not None and self._kl > config.kl_above:
            why["kl"] = f"KL {self._kl:.4g} is above {config.kl_above:g}"
        return why if self._watch is None else why | self._watch.verdicts()
