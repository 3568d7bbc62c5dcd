"""Which lines of a ledger count: those on the way from the first one to the last state.

A restart goes back to a checkpoint and leaves what came after it behind. Walking back from the end,
each ``resumed_run`` jumps to the position that its checkpoint had noted; what is jumped over was
undone. This also holds when a restart picked a checkpoint that an earlier restart had left behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from copris_core.rollout.events import Event, LedgerEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Lines that count."""

    start: int
    """Number of the first line."""
    stop: float
    """Number behind the last line; infinite for the newest span."""


def live_spans(events: Iterable[LedgerEvent]) -> list[Span]:
    """The spans of lines that count, in order."""
    restarts = [
        (event.seq, event.fact.from_seq)
        for event in events
        if event.fact.event is Event.RESUMED_RUN and event.fact.from_seq is not None
    ]
    spans, stop = [], math.inf
    for seq, from_seq in reversed(restarts):
        if seq < stop:
            spans.append(Span(start=seq, stop=stop))
            stop = from_seq
    return [Span(start=0, stop=stop), *reversed(spans)]


def told_apart(
    events: Iterable[LedgerEvent], spans: list[Span]
) -> Iterator[tuple[LedgerEvent, bool]]:
    """Each line and whether it counts."""
    place = 0
    for event in events:
        while place + 1 < len(spans) and event.seq >= spans[place + 1].start:
            place += 1
        yield event, spans[place].start <= event.seq < spans[place].stop
