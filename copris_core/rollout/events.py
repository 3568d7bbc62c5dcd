"""What happens to prompts and responses, as facts that can be counted afterwards."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from copris_core.rollout.json_fields import list_of, optional, required


class Event(Enum):
    """What a line tells."""

    DRAWN = "drawn"
    """A prompt was taken from the data."""
    STARTED = "started"
    """A response was admitted for the first time."""
    RESUMED = "resumed"
    """A response was admitted again; ``tokens``: what it already had."""
    FINISHED = "finished"
    """A response is whole, all its turns; ``tokens``: its length."""
    TRAINED = "trained"
    """A response was in the batch of an update."""
    PRUNED = "pruned"
    """A response was left out of its group's update by a method."""
    FILTERED = "filtered"
    """A group, or one response of it, was judged useless before the update."""
    DROPPED = "dropped"
    """A group, or one response of it, was given up as too old."""
    FAILED = "failed"
    """A group was given up after an error."""
    CHECKPOINT = "checkpoint"
    """The state was saved."""
    RESUMED_RUN = "resumed_run"
    """A process went on from a saved state."""
    ENDED = "ended"
    """The run took its last step."""


NEEDED: dict[Event, tuple[str, ...]] = {
    Event.DRAWN: ("uid",),
    Event.STARTED: ("uid", "index"),
    Event.RESUMED: ("uid", "index", "tokens"),
    Event.FINISHED: ("uid", "index", "tokens"),
    Event.TRAINED: ("uid", "index", "step"),
    Event.PRUNED: ("uid", "index", "step"),
    Event.FILTERED: ("uid",),
    Event.DROPPED: ("uid",),
    Event.FAILED: ("uid", "reason"),
    Event.CHECKPOINT: ("step",),
    Event.RESUMED_RUN: ("from_seq",),
    Event.ENDED: (),
}
"""Fields that each event cannot do without, beside ``version``."""


class Fact(NamedTuple):
    """What happened, before it has a place in the ledger; cheap to create and to send."""

    event: Event
    """What happened."""
    version: int
    """Policy version (number of weight updates so far) when it happened."""
    uid: str | None = None
    """The prompt."""
    index: int | None = None  # type: ignore[assignment]  # shadows tuple.index, not needed here
    """The member of its group; None speaks of the whole group."""
    tokens: int | None = None
    """Response tokens: had before (resumed), in all (finished), saved (checkpoint)."""
    row: int | None = None
    """Index of the prompt's row in the data set (drawn)."""
    size: int | None = None
    """Responses in the group (drawn)."""
    step: int | None = None
    """Training step (trained, pruned, checkpoint)."""
    reason: str | None = None
    """Why (pruned, filtered, dropped, failed)."""
    from_seq: int | None = None
    """Position to which a restart went back (resumed_run)."""
    live: tuple[str, ...] | None = None
    """Every prompt that the gate holds (checkpoint, resumed_run, ended)."""


def check_fact(fact: Fact) -> None:
    """Refuse a fact that lacks what its event must say.

    Raises:
        ValueError: a field of `NEEDED` is None.
    """
    missing = [name for name in NEEDED[fact.event] if getattr(fact, name) is None]
    if missing:
        raise ValueError(f"event {fact.event.value} lacks {', '.join(missing)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEvent:
    """One line: its number and what happened."""

    seq: int
    """0, 1, 2, ...: its number in the file."""
    fact: Fact
    """What happened."""

    def to_json(self) -> dict[str, Any]:
        """The line as a JSON object, without the fields that say nothing."""
        said = {name: value for name, value in self.fact._asdict().items() if value is not None}
        return {"seq": self.seq, **said, "event": self.fact.event.value}

    @classmethod
    def from_json(cls, line: Any) -> "LedgerEvent":
        """Read what `to_json` wrote; unknown fields are left alone.

        Raises:
            ValueError: no object, an unknown event, or a field that is missing or of another type.
        """
        if not isinstance(line, dict):
            raise ValueError("no JSON object")
        name = required(line, "event", str)
        if name not in {event.value for event in Event}:
            raise ValueError(f"unknown event {name}")
        fact = Fact(
            event=Event(name),
            version=required(line, "version", int),
            uid=optional(line, "uid", str),
            index=optional(line, "index", int),
            tokens=optional(line, "tokens", int),
            row=optional(line, "row", int),
            size=optional(line, "size", int),
            step=optional(line, "step", int),
            reason=optional(line, "reason", str),
            from_seq=optional(line, "from_seq", int),
            live=tuple(list_of(line, "live", str)) if line.get("live") is not None else None,
        )
        check_fact(fact)
        return cls(seq=required(line, "seq", int), fact=fact)
