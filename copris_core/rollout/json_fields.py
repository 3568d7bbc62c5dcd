"""Fields of a JSON object, checked as they are read; one-line errors name the field."""

from collections.abc import Mapping
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def required(table: Mapping[str, Any], name: str, kind: type[Kind]) -> Kind:
    """The field ``name``, which must be of exactly this type (``true`` is no integer).

    Raises:
        ValueError: it is missing or of another type.
    """
    value = table.get(name)
    if type(value) is not kind:
        raise ValueError(f"field {name!r} is {value!r}, not {kind.__name__}")
    return value


def optional(table: Mapping[str, Any], name: str, kind: type[Kind]) -> Kind | None:
    """The field ``name``, or None where it is missing or null.

    Raises:
        ValueError: it is of another type.
    """
    return None if table.get(name) is None else required(table, name, kind)


def list_of(table: Mapping[str, Any], name: str, kind: type[Kind]) -> list[Kind]:
    """The list ``name``, whose items must be of exactly this type.

    Raises:
        ValueError: it is missing, no list, or holds something else.
    """
    items = required(table, name, list)
    wrong = [item for item in items if type(item) is not kind]
    if wrong:
        raise ValueError(f"field {name!r} holds {wrong[0]!r}, not {kind.__name__}")
    return items
