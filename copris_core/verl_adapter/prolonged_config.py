"""The choices of DAPO and ProRL, typed: filter, shaping, KL, resets, entropy and length.

Each group of the config is a name and settings; with ``none`` a setting is a misunderstanding. The
settings are checked by the objects of the core that they build.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from omegaconf import DictConfig, OmegaConf

from copris_core.controllers.adaptive_kl import AdaptiveKL, AdaptiveKLConfig, FixedKL, KLControl
from copris_core.controllers.entropy import EntropyConfig, EntropyControl
from copris_core.controllers.length_schedule import CosineWindows, LengthSchedule, Steps
from copris_core.controllers.prolonged import Prolonged
from copris_core.controllers.reference_reset import ReferenceReset, ResetConfig
from copris_core.controllers.validation_watch import ValidationTrigger
from copris_core.filtering import (
    CosineConfig,
    FilterBook,
    OverlongConfig,
    ShapingConfig,
    WhenExceeded,
)
from copris_core.losses.kl import ESTIMATORS
from copris_core.verl_adapter.errors import ConfigError, one_of
from copris_core.verl_adapter.reading import optional

T = TypeVar("T")

LENGTH_SCHEDULES: Final = ("steps", "cosine")
KL_CONTROLS: Final = ("fixed", "adaptive")
STRAIGHT_THROUGH: Final = "+"
"""verl's suffix of an estimator whose gradient is k2's."""
VALIDATION_KEYS: Final = ("window", "degraded_factor", "min_delta", "weights", "best_after_reset")
KINDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("max_batches", "interval", "window", "min_spacing"), int),
    **dict.fromkeys(("on_steps", "off_steps", "first_step"), int),
    **dict.fromkeys(("when_exceeded", "best_after_reset", "estimator"), str),
    "reset_optimizer": bool,
}
"""Settings of all groups that are no number with a point."""
OWN_FORM: Final = ("steps", "weights")
"""Settings that are neither number nor word; whoever reads them looks at their form."""


@dataclass(frozen=True, kw_only=True)
class FilterChoice:
    """Dynamic sampling: groups without spread are replaced."""

    max_batches: int
    """Batches of complete groups per step after which none is replaced any more."""
    when_exceeded: WhenExceeded
    """``keep``: they are trained then. ``stop``: the run ends."""

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            ValueError: see above.
        """
        self.book(groups_per_stage=1)

    def book(self, *, groups_per_stage: int) -> FilterBook:
        """A fresh book for stages of so many groups."""
        return FilterBook(
            groups_per_stage=groups_per_stage,
            max_batches=self.max_batches,
            when_exceeded=self.when_exceeded,
        )


@dataclass(frozen=True, kw_only=True)
class ShapingChoice:
    """What becomes of the verifier's score, whatever the budget of the step."""

    overlong_share: float | None = None
    """Last share of the budget over which a penalty grows, in (0, 1]; None: no penalty."""
    overlong_penalty: float = 1.0
    """Penalty at the end of the budget."""
    truncated_factor: float | None = None
    """Factor on the score of a response that was cut off; None: none."""
    cosine_weight: float | None = None
    """Weight of the length reward of correct responses; None: none."""
    cosine_minimum: float = 0.0
    """Length reward at the end of the budget."""
    cosine_maximum: float = 1.0
    """Length reward of an empty response."""

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            ValueError: see above.
        """
        if self.overlong_share is not None and not 0 < self.overlong_share <= 1:
            raise ValueError(
                f"reward_shaping.overlong_share={self.overlong_share} must lie in (0, 1]: DAPO's "
                "is 0.2 of the response budget"
            )
        self.rules(budget=1000)

    def rules(self, *, budget: int) -> ShapingConfig:
        """The same in tokens, for responses of at most ``budget``."""
        share, weight = self.overlong_share, self.cosine_weight
        return ShapingConfig(
            overlong=None
            if share is None
            else OverlongConfig(buffer=max(1, round(share * budget)), factor=self.overlong_penalty),
            truncated_factor=self.truncated_factor,
            cosine=None
            if weight is None
            else CosineConfig(
                weight=weight, eta_min=self.cosine_minimum, eta_max=self.cosine_maximum
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ProlongedChoice:
    """What changes while a run goes on."""

    kl_name: str
    """``none``, ``fixed`` or ``adaptive``."""
    kl_estimator: str | None
    """verl's name of the estimator; None without KL."""
    kl: AdaptiveKLConfig | float | None
    """The controller's numbers, or the fixed coefficient; None without KL."""
    reset: ResetConfig | None
    """When the reference is reset; None: never."""
    entropy: EntropyConfig | None
    """The entropy controller's numbers; None: no bonus."""
    length: LengthSchedule | None
    """Response budget by step; None: the longest at every step."""

    def __post_init__(self) -> None:
        """Refuse a reset of a reference that there is not.

        Raises:
            ConfigError: see above.
        """
        if self.reset is not None and self.kl is None:
            raise ConfigError(
                "reference_reset resets a reference that kl_control=none does not build: add "
                "kl_control=fixed or kl_control=adaptive, or reference_reset=none"
            )

    @property
    def is_active(self) -> bool:
        """Whether there is anything to control."""
        return any(part is not None for part in (self.kl, self.reset, self.entropy, self.length))

    @property
    def kl_coefficient(self) -> float | None:
        """Of the first update."""
        return self.kl.initial if isinstance(self.kl, AdaptiveKLConfig) else self.kl

    def controllers(self) -> Prolonged | None:
        """Fresh ones; None if there is nothing to control."""
        if not self.is_active:
            return None
        return Prolonged(
            kl=self._kl_control(),
            reset=None if self.reset is None else ReferenceReset(self.reset),
            entropy=None if self.entropy is None else EntropyControl(self.entropy),
            length=self.length,
        )

    def _kl_control(self) -> KLControl | None:
        if isinstance(self.kl, AdaptiveKLConfig):
            return AdaptiveKL(self.kl)
        return None if self.kl is None else FixedKL(self.kl)


def prolonged_choice(cfg: DictConfig) -> ProlongedChoice:
    """Read ``kl_control``, ``reference_reset``, ``entropy_control`` and ``length_schedule``.

    Raises:
        ConfigError: a setting is missing, superfluous or out of range.
    """
    kl_name, kl = settings_of(cfg, "kl_control")
    estimator = kl.pop("estimator", None)
    if kl_name != "none":
        _check_kl(kl_name, estimator)
    return ProlongedChoice(
        kl_name=kl_name,
        kl_estimator=estimator,
        kl=_kl(kl_name, kl),
        reset=_built(cfg, "reference_reset", _reset),
        entropy=_built(cfg, "entropy_control", EntropyConfig),
        length=_length(cfg),
    )


def filter_choice(cfg: DictConfig) -> FilterChoice | None:
    """Read the group ``group_filter``.

    Raises:
        ConfigError: see ``prolonged_choice``.
    """
    return _built(cfg, "group_filter", FilterChoice)


def shaping_choice(cfg: DictConfig) -> ShapingChoice | None:
    """Read the group ``reward_shaping``.

    Raises:
        ConfigError: see ``prolonged_choice``.
    """
    return _built(cfg, "reward_shaping", ShapingChoice)


def settings_of(cfg: DictConfig, group: str) -> tuple[str, dict[str, Any]]:
    """The option of a group and what is set in it.

    Raises:
        ConfigError: something is set with ``none``, or is of the wrong kind.
    """
    content: Any = OmegaConf.to_container(cfg[group], resolve=True)
    name = str(content.pop("name"))
    settings = {key: value for key, value in content.items() if value is not None}
    if name == "none" and settings:
        key, value = next(iter(settings.items()))
        raise ConfigError(
            f"{group}.{key}={value} does nothing with {group}=none: choose an option, or remove it"
        )
    for key in settings.keys() - set(OWN_FORM):
        optional(cfg, f"{group}.{key}", KINDS.get(key, float))
    return name, settings


def _built(cfg: DictConfig, group: str, build: Callable[..., T]) -> T | None:
    name, settings = settings_of(cfg, group)
    return None if name == "none" else _checked(group, build, settings)


def _checked(group: str, build: Callable[..., T], settings: Mapping[str, Any]) -> T:
    for key, each in inspect.signature(build).parameters.items():
        is_needed = each.kind is each.KEYWORD_ONLY and each.default is each.empty
        if is_needed and key not in settings:
            raise ConfigError(f"{group}.{key} is not set: give it a value, or set {group}=none")
    try:
        return build(**settings)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    except TypeError as error:  # a setting that only a user's own YAML can have
        raise ConfigError(f"{group}: {error}") from error


def _refuse_superfluous(
    group: str, name: str, settings: Mapping[str, Any], *, known: tuple[str, ...], other: str
) -> None:
    """Refuse what the option does not read, but ``other`` would."""
    for key in settings:
        if key not in known:
            raise ConfigError(
                f"{group}.{key} does nothing with {group}={name}: add {group}={other}, or remove it"
            )


def _check_kl(name: str, estimator: str | None) -> None:
    one_of("kl_control", name, KL_CONTROLS)
    names = (*ESTIMATORS, *(f"{each}{STRAIGHT_THROUGH}" for each in ESTIMATORS))
    one_of("kl_control.estimator", estimator, names)


def _kl(name: str, settings: dict[str, Any]) -> AdaptiveKLConfig | float | None:
    if name == "none":
        return None
    if name == "adaptive":
        return _checked("kl_control", AdaptiveKLConfig, settings)
    _refuse_superfluous("kl_control", name, settings, known=("initial",), other="adaptive")
    coefficient = settings.get("initial")
    if coefficient is None:
        raise ConfigError("kl_control=fixed needs kl_control.initial: verl's default is 0.001")
    return float(_checked("kl_control", FixedKL, {"coefficient": coefficient}).coefficient)


def _reset(**settings: Any) -> ResetConfig:
    validation = {key: settings.pop(key) for key in VALIDATION_KEYS if key in settings}
    watches = "window" in validation
    if validation and not watches:
        raise ValueError(
            f"reference_reset.{next(iter(validation))} needs reference_reset.window: how many "
            "validations are looked back on"
        )
    _check_form(validation.get("weights", {}))
    off: dict[str, Any] = {"degraded_factor": None, "min_delta": None}
    trigger = ValidationTrigger(**(off | validation)) if watches else None
    return ResetConfig(validation=trigger, **settings)


def _check_form(weights: object) -> None:
    are_numbers = isinstance(weights, dict) and all(map(_is_number, weights.values()))
    if not are_numbers:
        raise ValueError(
            f"reference_reset.weights={weights} must give each domain of the validation a number: "
            "{math: 2, logic: 1}, or null"
        )


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _length(cfg: DictConfig) -> LengthSchedule | None:
    name, settings = settings_of(cfg, "length_schedule")
    if name == "none":
        return None
    one_of("length_schedule", name, LENGTH_SCHEDULES)
    longest = int(cfg.data.max_response_length)
    if name == "steps":
        _refuse_superfluous("length_schedule", name, settings, known=("steps",), other="cosine")
        steps = _steps(settings.get("steps", []), longest)
        return _checked("length_schedule", Steps, {"steps": steps})
    known = ("on_steps", "off_steps", "first_step", "minimum")
    _refuse_superfluous("length_schedule", name, settings, known=known, other="steps")
    settings["minimum"] = _tokens(settings.get("minimum", 1), longest)
    return _checked("length_schedule", CosineWindows, {"maximum": longest, **settings})


def _steps(given: Any, longest: int) -> tuple[tuple[int, int], ...]:
    """First steps and tokens.

    Raises:
        ConfigError: no list of pairs of numbers, or a budget beyond the longest.
    """
    if not isinstance(given, list) or not all(map(_is_entry, given)):
        raise ConfigError(
            f"length_schedule.steps={given} must be a list of pairs, first step and tokens: "
            "set it to [[1, 0.5], [1500, 1.0]], say"
        )
    return tuple((step, _tokens(tokens, longest)) for step, tokens in given)


def _is_entry(given: object) -> bool:
    if not isinstance(given, list) or len(given) != 2:
        return False
    return type(given[0]) is int and _is_number(given[1])


def _tokens(given: float, longest: int) -> int:
    """A share of the longest budget up to 1, tokens above.

    Raises:
        ConfigError: more than the longest, or no number.
    """
    if not -math.inf < given <= longest:
        raise ConfigError(
            f"length_schedule asks for {given} tokens: engines are built for "
            f"data.max_response_length={longest}; raise that, or lower the schedule"
        )
    return round(given * longest) if given <= 1 else int(given)
