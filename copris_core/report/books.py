"""The rules that a ledger must keep, entered line by line.

- A prompt is drawn once. Its group ends once: trained, filtered, dropped or failed.
- A response starts once, goes on with at least the tokens that it had, and finishes once.
- When a group is trained, each of its responses is trained or was taken out by name.
- Whatever has not ended is held by every checkpoint, by every restart and by the end of the run.
- Each row of the data is drawn once in each pass.

A broken rule is a finding and never an error: a reader wants all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from copris_core.rollout.events import Event, Fact

GROUP_ENDS = (Event.FILTERED, Event.DROPPED, Event.FAILED)
"""Events that end a whole group when they name no member, and one response when they do."""

TAKEN = (Event.TRAINED, Event.PRUNED)
"""Events by which an update takes a response."""

RANK = {
    Event.DRAWN: 0,
    Event.STARTED: 1,
    Event.FINISHED: 2,
    **dict.fromkeys((*TAKEN, *GROUP_ENDS), 3),
}
"""How far a response has come after its last event."""

COMES_AFTER = {
    Event.STARTED: (0, 0),
    Event.RESUMED: (1, 1),
    Event.FINISHED: (1, 1),
    Event.TRAINED: (2, 2),
    Event.PRUNED: (2, 2),
    **dict.fromkeys(GROUP_ENDS, (0, 2)),
}
"""Event of a response -> lowest and highest rank that may precede it. Too low: something was lost.
Too high: something was done twice."""


@dataclass(slots=True)
class Response:
    """What the ledger has told of one response."""

    state: Event = Event.DRAWN
    """Its last event; ``STARTED`` also after it was resumed."""
    tokens: int = 0
    """Its length, or the tokens that it is known to have."""
    has_started: bool = False
    """Whether it was admitted."""
    has_finished: bool = False
    """Whether it is whole."""

    @property
    def end(self) -> Event | None:
        """The event that ended it."""
        return self.state if self.state in (*TAKEN, *GROUP_ENDS) else None


@dataclass(slots=True)
class Group:
    """What the ledger has told of one group."""

    size: int | None = None
    """Responses in it; None where the ledger does not say."""
    end: Event | None = None
    """The event that ended it; trained once one of its responses is."""
    responses: dict[int, Response] = field(default_factory=dict)
    """Those that the ledger has named, by index."""

    def members(self) -> Iterable[Response]:
        """Those that the ledger has named."""
        return self.responses.values()

    def fate_of(self, response: Response) -> Event | None:
        """The event that ended a member, by name or with its group."""
        return response.end or (self.end if self.end in GROUP_ENDS else None)


@dataclass(slots=True)
class Books:
    """The state of the reading; every line that counts is entered once, in order."""

    groups: dict[str, Group] = field(default_factory=dict)
    """By prompt."""
    lost: dict[str, str] = field(default_factory=dict)
    """Who -> why, the first finding of each."""
    duplicated: dict[str, str] = field(default_factory=dict)
    """Who -> why, the first finding of each."""
    num_resumed: int = 0
    """Resumptions."""
    continued_tokens: int = 0
    """Tokens that resumed responses already had."""
    over_restarts: list[int] = field(default_factory=list)
    """The same by restart, a response's first resumption after it alone."""
    _rows: list[int] = field(default_factory=list)
    _carried: set[tuple[str, int]] = field(default_factory=set)

    def enter(self, fact: Fact) -> None:
        """Enter one line."""
        uid = fact.uid or ""
        if fact.event in (Event.CHECKPOINT, Event.RESUMED_RUN, Event.ENDED):
            self._account(fact)
        elif fact.event is Event.DRAWN:
            self._draw(uid, fact)
        elif fact.index is None:
            self._end(uid, self._group(uid, fact), fact.event, fact.reason)
        else:
            self._happen(uid, fact.index, fact)

    def close(self, *, num_rows: int | None) -> None:
        """Find what only shows when all lines are entered."""
        for uid, group in self.groups.items():
            if group.end in TAKEN:
                self._check_members(uid, group)
        self._check_rows(num_rows or len(set(self._rows)))

    # ---- groups ----

    def _draw(self, uid: str, fact: Fact) -> None:
        if uid in self.groups:
            self.duplicated.setdefault(uid, "drawn twice")
            return
        self.groups[uid] = Group(size=fact.size)
        if fact.row is not None:
            self._rows.append(fact.row)

    def _group(self, uid: str, fact: Fact) -> Group:
        if uid not in self.groups:
            self.duplicated.setdefault(uid, f"{fact.event.value} but never drawn")
        return self.groups.setdefault(uid, Group())

    def _end(self, uid: str, group: Group, event: Event, reason: str | None = None) -> None:
        if group.end in TAKEN and event in TAKEN:
            group.end = Event.TRAINED if Event.TRAINED in (group.end, event) else group.end
        elif group.end is not None:
            self.duplicated.setdefault(uid, f"{event.value} after it was {group.end.value}")
        else:
            group.end = event
            if event is Event.FAILED:
                self.lost.setdefault(uid, f"failed: {reason}")

    def _check_members(self, uid: str, group: Group) -> None:
        """Of a group that an update took, nobody may have been left behind."""
        for index in sorted({*range(group.size or 0), *group.responses}):
            response = group.responses.get(index, Response())
            if response.end is None:
                why = f"{response.state.value}, but left out when its group was trained"
                self.lost.setdefault(f"{uid}:{index}", why)

    def _check_rows(self, num_rows: int) -> None:
        """A pass over the data is as long as there are rows."""
        for start in range(0, len(self._rows), num_rows or 1):
            for row, times in Counter(self._rows[start : start + num_rows]).items():
                if times > 1:
                    why = f"drawn {times} times in pass {start // num_rows + 1} over the data"
                    self.duplicated.setdefault(f"row {row}", why)

    # ---- responses ----

    def _happen(self, uid: str, index: int, fact: Fact) -> None:
        group = self._group(uid, fact)
        response = group.responses.setdefault(index, Response())
        self._check_order(f"{uid}:{index}", response, fact)
        if fact.event is Event.RESUMED:
            self._resume(uid, index, fact.tokens or 0)
        if fact.tokens is not None:
            response.tokens = fact.tokens
        response.has_started |= fact.event in (Event.STARTED, Event.RESUMED)
        response.has_finished |= fact.event is Event.FINISHED
        response.state = Event.STARTED if fact.event is Event.RESUMED else fact.event
        all_ended = len(group.responses) == group.size and all(x.end for x in group.members())
        if fact.event in TAKEN or (group.end is None and all_ended):
            self._end(uid, group, fact.event, fact.reason)

    def _check_order(self, who: str, response: Response, fact: Fact) -> None:
        lowest, highest = COMES_AFTER[fact.event]
        name, before = fact.event.value, response.state.value
        if RANK[response.state] > highest:
            self.duplicated.setdefault(who, f"{name} after it was {before}")
        elif RANK[response.state] < lowest:
            self.lost.setdefault(who, f"{name} when it was only {before}")
        if fact.event in (Event.RESUMED, Event.FINISHED) and (fact.tokens or 0) < response.tokens:
            why = f"{name} with {fact.tokens} tokens after it had {response.tokens}"
            self.lost.setdefault(who, why)

    def _resume(self, uid: str, index: int, tokens: int) -> None:
        self.num_resumed += 1
        self.continued_tokens += tokens
        if (uid, index) in self._carried:
            self._carried.remove((uid, index))
            self.over_restarts[-1] += tokens

    # ---- the run ----

    def _account(self, fact: Fact) -> None:
        """A checkpoint, a restart or the end of the run: all that is live must be in its hands."""
        live = {uid for uid, group in self.groups.items() if group.end is None}
        if fact.event is Event.RESUMED_RUN:
            self.over_restarts.append(0)
            self._carried = {
                (uid, index)
                for uid in live
                for index, response in self.groups[uid].responses.items()
                if response.state is Event.STARTED
            }
        if fact.live is None:
            return
        name = fact.event.value if fact.step is None else f"{fact.event.value} of step {fact.step}"
        for uid in sorted(live.difference(fact.live)):
            self.lost.setdefault(uid, f"live, but not held by {name}")
        for uid in sorted(set(fact.live) - live):
            self.duplicated.setdefault(uid, f"held by {name}, but not live")
