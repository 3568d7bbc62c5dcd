"""Reads single typed values out of a composed config; a wrong one is told by its key."""

from typing import Any, Final

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from copris_core.verl_adapter.errors import ConfigError

KINDS: Final = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def optional(cfg: DictConfig, key: str, kind: type) -> Any:
    """Value of a key, None when unset; a whole number passes for a float, a bool for none.

    Raises:
        ConfigError: the value is of another kind, or refers to a key that does not exist.
    """
    try:
        value = OmegaConf.select(cfg, key)
    except InterpolationResolutionError as error:
        raise ConfigError(f"{key}: {str(error).splitlines()[0]}") from error
    accepted = (int, float) if kind is float else kind
    if value is None:
        return None
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{key}={value} must be {KINDS[kind]}")
    return value


def text(cfg: DictConfig, key: str) -> str:
    """Text of a key.

    Raises:
        ConfigError: it is unset or no text.
    """
    return str(_needed(cfg, key, str))


def number(cfg: DictConfig, key: str) -> int:
    """Whole number of a key.

    Raises:
        ConfigError: it is unset or no whole number.
    """
    return int(_needed(cfg, key, int))


def _needed(cfg: DictConfig, key: str, kind: type) -> Any:
    value = optional(cfg, key, kind)
    if value is None:
        raise ConfigError(f"{key} is not set: give it {KINDS[kind]}")
    return value
