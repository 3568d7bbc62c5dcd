"""What a history of validations says of the policy: degraded, stalled, or neither."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, TypeAlias, get_args

from copris_core.controllers import fields

BestAfterReset: TypeAlias = Literal["restart", "keep"]

_KEY = "reference_reset"


@dataclass(frozen=True, kw_only=True)
class ValidationTrigger:
    """When validation asks for a reset; at least one of the two verdicts must be on.

    The ProRL paper resets when the blended validation degrades or stalls and gives no numbers;
    window, factor and rule are the public recipe's. A window's mean would not do: it lags behind a
    score that rises quickly, and would take that for a fall.
    """

    window: int = 5
    """Validations that a verdict looks back on."""
    degraded_factor: float | None = 0.95
    """Degraded: each of the last ``window`` scores is below this share of the best; None: off."""
    min_delta: float | None = 0.0
    """Stalled: for ``window`` validations none beat the mark by more than this; None: off."""
    weights: Mapping[str, float] | None = None
    """Weight of each domain in the blend, normalised to 1; None weighs all domains alike."""
    best_after_reset: BestAfterReset = "restart"
    """``restart``: after a reset the best is sought anew, so that a drop for good is degraded once.
    ``keep``: the best of the whole run stays the yardstick (the public recipe), and such a drop is
    degraded again every ``window`` validations. The ProRL paper does not say."""

    def __post_init__(self) -> None:
        """Refuse what could never fire, or always would.

        Raises:
            ValueError: a field is out of its range.
        """
        if self.window < 1:
            raise ValueError(f"{_KEY}.window={self.window} must be at least 1 validation")
        if self.degraded_factor is None and self.min_delta is None:
            raise ValueError(f"{_KEY} never fires: set degraded_factor or min_delta, or remove it")
        if self.degraded_factor is not None and not 0 < self.degraded_factor <= 1:
            raise ValueError(
                f"{_KEY}.degraded_factor={self.degraded_factor} must lie in (0, 1]: it is a share "
                "of the best score"
            )
        if self.min_delta is not None and not 0 <= self.min_delta < 1:
            raise ValueError(
                f"{_KEY}.min_delta={self.min_delta} must lie in [0, 1), a difference of scores"
            )
        if self.weights is not None:
            _check_weights(self.weights)
        if self.best_after_reset not in get_args(BestAfterReset):
            raise ValueError(
                f"{_KEY}.best_after_reset={self.best_after_reset!r} must be one of "
                f"{', '.join(get_args(BestAfterReset))}"
            )


def blended(accuracy_by_domain: Mapping[str, float], weights: Mapping[str, float] | None) -> float:
    """``sum_d w_d a_d / sum_d w_d`` over the domains d; weights of None are all 1.

    Args:
        accuracy_by_domain: mean score of each domain's validation rows, in [0, 1].
        weights: one per domain, none negative.

    Raises:
        ValueError: no domain, a score outside [0, 1], or domains that are not the weights'.
    """
    if not accuracy_by_domain:
        raise ValueError("a validation without a domain cannot be judged: give validation rows")
    for domain, accuracy in accuracy_by_domain.items():
        if not 0 <= accuracy <= 1:
            raise ValueError(f"validation of {domain} is {accuracy}, not a mean score in [0, 1]")
    if weights is None:
        return fmean(accuracy_by_domain.values())
    _check_domains(accuracy_by_domain, weights, f"{_KEY}.weights")
    shares = [weights[domain] / math.fsum(weights.values()) for domain in accuracy_by_domain]
    blend = math.fsum(s * a for s, a in zip(shares, accuracy_by_domain.values(), strict=True))
    return min(blend, 1.0)  # the shares' rounding must not make a perfect score more than perfect


class ValidationWatch:
    """Blended scores since the last reset, and the best.

    Two yardsticks: ``best``, the largest score, for "degraded"; and the mark, the last score that
    beat the mark before it by more than ``min_delta``, for "stalled". Small steps add up: a score
    is progress as soon as their sum exceeds ``min_delta``.
    """

    def __init__(self, config: ValidationTrigger) -> None:
        """Start without a validation."""
        self._config = config
        self._scores: deque[float] = deque(maxlen=config.window)
        self._best: float | None = None
        self._mark: float | None = None
        self._without_progress = 0
        self._domains: frozenset[str] | None = None

    @property
    def best(self) -> float | None:
        """Largest blended score, of the run or since the last reset; None before there is one."""
        return self._best

    def record(self, accuracy_by_domain: Mapping[str, float]) -> float:
        """Take one validation; its blended score.

        Raises:
            ValueError: scores outside [0, 1], or other domains than the weights' or than the
                validation's before; nothing was changed.
        """
        score = blended(accuracy_by_domain, self._config.weights)
        if self._domains is not None:
            _check_domains(accuracy_by_domain, self._domains, "the validations before")
        self._domains = frozenset(accuracy_by_domain)
        self._scores.append(score)
        self._best = score if self._best is None else max(self._best, score)
        if self._mark is None or score > self._mark + (self._config.min_delta or 0.0):
            self._mark, self._without_progress = score, 0
        else:
            self._without_progress += 1
        return score

    def verdicts(self) -> dict[str, str]:
        """Reason -> its sentence with numbers, for each verdict that holds now."""
        config, found = self._config, {}
        if self._best is not None and config.degraded_factor is not None and self._is_full():
            lately, bound = max(self._scores), config.degraded_factor * self._best
            if lately < bound:
                found["validation_degraded"] = (
                    f"validation degraded: the best of the last {config.window} is {lately:.4g}, "
                    f"below {config.degraded_factor:g} of the best of all, {self._best:.4g}"
                )
        if config.min_delta is not None and self._without_progress >= config.window:
            found["validation_stalled"] = (
                f"validation stalled: {self._without_progress} without beating {self._mark:.4g} "
                f"by more than {config.min_delta:g}"
            )
        return found

    def restart(self) -> None:
        """Forget the scores; the best as ``best_after_reset`` says."""
        self._scores.clear()
        self._without_progress = 0
        if self._config.best_after_reset == "restart":
            self._best = self._mark = None

    def state_dict(self) -> dict[str, Any]:
        """Everything remembered, as JSON."""
        return {
            "scores": list(self._scores),
            "best": self._best,
            "mark": self._mark,
            "without_progress": self._without_progress,
            "domains": None if self._domains is None else sorted(self._domains),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave; a narrower window keeps the newest scores.

        Raises:
            ValueError: malformed; nothing was changed.
        """
        scores = fields.numbers(state, "scores", low=0, high=1)
        best = fields.optional_number(state, "best", low=0, high=1)
        mark = fields.optional_number(state, "mark", low=0, high=1)
        without_progress = fields.count(state, "without_progress")
        domains = state.get("domains")
        if domains is not None and not _are_names(domains):
            raise ValueError(f"field 'domains' is {domains!r}, not a list of names")
        if mark is None and without_progress:
            raise ValueError(f"{without_progress} validations without progress on no mark")
        self._scores = deque(scores, maxlen=self._config.window)
        self._best, self._mark, self._without_progress = best, mark, without_progress
        self._domains = None if domains is None else frozenset(domains)

    def _is_full(self) -> bool:
        return len(self._scores) == self._config.window


def _check_weights(weights: Mapping[str, float]) -> None:
    wrong = [name for name, weight in weights.items() if not 0 <= weight < math.inf]
    if wrong or not any(weights.values()):
        which = wrong[0] if wrong else "every domain"
        raise ValueError(
            f"{_KEY}.weights of {which}: give each domain 0 or more, and one of them more than 0"
        )


def _check_domains(
    given: Mapping[str, float], expected: Mapping[str, float] | frozenset[str], whose: str
) -> None:
    """Both must name the same domains, or two blends could not be compared."""
    missing = sorted(set(expected) - set(given))
    extra = sorted(set(given) - set(expected))
    if missing or extra:
        raise ValueError(
            f"validation lacks [{', '.join(missing)}] and adds [{', '.join(extra)}] against "
            f"{whose}: name the same domains in both"
        )


def _are_names(value: object) -> bool:
    return type(value) is list and all(type(name) is str for name in value)
