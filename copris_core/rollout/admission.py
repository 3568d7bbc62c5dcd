"""The gate: admits at most N' responses at once and ends the stage at the B-th complete group.

Facts in (``draw``, ``ask``, ``settle``, ``complete``, ``open``), decisions out (``admit``,
``prompts_wanted``, ``take``). It owns no task, client or clock, so the Ray router and a simulator
drive the same object. Follows CoPRIS, arXiv 2511.05589, section 3 (concurrency-controlled
generation, early termination, buffering), with admission by response instead of by batch.

Invariants, each one tested as a sentence:
- never more than ``limit`` responses are in flight;
- every admitted response leaves exactly once, finished or interrupted;
- a response that has left finished is never handed out as a partial;
- un-started plus unfinished responses never exceed ``limit + margin + group_size`` (in a multi-turn
  loop, plus those that ask for a further turn).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from copris_core.rollout.concurrency import FixedLimit, waiting_margin
from copris_core.rollout.order import QueuedGroup, ResponseKey, ServiceOrder
from copris_core.rollout.states import IllegalMoveError, check_move


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


@dataclass(slots=True)
class _Member:
    place: Place = Place.DRAWN
    oldest_version: int | None = None


@dataclass(slots=True, kw_only=True)
class _Group:
    queued: QueuedGroup
    members: list[_Member] = field(default_factory=list)


class AdmissionGate:
    """Global admission control over all replicas and agent-loop workers."""

    def __init__(self, *, limit: FixedLimit, groups_per_stage: int, group_size: int) -> None:
        """Start closed and empty.

        Args:
            limit: how many responses may be in flight, N'.
            groups_per_stage: complete groups that end a stage, B.
            group_size: responses per prompt, n; sizes the margin of waiting responses.
        """
        self._limit = limit
        self._groups_per_stage = groups_per_stage
        self._group_size = group_size
        self._state = Gate.CLOSED
        self._version = 0
        self._line = ServiceOrder()
        self._growing: dict[str, _Group] = {}
        self._ready: list[tuple[int, str]] = []
        self._failed: list[str] = []
        self._running: set[ResponseKey] = set()
        self._num_live = 0
        self._num_paused = 0
        self._num_sampled_groups = 0
        self._next_order = 0

    # ---- questions ----

    @property
    def state(self) -> Gate:
        """Whether responses are admitted."""
        return self._state

    @property
    def limit(self) -> int:
        """In-flight limit N' in force."""
        return self._limit.limit

    @property
    def in_flight(self) -> int:
        """Responses admitted and not yet settled."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Responses that asked and are not admitted."""
        return len(self._line)

    @property
    def num_live(self) -> int:
        """Drawn responses whose sampling is not done: un-started, waiting, running or paused."""
        return self._num_live

    @property
    def num_ready(self) -> int:
        """Complete groups not yet taken."""
        return len(self._ready)

    @property
    def stage_is_over(self) -> bool:
        """Whether B complete groups lie ready."""
        return len(self._ready) >= self._groups_per_stage

    @property
    def enough_is_sampled(self) -> bool:
        """Whether B groups have no member left to sample, whether they are stored already or not.

        Nobody is admitted then. A multi-turn member may still ask for a next turn; its group does
        not count any more then, and admission goes on.
        """
        return len(self._ready) + self._num_sampled_groups >= self._groups_per_stage

    def running(self) -> Iterator[ResponseKey]:
        """The responses in flight, in no particular order."""
        return iter(self._running)

    def prompts_wanted(self) -> int:
        """Prompts to draw now so that a freed slot always finds a waiting response.

        Positive only while the gate is open and the stage needs more than is sampled:
            ceil((limit + margin - live responses) / group size)
        """
        if self._state is not Gate.OPEN or self.enough_is_sampled:
            return 0
        margin = waiting_margin(self.limit, self._group_size)
        return max(0, -(-(self.limit + margin - self._num_live) // self._group_size))

    # ---- facts ----

    def draw(self, uid: str, size: int) -> None:
        """A prompt was drawn from the data; ``size`` responses will ask for it.

        Raises:
            ValueError: the prompt is known already.
        """
        if uid in self._growing or any(uid == ready for _, ready in self._ready):
            raise ValueError(f"prompt {uid} was drawn twice")
        queued = QueuedGroup(uid=uid, draw_order=self._next_order, unfinished=size)
        self._growing[uid] = _Group(queued=queued, members=[_Member() for _ in range(size)])
        self._next_order += 1
        self._num_live += size

    def ask(self, key: ResponseKey) -> None:
        """A response wants to sample (for the first time, again after an abort, or its next turn).

        Raises:
            KeyError: its prompt was never drawn or is complete.
            IllegalMoveError: it waits or runs already.
        """
        group, member = self._find(key)
        was = member.place
        member.place = check_move(PLACE_MOVES, was, Place.WAITING, str(key))
        self._num_paused -= was is Place.PAUSED
        if was is Place.IDLE:
            self._num_live += 1
            self._num_sampled_groups -= group.queued.unfinished == 0
            group.queued.unfinished += 1
        if member.oldest_version is None:
            self._line.push_new(group.queued, key.index)
        else:
            self._line.push_resumed(
                key, oldest_version=member.oldest_version, draw_order=group.queued.draw_order
            )

    def settle(self, key: ResponseKey, *, interrupted: bool) -> None:
        """A running response left the engine; ``interrupted`` when it will ask to be resumed.

        Raises:
            IllegalMoveError: it was not running.
        """
        group, member = self._find(key)
        to = Place.PAUSED if interrupted else Place.IDLE
        member.place = check_move(PLACE_MOVES, member.place, to, str(key))
        self._running.remove(key)
        self._num_paused += interrupted
        if not interrupted:
            self._num_live -= 1
            group.queued.unfinished -= 1
            self._num_sampled_groups += group.queued.unfinished == 0
            self._line.rerank(group.queued)
        self._close_if_drained()

    def complete(self, uid: str, *, failed: bool) -> None:
        """All members of a group have ended; the B-th complete group closes the gate.

        Raises:
            KeyError: the prompt is unknown.
            IllegalMoveError: a member is still waiting or running.
        """
        group = self._growing[uid]
        if any(member.place in (Place.WAITING, Place.RUNNING) for member in group.members):
            raise IllegalMoveError(
                f"group {uid} was reported complete while a member waits or runs"
            )
        del self._growing[uid]
        self._num_sampled_groups -= group.queued.unfinished == 0
        self._line.forget(uid)
        self._num_live -= sum(member.place is not Place.IDLE for member in group.members)
        self._num_paused -= sum(member.place is Place.PAUSED for member in group.members)
        if failed:
            self._failed.append(uid)
        else:
            self._ready.append((group.queued.draw_order, uid))
        if self.stage_is_over and self._state is Gate.OPEN:
            self.close()

    def open(self, version: int) -> None:
        """Begin a stage under policy ``version``; with B groups ready already it ends at once.

        Raises:
            IllegalMoveError: the gate is not closed.
        """
        self._state = check_move(GATE_MOVES, self._state, Gate.OPEN, "gate")
        self._version = version
        if self.stage_is_over:
            self.close()

    def close(self) -> None:
        """Admit nobody any more; the gate is closed once the last running response has settled.

        Raises:
            IllegalMoveError: the gate is not open.
        """
        self._state = check_move(GATE_MOVES, self._state, Gate.CLOSING, "gate")
        self._close_if_drained()

    # ---- decisions ----

    def admit(self) -> list[ResponseKey]:
        """Admit whoever is next while there is room; the caller starts them.

        A slot is held for every interrupted response that has not asked again yet: it goes before
        any un-started one, however late its request arrives.
        """
        admitted = []
        while self._may_admit():
            admitted.append(self._admit(self._line.pop()))
        return admitted

    def take(self, count: int) -> list[str]:
        """Hand out ``count`` complete groups, the earliest drawn first; the rest are carried over.

        Raises:
            ValueError: fewer are ready.
        """
        if count > len(self._ready):
            raise ValueError(f"{count} groups wanted, {len(self._ready)} are complete")
        self._ready.sort()
        taken, self._ready = self._ready[:count], self._ready[count:]
        return [uid for _, uid in taken]

    def take_failed(self) -> list[str]:
        """Hand out the groups that failed since the last call."""
        failed, self._failed = self._failed, []
        return failed

    def _may_admit(self) -> bool:
        if self._state is not Gate.OPEN or self.enough_is_sampled:
            return False
        free_slots = self.limit - self.in_flight
        needed = 1 if self._line.has_resumed else 1 + self._num_paused
        return len(self._line) > 0 and free_slots >= needed

    def _admit(self, key: ResponseKey) -> ResponseKey:
        group, member = self._find(key)
        member.place = check_move(PLACE_MOVES, member.place, Place.RUNNING, str(key))
        if member.oldest_version is None:
            member.oldest_version = self._version
        if not group.queued.started:
            group.queued.started = True
        self._line.rerank(group.queued)
        self._running.add(key)
        return key

    def _close_if_drained(self) -> None:
        if self._state is Gate.CLOSING and not self._running:
            self._state = check_move(GATE_MOVES, self._state, Gate.CLOSED, "gate")

    def _find(self, key: ResponseKey) -> tuple[_Group, _Member]:
        group = self._growing[key.uid]
        return group, group.members[key.index]
