"""A run as a test plays it: what a process holds, what the disk holds, what counts."""

from dataclasses import dataclass, field

from copris_core.rollout.admission import AdmissionGate
from copris_core.rollout.gate_state import Place
from copris_core.rollout.ledger import Ledger
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.trajectory import Status, Trajectory
from copris_core.rollout.witness import Witness

Delivered = list[tuple[int, float, int]]
"""Token, log-prob and version of everything that one response was given, over all its turns."""


@dataclass(slots=True)
class Timeline:
    """What has happened as far as the weights know."""

    delivered: dict[tuple[int, int], Delivered] = field(default_factory=dict)  # by row and index
    ended: list[int] = field(default_factory=list)  # rows trained, in order
    failed: list[int] = field(default_factory=list)  # rows


@dataclass(slots=True, kw_only=True)
class Process:
    """Everything that a SIGKILL takes away."""

    gate: AdmissionGate
    ledger: Ledger
    witness: Witness = field(default_factory=Witness)
    version: int = 0
    cursor: int = 0  # rows read from the data
    rows: dict[str, int] = field(default_factory=dict)  # live uid -> row
    calls: dict[ResponseKey, list[Trajectory]] = field(default_factory=dict)
    places: dict[ResponseKey, str] = field(default_factory=dict)  # of members of growing groups


@dataclass(slots=True, frozen=True, kw_only=True)
class Checkpoint:
    """What lies on the disk: text and bytes, so that nothing is shared with a process."""

    text: str
    arrays: dict[str, bytes]
    truth: Timeline


def joined(calls: list[Trajectory]) -> Delivered:
    return [
        each
        for call in calls
        for each in zip(call.tokens(), call.logps(), call.versions(), strict=True)
    ]


def place_of(place: Place, calls: list[Trajectory] | None) -> str:
    """Where a response is after a restart, as its client sees it."""
    if place is Place.IDLE:
        assert calls is not None
        return "done" if calls[-1].status is Status.FINISHED else "stumbled"
    return {Place.DRAWN: "drawn", Place.PAUSED: "paused"}[place]
