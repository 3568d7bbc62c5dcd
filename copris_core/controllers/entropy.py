"""The coefficient of the entropy bonus, moved against the trend of the policy's entropy."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from copris_core.controllers import fields


class Trend:
    """Whether a number rises: the mean of the last ``window`` values less that of those before."""

    def __init__(self, window: int = 10) -> None:
        """Start without values; 10 is the window of ``prorl/entropy_trend`` in the public recipe.

        Raises:
            ValueError: ``window`` < 1.
        """
        if window < 1:
            raise ValueError(f"window={window} must be at least 1 value")
        self._values: deque[float] = deque(maxlen=2 * window)

    @property
    def value(self) -> float | None:
        """mean(last window) - mean(window before); None before there are two windows."""
        values = list(self._values)
        if len(values) < (self._values.maxlen or 0):
            return None
        half = len(values) // 2
        return fmean(values[half:]) - fmean(values[:half])

    def observe(self, value: float) -> float | None:
        """Take one value; the trend with it.

        Raises:
            ValueError: it is not finite; nothing was changed.
        """
        if not math.isfinite(value):
            raise ValueError(
                f"entropy is {value}: logits are no longer finite; lower the learning rate and "
                "resume from an earlier checkpoint"
            )
        self._values.append(value)
        return self.value

    def state_dict(self) -> dict[str, Any]:
        """The values that still count, oldest first, as JSON."""
        return {"values": list(self._values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave; a narrower window keeps the newest.

        Raises:
            ValueError: malformed; nothing was changed.
        """
        values = fields.numbers(state, "values")
        self._values = deque(values, maxlen=self._values.maxlen)


@dataclass(frozen=True, kw_only=True)
class EntropyConfig:
    """Bounds and speed. Defaults: the public ProRL recipe for verl, which never wired them in."""

    initial: float = 0.01
    """Coefficient at the start."""
    minimum: float = 0.001
    """Smallest coefficient; above 0, because no factor leads away from 0."""
    maximum: float = 0.1
    """Largest coefficient."""
    window: int = 5
    """Updates in each of the two means that make the trend."""
    fall_below: float = -0.1
    """Entropy falls when its trend is below this, in nats per token; at most 0."""
    rise_above: float = 0.05
    """Entropy rises when its trend is above this, in nats per token; at least 0."""
    raise_factor: float = 1.2
    """What the coefficient is multiplied by while entropy falls; 1 or more."""
    lower_factor: float = 0.9
    """What it is multiplied by while entropy rises; in (0, 1]."""

    def __post_init__(self) -> None:
        """Refuse what cannot follow a trend.

        Raises:
            ValueError: a field is out of its range.
        """
        if not 0 < self.minimum <= self.initial <= self.maximum < math.inf:
            raise ValueError(
                f"entropy_control.initial={self.initial} must lie between minimum={self.minimum} "
                f"and maximum={self.maximum}, all above 0: move it or the bounds"
            )
        if self.window < 1:
            raise ValueError(f"entropy_control.window={self.window} must be at least 1 update")
        if not -math.inf < self.fall_below <= 0 <= self.rise_above < math.inf:
            raise ValueError(
                f"entropy_control.fall_below={self.fall_below} must be 0 or less and "
                f"rise_above={self.rise_above} 0 or more, in nats per token"
            )
        if not 0 < self.lower_factor <= 1 <= self.raise_factor < math.inf:
            raise ValueError(
                f"entropy_control.lower_factor={self.lower_factor} must lie in (0, 1] and "
                f"raise_factor={self.raise_factor} at 1 or more: raising raises entropy"
            )


class EntropyControl:
    """A coefficient c of the bonus c H (loss -= c H) that resists a falling or rising entropy.

        trend = mean(last window of H) - mean(the window before)
        c <- min(raise_factor c, maximum)   if trend < fall_below
        c <- max(lower_factor c, minimum)   if trend > rise_above

    The rule and its numbers are the public ProRL recipe's (xiaojinwhu/verl, recipe/prorl).

    Invariant: ``minimum <= coefficient <= maximum``, after every call.
    """

    def __init__(self, config: EntropyConfig) -> None:
        """Begin at ``config.initial``, without a trend."""
        self._config = config
        self._coefficient = config.initial
        self._trend = Trend(config.window)

    @property
    def coefficient(self) -> float:
        """Weight of the entropy bonus in the next update."""
        return self._coefficient

    @property
    def trend(self) -> float | None:
        """Nats per token between the two windows; None before there are two."""
        return self._trend.value

    def observe(self, entropy: float) -> float:
        """Take one update's entropy, in nats per token; the coefficient of the next.

        Raises:
            ValueError: ``entropy`` is not finite; nothing was changed.
        """
        trend = self._trend.observe(entropy)
        config = self._config
        if trend is not None and trend < config.fall_below:
            self._coefficient = min(self._coefficient * config.raise_factor, config.maximum)
        elif trend is not None and trend > config.rise_above:
            self._coefficient = max(self._coefficient * config.lower_factor, config.minimum)
        return self._coefficient

    def state_dict(self) -> dict[str, Any]:
        """Coefficient and trend, as JSON."""
        return {"coefficient": self._coefficient, "trend": self._trend.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave.

        Raises:
            ValueError: malformed, or outside this object's bounds; nothing was changed.
        """
        config = self._config
        coefficient = fields.number(state, "coefficient", low=config.minimum, high=config.maximum)
        self._trend.load_state_dict(fields.part(state, "trend"))
        self._coefficient = coefficient
