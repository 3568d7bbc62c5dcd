"""A state machine as a table plus one ``move``; knows nothing of what the states stand for."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

State = TypeVar("State", bound=Enum)

NOWHERE: frozenset[Any] = frozenset()


class IllegalMoveError(RuntimeError):
    """A move that the table does not list was asked for; nothing was changed."""


def check_move(
    table: Mapping[State, frozenset[State]], now: State, to: State, who: object
) -> State:
    """Return ``to`` when the table allows ``now -> to``.

    Args:
        table: for each state, the states that may follow it; a state without a row is final.
        now: the state left.
        to: the state entered.
        who: what is moving; only made a word when the message needs it.

    Raises:
        IllegalMoveError: the table does not allow the move.
    """
    if to not in table.get(now, NOWHERE):
        raise IllegalMoveError(f"{who}: illegal move {now.name} -> {to.name}")
    return to
