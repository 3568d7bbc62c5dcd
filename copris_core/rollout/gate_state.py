"""The states of the gate and of each response before it, and how they are written down.

A ``GateState`` is what the gate knows at a checkpoint, when it is closed and nothing runs. A fresh
gate that restores it decides as the one that was left would have.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Gate(Enum):
    """Whether responses are admitted."""

    CLOSED = auto()
    OPEN = auto()
    CLOSING = auto()


GATE_MOVES = {
    Gate.CLOSED: frozenset({Gate.OPEN}),
    Gate.OPEN: frozenset({Gate.CLOSING}),
    Gate.CLOSING: frozenset({Gate.CLOSED}),
}


class Place(Enum):
    """Where one response is, as the gate sees it."""

    # Enum hashes the name, in Python: half the time of a move, and a gate makes millions of them.
    __hash__ = object.__hash__

    DRAWN = auto()
    WAITING = auto()
    RUNNING = auto()
    PAUSED = auto()
    IDLE = auto()


PLACE_MOVES = {
    Place.DRAWN: frozenset({Place.WAITING}),
    Place.WAITING: frozenset({Place.RUNNING}),
    Place.RUNNING: frozenset({Place.PAUSED, Place.IDLE}),
    Place.PAUSED: frozenset({Place.WAITING}),
    Place.IDLE: frozenset({Place.WAITING}),  # a multi-turn loop asks for its next turn
}

SAVED_PLACES = frozenset({Place.DRAWN, Place.PAUSED, Place.IDLE})
"""Places that outlive the process: whoever waited before a restart asks again after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedMember:
    """One response of a group that is not complete."""

    place: Place
    """``DRAWN`` (not started), ``PAUSED`` (to be resumed) or ``IDLE`` (its sampling has ended)."""
    oldest_version: int | None
    """Policy version under which it was first admitted; None before that."""

    def __post_init__(self) -> None:
        """Refuse a place that ends with the process.

        Raises:
            ValueError: the member waits or runs.
        """
        if self.place not in SAVED_PLACES:
            raise ValueError(f"a response that is {self.place.name} cannot be written down")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedGroup:
    """A prompt with members that are not done."""

    uid: str
    """The prompt's unique id."""
    draw_order: int
    """0, 1, 2, ... in data order."""
    members: tuple[SavedMember, ...]
    """All n members, by index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedReady:
    """A complete group that no update has taken yet."""

    draw_order: int
    """0, 1, 2, ... in data order."""
    uid: str
    """The prompt's unique id."""
    oldest_version: int
    """Policy version of its oldest token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateState:
    """Everything a closed gate knows."""

    next_order: int
    """Draw order of the next prompt."""
    growing: tuple[SavedGroup, ...]
    """Groups with members that are not done, in draw order."""
    ready: tuple[SavedReady, ...]
    """Complete groups not yet taken, in draw order."""
