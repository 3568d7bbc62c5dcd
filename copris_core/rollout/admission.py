"""The gate: admits at most N' responses at once and ends the stage at the B-th complete group.

Facts in (``draw``, ``ask``, ``settle``, ``complete``, ``discard``, ``open``), decisions out
(``admit``, ``prompts_wanted``, ``take``). It owns no task, client or clock, so the Ray router and a
simulator drive the same object. Follows CoPRIS, arXiv 2511.05589, section 3 (concurrency-controlled
generation, early termination, buffering), with admission by response instead of by batch.

Invariants, each one tested as a sentence:
- never more than ``limit`` responses are in flight;
- every admitted response leaves exactly once, finished or interrupted;
- a response that has left finished is never handed out as a partial;
- un-started plus unfinished responses never exceed ``limit + margin + group_size`` (in a multi-turn
  loop, plus those that ask for a further turn);
- with ``max_lag`` K no group is taken later than K versions after its first token.
"""

from collections.abc import Iterator

from copris_core.rollout.concurrency import Limit
from copris_core.rollout.gate_state import (
    GATE_MOVES,
    PLACE_MOVES,
    Gate,
    GateState,
    Place,
    SavedReady,
)
from copris_core.rollout.groups import Group, Groups
from copris_core.rollout.order import ResponseKey, ServiceOrder
from copris_core.rollout.pacing import Pacing
from copris_core.rollout.states import IllegalMoveError, check_move
from copris_core.rollout.supply import OnDemand, StageSoFar, Supply

__all__ = ["AdmissionGate", "Gate", "GateState", "Place"]


class AdmissionGate:
    """Global admission control over all replicas and agent-loop workers."""

    def __init__(
        self,
        *,
        limit: Limit,
        groups_per_stage: int,
        group_size: int,
        supply: Supply | None = None,
        max_lag: int | None = None,
    ) -> None:
        """Start closed and empty.

        Args:
            limit: how many responses may be in flight, N'.
            groups_per_stage: complete groups that end a stage, B.
            group_size: responses per prompt, n; sizes the margin of waiting responses.
            supply: the rollout strategy; CoPRIS's by default.
            max_lag: K, versions within which a started group must be trained; None: no bound.

        Raises:
            ValueError: ``max_lag`` is negative.
        """
        self._limit = limit
        self._groups_per_stage = groups_per_stage
        self._group_size = group_size
        self._supply: Supply = supply or OnDemand()
        self._groups = Groups(Pacing(max_lag=max_lag, groups_per_stage=groups_per_stage))
        self._state = Gate.CLOSED
        self._version = 0
        self._line = ServiceOrder()
        self._in_flight = 0
        self._failed: list[str] = []
        self._admitted = 0
        self._submitted_groups = 0

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
        return self._in_flight

    @property
    def num_waiting(self) -> int:
        """Responses that asked and are not admitted."""
        return len(self._line)

    @property
    def num_live(self) -> int:
        """Drawn responses whose sampling is not done: un-started, waiting, running or paused."""
        return self._groups.num_live

    @property
    def num_ready(self) -> int:
        """Complete groups not yet taken."""
        return self._groups.num_ready

    @property
    def stage_is_over(self) -> bool:
        """Whether B complete groups lie ready, and no group would be late for its update."""
        return self._groups.may_step(self._version, stored=True)

    @property
    def enough_is_sampled(self) -> bool:
        """Whether the stage could end if all that is sampled were stored already.

        Nobody is admitted then. A multi-turn member may still ask for a next turn; its group does
        not count any more then, and admission goes on.
        """
        return self._groups.may_step(self._version, stored=False)

    def running(self) -> Iterator[ResponseKey]:
        """The responses in flight, in data order; walks all groups."""
        return self._groups.running()

    def prompts_wanted(self) -> int:
        """Prompts to draw now; positive only while the stage needs more than is sampled."""
        if self._state is not Gate.OPEN or self.enough_is_sampled:
            return 0
        return max(0, self._supply.prompts_wanted(self._stage_so_far()))

    # ---- facts ----

    def draw(self, uid: str, size: int) -> None:
        """A prompt was drawn from the data; ``size`` responses will ask for it.

        Raises:
            ValueError: the prompt is known already.
        """
        self._groups.draw(uid, size)
        self._submitted_groups += 1

    def ask(self, key: ResponseKey) -> None:
        """A response wants to sample (for the first time, again after an abort, or its next turn).

        Raises:
            KeyError: its prompt was never drawn or is complete.
            IllegalMoveError: it waits or runs already.
        """
        group, member = self._groups.find(key)
        was = member.place
        member.place = check_move(PLACE_MOVES, was, Place.WAITING, key)
        self._groups.num_paused -= was is Place.PAUSED
        if was is Place.IDLE:
            self._groups.member_goes_on(group)
            self._line.rerank(group.queued)
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
        group, member = self._groups.find(key)
        to = Place.PAUSED if interrupted else Place.IDLE
        member.place = check_move(PLACE_MOVES, member.place, to, key)
        self._in_flight -= 1
        self._groups.num_paused += interrupted
        if not interrupted:
            self._groups.member_done(group)
            self._line.rerank(group.queued)
        if not self._in_flight:
            self._admitted = 0
            self._close_if_drained()

    def complete(self, uid: str, *, failed: bool) -> None:
        """All members of a group have ended; the B-th complete group closes the gate.

        Raises:
            KeyError: the prompt is unknown.
            IllegalMoveError: a member is still waiting or running, or, in a group that has not
                failed, has been interrupted and never went on.
        """
        group = self._end(uid, failed=failed)
        if failed:
            self._failed.append(uid)
            self._submitted_groups -= 1
        else:
            start = self._version if group.oldest_version is None else group.oldest_version
            order = group.queued.draw_order
            self._groups.put_ready(SavedReady(draw_order=order, uid=uid, oldest_version=start))
        self._close_if_over()

    def discard(self, uid: str) -> None:
        """All members of a group have ended, and nothing can be learnt from it.

        It does not count for the stage, which another group must fill (dynamic sampling, DAPO,
        arXiv 2503.14476, section 3.2).

        Raises:
            KeyError: the prompt is unknown.
            IllegalMoveError: a member is not done.
        """
        self._end(uid, failed=False)
        self._submitted_groups -= 1
        self._close_if_over()  # it may have been the one that a bound on staleness waited for

    def open(self, version: int) -> None:
        """Begin a stage under policy ``version``; with B groups ready already it ends at once.

        Raises:
            IllegalMoveError: the gate is not closed.
        """
        self._state = check_move(GATE_MOVES, self._state, Gate.OPEN, "gate")
        self._version = version
        self._admitted = 0
        self._submitted_groups = len(self._groups)
        if self.stage_is_over:
            self.close()

    def close(self) -> None:
        """Admit nobody any more; the gate is closed once the last running response has settled.

        Raises:
            IllegalMoveError: the gate is not open.
        """
        self._state = check_move(GATE_MOVES, self._state, Gate.CLOSING, "gate")
        self._close_if_drained()

    def drop_older_than(self, version: int) -> tuple[list[str], list[str]]:
        """Give up every untrained group with a token sampled before ``version``.

        Only for comparison with ``max_lag``: it drops long responses more often than short ones.

        Returns:
            The complete groups, and those whose responses have not all ended: these must be told,
            for nobody will admit them.

        Raises:
            IllegalMoveError: the gate is not closed.
        """
        self._must_be_closed("nothing can be dropped")
        complete, growing = self._groups.drop_older_than(version)
        for uid in growing:
            self._line.withdraw(uid)
        return complete, growing

    # ---- decisions ----

    def admit(self) -> list[ResponseKey]:
        """Admit whoever is next while there is room; the caller starts them.

        A slot is held for every interrupted response that has not asked again yet: it goes before
        any un-started one, however late its request arrives.
        """
        if self._state is not Gate.OPEN or self.enough_is_sampled:
            return []  # admitting changes neither
        admitted = []
        while self._may_admit():
            admitted.append(self._admit(self._line.pop()))
        return admitted

    def take(self, count: int) -> list[str]:
        """Hand out ``count`` complete groups, the oldest first; the rest are carried over.

        Raises:
            ValueError: fewer are ready.
        """
        return self._groups.take(count)

    def take_failed(self) -> list[str]:
        """Hand out the groups that failed since the last call."""
        failed, self._failed = self._failed, []
        return failed

    # ---- across a restart ----

    def snapshot(self) -> GateState:
        """What a fresh gate must know to decide as this one would.

        Raises:
            IllegalMoveError: the gate is not closed.
        """
        self._must_be_closed("its state cannot be written down")
        return self._groups.snapshot()

    def restore(self, state: GateState) -> None:
        """Take up what another gate had written down; its members ask again by themselves.

        Raises:
            IllegalMoveError: this gate is not closed and fresh.
        """
        self._must_be_closed("it cannot be restored")
        if not self._groups.is_fresh:
            raise IllegalMoveError("a gate that has seen prompts cannot be restored")
        self._groups.restore(state)

    # ---- inside ----

    def _end(self, uid: str, *, failed: bool) -> Group:
        unended = {Place.WAITING, Place.RUNNING} | (set() if failed else {Place.PAUSED})
        if any(member.place in unended for member in self._groups.members(uid)):
            raise IllegalMoveError(f"group {uid} was reported complete while a member is not done")
        self._line.forget(uid)
        return self._groups.remove(uid)

    def _close_if_over(self) -> None:
        if self._state is Gate.OPEN and self.stage_is_over:
            self.close()

    def _may_admit(self) -> bool:
        """Whether the next one may start; the gate is open, and more must be sampled."""
        line, limit = self._line, self._limit.limit
        needed = 1 if line.has_resumed else 1 + self._groups.num_paused
        if limit - self._in_flight < needed or not len(line):
            return False
        if not self._supply.may_admit(admitted=self._admitted, limit=limit):
            return False
        return self._groups.may_start() or not line.starts_group

    def _admit(self, key: ResponseKey) -> ResponseKey:
        group, member = self._groups.find(key)
        member.place = check_move(PLACE_MOVES, member.place, Place.RUNNING, key)
        if member.oldest_version is None:
            member.oldest_version = self._version
        if not group.queued.started:
            self._groups.start(group, self._version)
            self._line.rerank(group.queued)
        self._in_flight += 1
        self._admitted += 1
        return key

    def _stage_so_far(self) -> StageSoFar:
        return StageSoFar(
            limit=self._limit.limit,
            group_size=self._group_size,
            in_flight=self._in_flight,
            num_live=self._groups.num_live,
            admitted=self._admitted,
            submitted_groups=self._submitted_groups,
        )

    def _must_be_closed(self, consequence: str) -> None:
        if self._state is not Gate.CLOSED:
            raise IllegalMoveError(f"the gate is {self._state.name}: {consequence}")

    def _close_if_drained(self) -> None:
        if self._state is Gate.CLOSING and not self._in_flight:
            self._state = check_move(GATE_MOVES, self._state, Gate.CLOSED, "gate")
