"""Random lives of a gate and its trajectories, against a model made of dicts and one ``min``."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from copris_core.rollout.admission import AdmissionGate, Gate
from copris_core.rollout.concurrency import FixedLimit, waiting_margin
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.trajectory import Segment, Status, Trajectory

BUDGET_TOKENS = 4


@dataclass(slots=True)
class _Response:
    """One response as a bystander would note it down."""

    trajectory: Trajectory
    place: str = "drawn"  # drawn, waiting, running, paused, idle
    first_version: int | None = None
    delivered: list[tuple[int, float, int]] = field(
        default_factory=list
    )  # token, log-prob, version
    pending: list[tuple[int, float]] = field(default_factory=list)  # sampled in this admission
    num_admitted: int = 0
    num_left: int = 0


@dataclass(slots=True)
class _Model:
    """The gate's contract, recomputed from the facts at every question."""

    limit: int
    groups_per_stage: int
    state: str = "CLOSED"
    version: int = -1
    growing: dict[int, list[_Response]] = field(default_factory=dict)  # by draw order
    ready: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    def at(self, *places: str) -> list[tuple[int, int]]:
        return [
            (order, index)
            for order, members in sorted(self.growing.items())
            for index, member in enumerate(members)
            if member.place in places
        ]

    def enough_is_sampled(self) -> bool:
        idle = [all(each.place == "idle" for each in members) for members in self.growing.values()]
        return len(self.ready) + sum(idle) >= self.groups_per_stage

    def served(self) -> list[tuple[int, int]]:
        served = []
        while self.state == "OPEN" and self.at("waiting") and not self.enough_is_sampled():
            order, index = min(self.at("waiting"), key=lambda who: self._rank(*who))
            is_resumed = self.growing[order][index].first_version is not None
            num_held = 0 if is_resumed else len(self.at("paused"))
            if len(self.at("running")) + num_held >= self.limit:
                break
            member = self.growing[order][index]
            if member.first_version is None:
                member.first_version = self.version
            member.place = "running"
            member.num_admitted += 1
            served.append((order, index))
        return served

    def _rank(self, order: int, index: int) -> tuple[int, ...]:
        members = self.growing[order]
        version = members[index].first_version
        if version is not None:
            return (1, version, order, index)
        if any(member.first_version is not None for member in members):
            return (2, sum(member.place != "idle" for member in members), order, index)
        return (3, order, index)

    def note_leaving(self, order: int, index: int, place: str) -> None:
        self.growing[order][index].place = place
        self.growing[order][index].num_left += 1
        self.note_closing()

    def note_closing(self) -> None:
        if len(self.ready) >= self.groups_per_stage and self.state == "OPEN":
            self.state = "CLOSING"
        if self.state == "CLOSING" and not self.at("running"):
            self.state = "CLOSED"


class GateMachine(RuleBasedStateMachine):
    """Plays data source, engine, agent loops and trainer around one gate."""

    @initialize(
        limit=st.integers(1, 4),
        groups_per_stage=st.integers(1, 3),
        group_size=st.integers(1, 3),
    )
    def begin(self, limit: int, groups_per_stage: int, group_size: int) -> None:
        pool = FixedLimit(limit=limit)
        self.gate = AdmissionGate(
            limit=pool, groups_per_stage=groups_per_stage, group_size=group_size
        )
        self.model = _Model(limit, groups_per_stage)
        self.group_size = group_size
        self.num_drawn = 0
        self.num_sampled = 0
        self.num_extra_turns = 0
        self.gone: list[int] = []

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """What a real run does next; the other rules make it stray."""
        if self._ended("idle"):
            self.complete_a_group(data)
        elif self.model.state == "CLOSING":
            self.abort_all(data)
        elif self.model.state == "CLOSED" and self.gate.stage_is_over:
            self.take(data)
        elif self.model.state == "CLOSED":
            self.open_with_the_next_version()
        else:
            self.draw_what_is_wanted(data)
            self.ask(data)
            self.admit()
            self.sample_some_tokens(data)
            self.finish_some(data)

    # ---- the trainer ----

    @precondition(lambda self: self.model.state == "CLOSED")
    @rule()
    def open_with_the_next_version(self) -> None:
        self.model.version += 1
        self.gate.open(self.model.version)
        self.model.state = "OPEN"
        self.model.note_closing()

    @precondition(lambda self: self.gate.prompts_wanted())
    @rule(data=st.data())
    def draw_what_is_wanted(self, data: st.DataObject) -> None:
        wanted = self.gate.prompts_wanted()
        for _ in range(data.draw(st.integers(min(1, wanted), wanted), label="prompts drawn")):
            self.gate.draw(_uid(self.num_drawn), self.group_size)
            self.model.growing[self.num_drawn] = [
                _Response(Trajectory(prompt=(self.num_drawn,), max_tokens=BUDGET_TOKENS))
                for _ in range(self.group_size)
            ]
            self.num_drawn += 1

    @precondition(lambda self: self.model.state == "OPEN" and self.model.at("running"))
    @rule()
    def close_early(self) -> None:
        self.gate.close()
        self.model.state = "CLOSING"
        self.model.note_closing()

    @precondition(lambda self: self.model.state == "CLOSING")
    @rule(data=st.data())
    def abort_all(self, data: st.DataObject) -> None:
        for order, index in self.model.at("running"):
            self._leave(order, index, finished=data.draw(st.booleans(), label="finished first"))
        assert self.gate.state is Gate.CLOSED
        assert self.gate.in_flight == 0

    @precondition(lambda self: self.model.ready)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.model.ready)), label="groups taken")
        earliest = sorted(self.model.ready)[:count]
        assert self.gate.take(count) == [_uid(order) for order in earliest]
        self.model.ready = sorted(self.model.ready)[count:]
        self.gone += earliest

    @precondition(lambda self: self.model.failed)
    @rule()
    def take_failed(self) -> None:
        assert self.gate.take_failed() == [_uid(order) for order in self.model.failed]
        self.gone += self.model.failed
        self.model.failed = []

    # ---- the agent loops ----

    @precondition(lambda self: self.model.at("drawn", "paused"))
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        may_ask = data.draw(st.permutations(self.model.at("drawn", "paused")), label="asking")
        for order, index in may_ask[: data.draw(st.integers(0, len(may_ask)), label="how many")]:
            self._ask(order, index)

    @precondition(lambda self: self.model.at("idle"))
    @rule(data=st.data())
    def ask_for_another_turn(self, data: st.DataObject) -> None:
        order, index = data.draw(st.sampled_from(self.model.at("idle")), label="next turn of")
        member = self.model.growing[order][index]
        prompt = (*member.trajectory.prompt, *member.trajectory.tokens())
        member.trajectory = Trajectory(prompt=prompt, max_tokens=BUDGET_TOKENS)
        member.delivered = []
        self.num_extra_turns += 1
        self._ask(order, index)

    @precondition(lambda self: self.model.at("waiting"))
    @rule()
    def admit(self) -> None:
        served = self.model.served()
        assert self.gate.admit() == [ResponseKey(_uid(order), index) for order, index in served]
        for order, index in served:
            member = self.model.growing[order][index]
            so_far = [token for token, _, _ in member.delivered]
            assert member.trajectory.start() == [*member.trajectory.prompt, *so_far]

    @precondition(lambda self: self._ended("idle"))
    @rule(data=st.data())
    def complete_a_group(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self._ended("idle")), label="complete")
        self.gate.complete(_uid(order), failed=False)
        del self.model.growing[order]
        self.model.ready.append(order)
        self.model.note_closing()

    @precondition(lambda self: self._ended("drawn", "paused", "idle"))
    @rule(data=st.data(), really=st.integers(0, 3))
    def fail_a_group(self, data: st.DataObject, really: int) -> None:
        if really < 3:  # seldom, or few groups would live to be completed
            return
        order = data.draw(st.sampled_from(self._ended("drawn", "paused", "idle")), label="failed")
        self.gate.complete(_uid(order), failed=True)
        del self.model.growing[order]
        self.model.failed.append(order)

    # ---- the engine ----

    @precondition(lambda self: self.model.at("running"))
    @rule(data=st.data())
    def sample_some_tokens(self, data: st.DataObject) -> None:
        for order, index in self.model.at("running"):
            member = self.model.growing[order][index]
            room = BUDGET_TOKENS - len(member.delivered)
            for _ in range(data.draw(st.integers(0, min(2, room)), label="tokens")):
                self.num_sampled += 1  # no two tokens are alike, so none can stand for another
                token, logp = self.num_sampled, -self.num_sampled / 64
                member.pending.append((token, logp))
                member.delivered.append((token, logp, self.model.version))

    @precondition(lambda self: self.model.at("running"))
    @rule(data=st.data())
    def finish_some(self, data: st.DataObject) -> None:
        for order, index in data.draw(st.permutations(self.model.at("running")), label="finish"):
            if data.draw(st.booleans(), label="ends"):
                self._leave(order, index, finished=True)

    @precondition(lambda self: self.model.at("running"))
    @rule(data=st.data())
    def interrupt_one(self, data: st.DataObject) -> None:
        order, index = data.draw(st.sampled_from(self.model.at("running")), label="interrupt")
        self._leave(order, index, finished=False)

    # ---- the sentences ----

    @invariant()
    def every_answer_is_the_models(self) -> None:
        gate, model = self.gate, self.model
        running = model.at("running")
        assert gate.state.name == model.state
        assert sorted(gate.running()) == sorted(ResponseKey(_uid(o), i) for o, i in running)
        assert gate.in_flight == len(running)
        assert gate.num_waiting == len(model.at("waiting"))
        assert gate.num_live == len(model.at("drawn", "waiting", "running", "paused"))
        assert gate.num_ready == len(model.ready)
        assert gate.enough_is_sampled == model.enough_is_sampled()

    @invariant()
    def in_flight_never_exceeds_the_limit(self) -> None:
        assert self.gate.in_flight <= self.model.limit

    @invariant()
    def once_b_groups_are_complete_the_gate_is_not_open(self) -> None:
        assert self.gate.stage_is_over == (len(self.model.ready) >= self.model.groups_per_stage)
        assert not (self.gate.stage_is_over and self.gate.state is Gate.OPEN)

    @invariant()
    def what_is_drawn_and_unfinished_is_bounded(self) -> None:
        full = self.model.limit + waiting_margin(self.model.limit, self.group_size)
        # a multi-turn loop between turns is not live, so its return comes on top
        assert self.gate.num_live < full + self.group_size + self.num_extra_turns
        wanted = self.gate.prompts_wanted()
        with_wanted = self.gate.num_live + wanted * self.group_size
        assert wanted == 0 or full <= with_wanted < full + self.group_size
        wants = self.model.state == "OPEN" and not self.model.enough_is_sampled()
        assert (wanted > 0) == (wants and self.gate.num_live < full)

    @invariant()
    def no_token_is_lost_and_the_budget_holds(self) -> None:
        for member in self._members():
            kept, pending = member.trajectory, member.pending
            joined = zip(kept.tokens(), kept.logps(), kept.versions(), strict=True)
            tail = [(token, logp, self.model.version) for token, logp in pending]
            assert [*joined, *tail] == member.delivered
            assert kept.num_tokens + kept.remaining_tokens == BUDGET_TOKENS
            assert kept.remaining_tokens >= 0

    @invariant()
    def each_admission_ends_once_and_the_finished_do_not_run(self) -> None:
        for member in self._members():
            assert member.num_admitted - member.num_left == (member.place == "running")
            assert (member.trajectory.status is Status.RUNNING) == (member.place == "running")
            assert (member.trajectory.status is Status.FINISHED) == (member.place == "idle")

    def teardown(self) -> None:
        """From wherever the run stopped, every drawn prompt must still come out exactly once."""
        while self.model.growing:
            self._finish_a_stage()
        self.gone += self.model.ready + self.model.failed
        assert sorted(self.gone) == list(range(self.num_drawn))

    # ---- helpers ----

    def _finish_a_stage(self) -> None:
        if self.model.state == "CLOSED":
            self.gone += sorted(self.model.ready)
            self.gate.take(len(self.model.ready))
            self.model.ready = []
            self.open_with_the_next_version()
        for order, index in self.model.at("drawn", "paused"):
            self._ask(order, index)
        self.admit()
        assert self.model.state == "CLOSING" or self.model.at("running") or self._ended("idle")
        for order, index in self.model.at("running"):
            self._leave(order, index, finished=True)
        for order in self._ended("idle"):
            self.gate.complete(_uid(order), failed=False)
            del self.model.growing[order]
            self.model.ready.append(order)
            self.model.note_closing()
        self.every_answer_is_the_models()

    def _ask(self, order: int, index: int) -> None:
        self.gate.ask(ResponseKey(_uid(order), index))
        self.model.growing[order][index].place = "waiting"

    def _leave(self, order: int, index: int, *, finished: bool) -> None:
        """One engine output comes back, as the router would report it."""
        member = self.model.growing[order][index]
        tokens = [token for token, _ in member.pending]
        logps = [logp for _, logp in member.pending]
        segment = Segment.sampled(tokens, logps, self.model.version)
        member.pending = []
        member.trajectory.absorb(segment, finished=finished)
        ends = finished or len(member.delivered) == BUDGET_TOKENS
        self.gate.settle(ResponseKey(_uid(order), index), interrupted=not ends)
        self.model.note_leaving(order, index, "idle" if ends else "paused")

    def _members(self) -> list[_Response]:
        return [member for members in self.model.growing.values() for member in members]

    def _ended(self, *places: str) -> list[int]:
        return [
            order
            for order, members in sorted(self.model.growing.items())
            if all(member.place in places for member in members)
        ]


def _uid(order: int) -> str:
    """A name that sorts against the draw order, so that names cannot stand in for it."""
    return f"{9999 - order}"


TestGateMachine = GateMachine.TestCase
TestGateMachine.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
