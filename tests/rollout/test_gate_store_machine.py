"""Random lives of a run that is killed and resumed: no response and no token is lost or repeated.

Gate, witness, store and ledger are the real ones; trainer, engines and clients are played. The
model knows which tokens each response was given on the timeline that counts; a kill takes the
model back to the checkpoint as it takes everything else back. Only token numbers never go back, so
that a token of an undone timeline cannot pass for one that counts.
"""

import copy
import json
import shutil
import tempfile
from array import array
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from copris_core.report.audit import audit
from copris_core.rollout.admission import AdmissionGate, Gate
from copris_core.rollout.concurrency import FixedLimit
from copris_core.rollout.events import Event, Fact
from copris_core.rollout.ledger import LEDGER_FILE, Ledger, SavedLedger
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.partials import ARRAYS, PartialResponse, PartialStore
from copris_core.rollout.trajectory import Segment, Status, Trajectory
from tests.rollout.played_run import Checkpoint, Process, Timeline, joined, place_of

BUDGET_TOKENS = 4
PROMPT = (7, 7)

HOW_TO_DIE = ["not yet"] * 5 + ["at any moment", "during a save", "resume an older one"]


class GateStoreMachine(RuleBasedStateMachine):
    """Plays a run around gate, witness, store and ledger, and kills it."""

    @initialize(
        limit=st.integers(1, 4), groups_per_stage=st.integers(1, 2), group_size=st.integers(1, 3)
    )
    def begin(self, limit: int, groups_per_stage: int, group_size: int) -> None:
        self.size, self.groups_per_stage, self.limit = group_size, groups_per_stage, limit
        self.path = Path(tempfile.mkdtemp()) / LEDGER_FILE
        self.truth, self.checkpoints = Timeline(), list[Checkpoint]()
        self.num_sampled = self.num_drawn = 0
        self.run = Process(gate=self._gate(), ledger=Ledger(self.path))

    @rule(data=st.data(), num_moves=st.integers(1, 6))
    def go_on(self, data: st.DataObject, num_moves: int) -> None:
        """What a real run does next; the other rules make it stray."""
        for _ in range(num_moves):
            self._go_on(data)

    def _go_on(self, data: st.DataObject) -> None:
        if self._complete_groups():
            self.complete_a_group(data)
        elif self.run.gate.state is Gate.CLOSING:
            self.abort_all(data)
        elif self.run.gate.state is Gate.CLOSED and self.run.gate.stage_is_over:
            self.train_a_batch()
        elif self.run.gate.state is Gate.CLOSED:
            self.open()
        else:
            self.draw_what_is_wanted()
            self.ask(data)
            self.admit()
            self.sample_some_tokens(data)
            self.some_leave(data)

    # ---- the trainer ----

    @precondition(lambda self: self.run.gate.state is Gate.CLOSED)
    @rule()
    def open(self) -> None:
        self.run.gate.open(self.run.version)

    @precondition(lambda self: self.run.gate.prompts_wanted())
    @rule()
    def draw_what_is_wanted(self) -> None:
        for _ in range(self.run.gate.prompts_wanted()):
            uid = f"{9999 - self.num_drawn}"  # a draw after a restart has another uid
            self.num_drawn += 1
            row, self.run.cursor = self.run.cursor, self.run.cursor + 1
            self.run.gate.draw(uid, self.size)
            self.run.ledger.append(
                [Fact(Event.DRAWN, self.run.version, uid, row=row, size=self.size)]
            )
            self.run.rows[uid] = row
            for index in range(self.size):
                self.run.places[ResponseKey(uid, index)] = "drawn"
                self.truth.delivered[row, index] = []

    @precondition(lambda self: self.run.gate.state is Gate.OPEN)
    @rule()
    def close_early(self) -> None:
        self.run.gate.close()

    @precondition(lambda self: self.run.gate.state is Gate.CLOSING)
    @rule(data=st.data())
    def abort_all(self, data: st.DataObject) -> None:
        for key in self._at("running"):
            self._leave(key, data.draw(st.sampled_from(["paused", "done"]), label="left"))
        assert self.run.gate.state is Gate.CLOSED

    @precondition(lambda self: self.run.gate.state is Gate.CLOSED and self.run.gate.stage_is_over)
    @rule()
    def train_a_batch(self) -> None:
        self.train(self.groups_per_stage)

    def train(self, num_groups: int) -> None:
        uids = self.run.gate.take(num_groups)
        self.run.witness.forget(uids)
        self.run.ledger.append(self.run.witness.take())
        step = self.run.version + 1
        for uid in uids:
            row = self.run.rows.pop(uid)
            for index in range(self.size):
                calls = self.run.calls.pop(ResponseKey(uid, index))
                assert joined(calls) == self.truth.delivered[row, index]
                fact = Fact(Event.TRAINED, self.run.version, uid, index, step=step)
                self.run.ledger.append([fact])
            self.truth.ended.append(row)
        self.run.version += 1

    # ---- the agent loops ----

    @precondition(lambda self: self._at("drawn", "paused", "stumbled"))
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        keys = data.draw(st.permutations(self._at("drawn", "paused", "stumbled")), label="asking")
        for key in keys[: data.draw(st.integers(0, len(keys)), label="how many")]:
            self._ask(key)

    @precondition(lambda self: self._at("done"))
    @rule(data=st.data(), really=st.integers(0, 1))
    def ask_for_another_turn(self, data: st.DataObject, really: int) -> None:
        key = data.draw(st.sampled_from(self._at("done")), label="next turn of")
        if not really and len(self.run.calls[key]) < 3:
            self.run.calls[key].append(Trajectory(prompt=PROMPT, max_tokens=BUDGET_TOKENS))
            self._ask(key)

    @rule()
    def admit(self) -> None:
        for key in self.run.gate.admit():
            had = sum(call.num_tokens for call in self.run.calls[key])
            self.run.witness.admitted(key, self.run.version, had=had)
            self.run.places[key] = "running"
            call = self.run.calls[key][-1]
            assert call.start() == [*PROMPT, *call.tokens()]

    @precondition(lambda self: self._complete_groups())
    @rule(data=st.data())
    def complete_a_group(self, data: st.DataObject) -> None:
        self._complete(data.draw(st.sampled_from(self._complete_groups()), label="complete"))

    def _complete(self, uid: str) -> None:
        keys = [ResponseKey(uid, index) for index in range(self.size)]
        self.run.gate.complete(uid, failed=False)
        lengths = {key.index: len(joined(self.run.calls[key])) for key in keys}
        self.run.witness.completed(uid, self.run.version, lengths)
        for key in keys:
            del self.run.places[key]

    @precondition(lambda self: self._complete_groups())
    @rule(data=st.data(), really=st.integers(0, 2))
    def fail_a_group(self, data: st.DataObject, really: int) -> None:
        if really:  # seldom, or few groups would live to be trained
            return
        uid = data.draw(st.sampled_from(self._complete_groups()), label="failed")
        self.run.gate.complete(uid, failed=True)
        self.run.witness.failed(uid, self.run.version, "the reward crashed")
        self.truth.failed.append(self.run.rows.pop(uid))
        for index in range(self.size):
            del self.run.places[ResponseKey(uid, index)], self.run.calls[ResponseKey(uid, index)]

    # ---- the engines ----

    @precondition(lambda self: self._at("running"))
    @rule(data=st.data())
    def sample_some_tokens(self, data: st.DataObject) -> None:
        """An engine's answer: some tokens and an abort, after which the client asks again."""
        for key in self._at("running"):
            if data.draw(st.booleans(), label="interrupted"):
                self._leave(key, "paused", data.draw(st.integers(0, 2), label="tokens"))

    @precondition(lambda self: self._at("running"))
    @rule(data=st.data())
    def some_leave(self, data: st.DataObject) -> None:
        for key in data.draw(st.permutations(self._at("running")), label="leaving"):
            left = data.draw(st.sampled_from(["done", "done", "stays", "stumbled"]), label="how")
            if left != "stays":
                num_tokens = 0 if left == "stumbled" else data.draw(st.integers(0, 3), label="n")
                self._leave(key, left, num_tokens)

    # ---- death and resurrection ----

    @precondition(lambda self: self.run.gate.state is Gate.CLOSED)
    @rule()
    def save(self) -> None:
        self.checkpoints.append(self._saved())

    @precondition(lambda self: self._at("running"))
    @rule(data=st.data())
    def stop_the_stage_and_save(self, data: st.DataObject) -> None:
        """In the midst of a stage, so that there are partials to save."""
        if self.run.gate.state is Gate.OPEN:
            self.run.gate.close()
        for key in self._at("running"):
            self._leave(key, "paused", data.draw(st.integers(0, 2), label="tokens"))
        self.save()

    @rule(data=st.data(), how=st.sampled_from(HOW_TO_DIE))
    def kill(self, data: st.DataObject, how: str) -> None:
        """Seldom, or no run would come far."""
        if how == "during a save" and self.run.gate.state is Gate.CLOSED:
            self._saved()  # the ledger speaks of a checkpoint that never got its seal
            self.die_and_resume(data, -1)
        elif how == "resume an older one" and self.checkpoints:
            # also one of a timeline that was left
            self.die_and_resume(data, data.draw(st.integers(0, len(self.checkpoints) - 1)))
        elif how == "at any moment":
            self.die_and_resume(data, -1)

    def die_and_resume(self, data: st.DataObject, which: int) -> None:
        torn = data.draw(st.booleans(), label="torn line")
        with self.path.open("ab") as file:
            file.write(b'{"seq": 123456, "event": "tra' if torn else b"")
        ledger = Ledger(self.path)
        if not self.checkpoints:
            ledger.resume(0, version=0, live=())
            self.run, self.truth = Process(gate=self._gate(), ledger=ledger), Timeline()
            return
        saved = self.checkpoints[which]
        self.truth = copy.deepcopy(saved.truth)
        self.run = self._resumed(saved, ledger)

    def _saved(self) -> Checkpoint:
        run = self.run
        responses = [
            PartialResponse(key=key, calls=tuple(call.at_rest() for call in calls))
            for key, calls in run.calls.items()
        ]
        state = run.gate.snapshot()
        store = PartialStore.of(version=run.version, gate=state, responses=responses)
        run.ledger.append(run.witness.take())
        run.ledger.append([Fact(Event.CHECKPOINT, run.version, step=run.version, live=store.uids)])
        head, arrays = store.pack()
        extra = {"cursor": run.cursor, "position": run.ledger.position, "rows": run.rows}
        return Checkpoint(
            text=json.dumps({"head": head, "extra": extra}),
            arrays={name: each.tobytes() for name, each in arrays.items()},
            truth=copy.deepcopy(self.truth),
        )

    def _resumed(self, saved: Checkpoint, ledger: Ledger) -> Process:
        read = json.loads(saved.text)
        arrays = {name: array(ARRAYS[name], data) for name, data in saved.arrays.items()}
        store, extra = PartialStore.unpack(read["head"], arrays), read["extra"]
        run = Process(
            gate=self._gate(),
            ledger=ledger,
            version=store.version,
            cursor=extra["cursor"],
            rows=extra["rows"],
            calls={response.key: list(response.calls) for response in store.responses},
        )
        run.gate.restore(store.gate)
        run.witness.restored(store.responses)
        ledger.resume(extra["position"], version=store.version, live=store.uids)
        for group in store.gate.growing:
            for index, member in enumerate(group.members):
                key = ResponseKey(group.uid, index)
                run.places[key] = place_of(member.place, run.calls.get(key))
        assert run.gate.snapshot() == store.gate
        return run

    # ---- the sentences ----

    @invariant()
    def every_response_has_exactly_the_tokens_that_it_was_given(self) -> None:
        for key, calls in self.run.calls.items():
            given = self.truth.delivered[self.run.rows[key.uid], key.index]
            assert joined(calls) == given
            assert all(call.num_tokens <= BUDGET_TOKENS for call in calls)

    @invariant()
    def every_row_read_is_trained_failed_or_live(self) -> None:
        rows = [*self.truth.ended, *self.truth.failed, *self.run.rows.values()]
        assert sorted(rows) == list(range(self.run.cursor))

    def teardown(self) -> None:
        """From wherever the run stopped, it ends well and the audit agrees."""
        try:
            self._end_well()
        finally:
            shutil.rmtree(self.path.parent)

    def _end_well(self) -> None:
        while self.run.rows:
            self._finish_a_stage()
        self.run.ledger.append(self.run.witness.take())
        self.run.ledger.append([Fact(Event.ENDED, self.run.version, live=())])
        lines = list(SavedLedger(self.path))
        if not any(event.fact.event is Event.DRAWN for event in lines):
            return
        found = audit(lines, num_rows=max(1, self.run.cursor))
        assert found.duplicated == {}
        assert sorted(found.lost.values()) == ["failed: the reward crashed"] * len(
            self.truth.failed
        )
        assert found.groups["drawn"] == self.run.cursor
        assert found.groups["trained"] == len(self.truth.ended)
        assert found.responses["trained"] == self.size * len(self.truth.ended)
        given = [
            len(self.truth.delivered[row, i]) for row in self.truth.ended for i in range(self.size)
        ]
        assert found.lengths["trained"].n == len(given)
        assert not given or found.lengths["trained"].mean == sum(given) / len(given)

    # ---- helpers ----

    def _gate(self) -> AdmissionGate:
        return AdmissionGate(
            limit=FixedLimit(limit=self.limit),
            groups_per_stage=self.groups_per_stage,
            group_size=self.size,
        )

    def _at(self, *places: str) -> list[ResponseKey]:
        return sorted(key for key, place in self.run.places.items() if place in places)

    def _complete_groups(self) -> list[str]:
        growing = {key.uid for key in self.run.places}
        return sorted(
            growing - {key.uid for key in self.run.places if self.run.places[key] != "done"}
        )

    def _ask(self, key: ResponseKey) -> None:
        fresh = [Trajectory(prompt=PROMPT, max_tokens=BUDGET_TOKENS)]
        self.run.calls.setdefault(key, fresh)
        self.run.gate.ask(key)
        self.run.places[key] = "waiting"

    def _leave(self, key: ResponseKey, left: str, num_tokens: int = 1) -> None:
        """One engine answers: the response is done, paused (aborted) or has met an error."""
        calls = self.run.calls[key]
        if left == "stumbled":
            calls[-1] = calls[-1].at_rest()
            self.run.witness.sampled(key, num_tokens)  # by the engine; its client refused them
            self.run.gate.settle(key, interrupted=False)
        else:
            tokens = range(self.num_sampled, self.num_sampled + num_tokens)[
                : calls[-1].remaining_tokens
            ]
            self.num_sampled += len(tokens)
            segment = Segment.sampled(tokens, [-t / 64 for t in tokens], self.run.version)
            calls[-1].absorb(segment, finished=left == "done")
            left = "done" if calls[-1].status is Status.FINISHED else "paused"
            self.run.witness.sampled(key, len(tokens))
            self.run.gate.settle(key, interrupted=left == "paused")
            row = self.run.rows[key.uid]
            self.truth.delivered[row, key.index] += [(t, -t / 64, self.run.version) for t in tokens]
        self.run.places[key] = left

    def _finish_a_stage(self) -> None:
        if self.run.gate.state is Gate.CLOSED:
            self.train(self.run.gate.num_ready)
            self.open()
        for key in self._at("drawn", "paused", "stumbled"):
            self._ask(key)
        self.admit()
        for key in self._at("running"):
            self._leave(key, "done")
        for uid in self._complete_groups():
            self._complete(uid)
        if self.run.gate.state is Gate.OPEN and not self.run.places:
            self.run.gate.close()


TestGateStoreMachine = GateStoreMachine.TestCase
TestGateStoreMachine.settings = settings(
    max_examples=max(200, settings().max_examples), stateful_step_count=60, deadline=None
)
