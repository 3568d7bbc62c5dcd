"""The coefficient of the KL loss: fixed, or moved to keep KL(policy || reference) near a target."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from copris_core.controllers import fields


@dataclass(frozen=True, kw_only=True)
class AdaptiveKLConfig:
    """Target, bounds and speed. Defaults: the public ProRL recipe for verl."""

    initial: float = 0.01
    """Coefficient at the start and after every reference reset."""
    target: float = 0.05
    """KL per token that is left alone, in nats."""
    minimum: float = 0.001
    """Smallest coefficient; above 0, because no factor leads away from 0."""
    maximum: float = 0.1
    """Largest coefficient."""
    raise_factor: float = 1.2
    """What the coefficient is multiplied by when KL is high; 1 or more."""
    lower_factor: float = 0.9
    """What it is multiplied by when KL is low; in (0, 1]."""
    raise_above: float = 1.5
    """KL is high above this many targets."""
    lower_below: float = 0.5
    """KL is low below this many targets."""

    def __post_init__(self) -> None:
        """Refuse what cannot hold a target.

        Raises:
            ValueError: a field is out of its range.
        """
        if not 0 < self.minimum <= self.initial <= self.maximum < math.inf:
            raise ValueError(
                f"kl_control.initial={self.initial} must lie between minimum={self.minimum} and "
                f"maximum={self.maximum}, all above 0: move it or the bounds"
            )
        if not 0 < self.target < math.inf:
            raise ValueError(f"kl_control.target={self.target} must be above 0, in nats per token")
        if not 0 < self.lower_factor <= 1 <= self.raise_factor < math.inf:
            raise ValueError(
                f"kl_control.lower_factor={self.lower_factor} must lie in (0, 1] and "
                f"raise_factor={self.raise_factor} at 1 or more: raising lowers KL"
            )
        if not 0 <= self.lower_below <= self.raise_above < math.inf:
            raise ValueError(
                f"kl_control.lower_below={self.lower_below} must lie between 0 and "
                f"raise_above={self.raise_above}: both are multiples of the target"
            )


class KLControl(Protocol):
    """Says how strongly the next update is held to the reference."""

    @property
    def coefficient(self) -> float:
        """Weight of the KL loss in the next update."""
        ...

    def observe(self, kl: float) -> float:
        """Take one update's KL, in nats per token; the coefficient of the next."""
        ...

    def restart(self) -> None:
        """The reference has become the policy: KL begins at 0 again."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart of the run, as JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take ``state_dict`` up again."""
        ...


class AdaptiveKL:
    """A coefficient c that follows the KL of the last update.

        c <- min(raise_factor c, maximum)   if KL > raise_above target
        c <- max(lower_factor c, minimum)   if KL < lower_below target
        c                                   between them

    The rule and its numbers are the public ProRL recipe's (xiaojinwhu/verl, recipe/prorl); the
    ProRL paper (arXiv 2505.24864) gives only the loss L_GRPO - beta KL, its eq. 4.

    Invariant: ``minimum <= coefficient <= maximum``, after every call.
    """

    def __init__(self, config: AdaptiveKLConfig) -> None:
        """Begin at ``config.initial``."""
        self._config = config
        self._coefficient = config.initial

    @property
    def coefficient(self) -> float:
        """Weight of the KL loss in the next update."""
        return self._coefficient

    def observe(self, kl: float) -> float:
        """Take one update's KL, in nats per token; the coefficient of the next.

        An estimate below 0, which k1 may give, counts as low.

        Raises:
            ValueError: ``kl`` is not finite; the coefficient stays.
        """
        check_kl(kl)
        config = self._config
        if kl > config.raise_above * config.target:
            self._coefficient = min(self._coefficient * config.raise_factor, config.maximum)
        elif kl < config.lower_below * config.target:
            self._coefficient = max(self._coefficient * config.lower_factor, config.minimum)
        return self._coefficient

    def restart(self) -> None:
        """Back to the initial coefficient: what was learned belonged to the old reference."""
        self._coefficient = self._config.initial

    def state_dict(self) -> dict[str, Any]:
        """The coefficient, as JSON."""
        return {"coefficient": self._coefficient}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave.

        Raises:
            ValueError: malformed, or outside this object's bounds; nothing was changed.
        """
        config = self._config
        self._coefficient = fields.number(
            state, "coefficient", low=config.minimum, high=config.maximum
        )


class FixedKL:
    """The same coefficient for every update; it remembers nothing."""

    def __init__(self, coefficient: float) -> None:
        """Hold ``coefficient``, 0 or more.

        Raises:
            ValueError: it is negative or not finite.
        """
        if not 0 <= coefficient < math.inf:
            raise ValueError(f"kl_control.initial={coefficient} must be 0 or more")
        self._coefficient = coefficient

    @property
    def coefficient(self) -> float:
        """Weight of the KL loss in every update."""
        return self._coefficient

    def observe(self, kl: float) -> float:
        """The coefficient, whatever KL is.

        Raises:
            ValueError: ``kl`` is not finite.
        """
        check_kl(kl)
        return self._coefficient

    def restart(self) -> None:
        """Nothing to forget."""

    def state_dict(self) -> dict[str, Any]:
        """Empty: the coefficient is a setting, so a resumed run may change it."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up nothing.

        Raises:
            ValueError: ``state`` holds something: it is another controller's.
        """
        if state:
            raise ValueError(f"a fixed KL coefficient has no state, got {', '.join(state)}")


def check_kl(kl: float) -> None:
    """Refuse a KL that no update can be judged by.

    Raises:
        ValueError: it is not finite.
    """
    if not math.isfinite(kl):
        raise ValueError(
            f"KL to the reference is {kl}: log-probs are no longer finite; lower the learning rate "
            "and resume from an earlier checkpoint"
        )
