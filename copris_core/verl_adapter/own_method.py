"""A method of a user's own: a class in a file, whose hooks are called where ours are.

    method.cls=my_method.py:Shortest +method.settings.keep=4

``on_batch_sampled`` chooses the rows that are trained and their advantages (`copris_core.methods`),
in the trainer's process. ``token_loss`` is the loss of each token, in the training workers; verl's
registry of losses is keyed by a text, so that the text tells them what to load.
This file refuses to know what the class does; what it answers is checked.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from copris_core.methods import Method, SampledBatch, Selection
from copris_core.own_code import load_class, whole_reference
from copris_core.verl_adapter.errors import ConfigError, TrainingError
from copris_core.verl_adapter.reading import optional

KEY: Final = "method.cls"
GUIDE: Final = "docs/own_method.md"
BATCH_HOOK: Final = "on_batch_sampled"
LOSS_HOOK: Final = "token_loss"
LOSS_MODE: Final = "own "
"""What a loss mode of ours begins with; the rest is JSON."""


@dataclass(frozen=True, kw_only=True)
class OwnMethod:
    """The class that a run names."""

    reference: str
    """``package.module:Class`` or ``/absolute/file.py:Class``."""
    settings: Mapping[str, Any]
    """What it is built with."""

    def __post_init__(self) -> None:
        """Refuse a class that is not there, does nothing, or can't be built.

        Raises:
            ConfigError: see above.
        """
        if not (self.chooses_rows or self.has_loss):
            raise ConfigError(
                f"{KEY}: {self.reference} has neither {BATCH_HOOK} nor {LOSS_HOOK}: see {GUIDE}"
            )
        self.built()

    @property
    def chooses_rows(self) -> bool:
        """Whether it acts on the sampled batch."""
        return callable(getattr(self._class(), BATCH_HOOK, None))

    @property
    def has_loss(self) -> bool:
        """Whether it brings the loss."""
        return callable(getattr(self._class(), LOSS_HOOK, None))

    @property
    def loss_mode(self) -> str:
        """The name under which verl's workers find its loss."""
        told = {"cls": self.reference, "settings": dict(self.settings)}
        return LOSS_MODE + json.dumps(told, sort_keys=True)

    def built(self) -> Any:
        """An instance.

        Raises:
            ConfigError: the class does not take these settings.
        """
        try:
            return self._class()(**self.settings)
        except (TypeError, ValueError) as error:
            given = ", ".join(self.settings) or "nothing"
            raise ConfigError(
                f"method.settings: {self.reference} can't be built with {given} ({error})"
            ) from error

    def _class(self) -> type[Any]:
        try:
            return load_class(self.reference, key=KEY, needed=(), guide=GUIDE)
        except ValueError as error:
            raise ConfigError(str(error)) from error


def own_method(cfg: DictConfig) -> OwnMethod | None:
    """The class that a config names; None when it names none.

    Raises:
        ConfigError: it names one that can't be used, or settings of none.
    """
    reference = optional(cfg, KEY, str)
    settings: Any = OmegaConf.to_container(cfg.method.settings, resolve=True)
    if reference is None:
        if settings:
            raise ConfigError(f"method.settings.{next(iter(settings))} needs {KEY}=FILE.py:Class")
        return None
    try:
        return OwnMethod(reference=whole_reference(reference, key=KEY), settings=settings)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def loss_of(loss_mode: str) -> Any:
    """``token_loss`` of the class that a loss mode of ours names; None for any other loss mode."""
    if not loss_mode.startswith(LOSS_MODE):
        return None
    told = json.loads(loss_mode.removeprefix(LOSS_MODE))
    method = OwnMethod(reference=told["cls"], settings=told["settings"])
    return getattr(method.built(), LOSS_HOOK)


class Checked(Method):
    """Somebody's method, its answers looked at before they are carried out."""

    def __init__(self, method: OwnMethod) -> None:
        """Build the class."""
        self._name, self._inner = method.reference, method.built()

    def on_batch_sampled(self, batch: SampledBatch) -> Selection:
        """What the class chooses.

        Raises:
            TrainingError: it chose no rows, rows that are not there, or advantages that are none.
        """
        selection = self._inner.on_batch_sampled(batch)
        complaint = _complaint(selection, num_rows=len(batch.keys))
        if complaint is not None:
            raise TrainingError(f"{KEY}: {self._name}.{BATCH_HOOK} {complaint}: see {GUIDE}")
        return selection

    def state_dict(self) -> dict[str, Any]:
        """The class's state, where it has one."""
        state = getattr(self._inner, "state_dict", dict)
        return dict(state())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give it back."""
        if state:
            self._inner.load_state_dict(state)


def _complaint(selection: Any, *, num_rows: int) -> str | None:
    if not isinstance(selection, Selection):
        return f"gave {selection!r}, no Selection"
    kept = list(selection.kept)
    if not kept or kept != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= num_rows:
        return f"keeps rows {kept[:8]} of {num_rows}: give 1 or more, ascending, none twice"
    if tuple(selection.adv_B.shape) != (len(kept),):
        return f"gave {tuple(selection.adv_B.shape)} advantages for {len(kept)} kept rows"
    if not bool(torch.isfinite(selection.adv_B).all()):
        return "gave an advantage that is not finite"
    wrong = [name for name, value in selection.metrics.items() if not math.isfinite(value)]
    return f"gave the metric {wrong[0]} a value that is not finite" if wrong else None


def checked_token_loss(loss_BT: Any, mask_BT: Tensor) -> Tensor:
    """What ``token_loss`` gave, if it is a loss for each token of the mask.

    Raises:
        TrainingError: it is something else.
    """
    if not isinstance(loss_BT, Tensor) or loss_BT.shape != mask_BT.shape:
        shape = tuple(getattr(loss_BT, "shape", ()))
        raise TrainingError(
            f"{KEY}: {LOSS_HOOK} gave a {type(loss_BT).__name__} {shape} where the mask is "
            f"{tuple(mask_BT.shape)}: give the loss of each token, see {GUIDE}"
        )
    return loss_BT
