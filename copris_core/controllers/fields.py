"""Fields of a saved state, checked as they are read; one-line errors name the field."""

from collections.abc import Mapping
from sys import float_info
from typing import Any


def number(
    state: Mapping[str, Any],
    name: str,
    *,
    low: float = -float_info.max,
    high: float = float_info.max,
) -> float:
    """The field ``name``: a finite number in [low, high].

    Raises:
        ValueError: it is missing, no number or outside.
    """
    value: Any = state.get(name)
    if not _is_number(value, low, high):
        raise ValueError(f"field {name!r} is {value!r}, not a number in [{low:g}, {high:g}]")
    return float(value)


def optional_number(
    state: Mapping[str, Any],
    name: str,
    *,
    low: float = -float_info.max,
    high: float = float_info.max,
) -> float | None:
    """The field ``name``, or None where it is null.

    Raises:
        ValueError: it is missing, neither null nor a number, or outside [low, high].
    """
    if name in state and state[name] is None:
        return None
    return number(state, name, low=low, high=high)


def numbers(
    state: Mapping[str, Any],
    name: str,
    *,
    low: float = -float_info.max,
    high: float = float_info.max,
) -> list[float]:
    """The list ``name`` of finite numbers in [low, high].

    Raises:
        ValueError: it is missing, no list, or holds something else.
    """
    values = state.get(name)
    if type(values) is not list:
        raise ValueError(f"field {name!r} is {values!r}, not a list")
    for value in values:
        if not _is_number(value, low, high):
            raise ValueError(f"field {name!r} holds {value!r}, no number in [{low:g}, {high:g}]")
    return [float(value) for value in values]


def count(state: Mapping[str, Any], name: str, *, high: int | None = None) -> int:
    """The field ``name``: an integer from 0 to ``high``; None for no upper end.

    Raises:
        ValueError: it is missing, no integer (``true`` is none) or outside.
    """
    value = state.get(name)
    if type(value) is not int or value < 0 or (high is not None and value > high):
        most = "" if high is None else f", at most {high}"
        raise ValueError(f"field {name!r} is {value!r}, not a count from 0{most}")
    return value


def part(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The field ``name``: an object of its own.

    Raises:
        ValueError: it is missing or no object.
    """
    value = state.get(name)
    if not isinstance(value, Mapping):
        raise ValueError(f"field {name!r} is {value!r}, not an object")
    return value


def _is_number(value: object, low: float, high: float) -> bool:
    """Whether it is an int or float of its own type (``true`` is neither) within the bounds."""
    return type(value) in (int, float) and low <= value <= high  # type: ignore[operator]
