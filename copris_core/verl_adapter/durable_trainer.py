"""verl's trainer with a ledger, and with checkpoints that hold what is in flight.

Beside verl's own files a checkpoint holds the partials, the gate, and whatever of ours has a state.
Rows that are sampled but not trained lie in verl's copy of the transfer queue.
"""

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import PPOTrainer

from copris_core.checkpoint.partials_io import read_partials, write_partials
from copris_core.checkpoint.seal import begin, seal
from copris_core.methods import Method
from copris_core.report.run_folder import read_metrics
from copris_core.rollout.events import Event, Fact
from copris_core.rollout.gate_state import GateState
from copris_core.rollout.ledger import LEDGER_FILE, Ledger
from copris_core.rollout.partials import PartialStore
from copris_core.verl_adapter.phase import SAVING
from copris_core.verl_adapter.records import RunRecord
from copris_core.verl_adapter.row_names import lengths_of, response_of
from copris_core.verl_adapter.watchdog import watched

NOTHING_IN_FLIGHT = GateState(next_order=0, growing=(), ready=())


class DurableTrainer(PPOTrainer):
    """Says in the ledger what becomes of every prompt; saves and takes up what is in flight."""

    record: RunRecord
    methods: list[Method]
    ledger: Ledger
    restored: PartialStore | None = None
    """What the checkpoint held that this process began with."""
    _row: dict[str, float]

    @property
    def current_version(self) -> int:
        """Weight updates so far: what the engine samples with, and what is updated next."""
        return self.global_steps - 1

    def init(self) -> None:
        """Build it, with somebody who looks whether everybody lives."""
        with watched(self):
            super().init()

    def fit(self, agent_loop_manager: Any) -> None:
        """Run the loop, with somebody who looks whether everybody lives."""
        with watched(self):
            super().fit(agent_loop_manager)

    # ---- what differs between trainers ----

    def partial_store(self) -> PartialStore:
        """What is in flight now, beside the weights of this step."""
        return PartialStore(version=self.global_steps, gate=NOTHING_IN_FLIGHT, responses=())

    def state_of_ours(self) -> dict[str, Any]:
        """What else must come back, as JSON."""
        return {"methods": [method.state_dict() for method in self.methods]}

    def load_state_of_ours(self, state: dict[str, Any]) -> None:
        """Take ``state_of_ours`` up again."""
        for method, each in zip(self.methods, state["methods"], strict=True):
            method.load_state_dict(each)

    # ---- the ledger ----

    def tell(self, facts: Iterable[Fact]) -> None:
        """Write facts to the ledger."""
        self.ledger.append(facts)

    def tell_rows(
        self, event: Event, lengths: Mapping[str, int], reason: str | None = None
    ) -> None:
        """One fact for each response among rows; several rows of one response are one.

        Args:
            event: what happened to them.
            lengths: response tokens by name of the row.
            reason: why, where the event asks for it.
        """
        version, step = self.current_version, self.global_steps
        responses = {response_of(key): tokens for key, tokens in lengths.items()}
        self.tell(
            Fact(event, version, key.uid, key.index, tokens, step=step, reason=reason)
            for key, tokens in responses.items()
        )

    def _submit_batch_to_rollout(self, batch: Any) -> int:
        size = self.config.actor_rollout_ref.rollout.n
        drawn = zip(batch["uid"], batch["index"], strict=True)
        self.tell(
            Fact(Event.DRAWN, self.current_version, str(uid), row=int(row), size=size)
            for uid, row in drawn
        )
        return super()._submit_batch_to_rollout(batch)

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        updated = super()._update_actor(batch, metrics)
        self.tell_rows(Event.TRAINED, lengths_of(batch))
        return updated

    def tell_end(self) -> None:
        """The last step is done."""
        live = self.partial_store().uids
        self.tell([Fact(Event.ENDED, self.current_version, live=live)])
        self.ledger.sync()

    # ---- checkpoints ----

    def _save_checkpoint(self) -> None:
        """Ours first, then verl's; the seal comes last, so that a kill leaves the one before."""
        self.record.phase(SAVING, step=self.global_steps)
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        try:
            begin(folder)
            self._save_ours(folder)
            super()._save_checkpoint()
            seal(folder, self.global_steps)
        except OSError as error:
            raise OSError(
                f"the checkpoint of step {self.global_steps} could not be written: {error}"
            ) from error

    def _save_ours(self, folder: Path) -> None:
        store = self.partial_store()
        fact = Fact(
            Event.CHECKPOINT,
            self.current_version,
            tokens=store.num_tokens,
            step=self.global_steps,
            live=store.uids,
        )
        self.tell([fact])
        self.ledger.sync()
        extra = {
            "ledger_position": self.ledger.position,
            "row": self._row,
            "weights": self.actor_rollout_wg.weights_checksum(),
            "random": random_state(),
            "ours": self.state_of_ours(),
        }
        write_partials(folder, store, extra)

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        self.ledger = Ledger(Path(self.config.run.dir) / LEDGER_FILE)
        if self.global_steps:
            self._take_up(Path(self.config.trainer.resume_from_path))
        elif self.ledger.position:
            self.ledger.resume(0, version=0, live=())

    def _take_up(self, folder: Path) -> None:
        store, extra = read_partials(folder)
        self._refuse_other_weights(folder, extra["weights"])
        self.ledger.resume(extra["ledger_position"], version=self.global_steps, live=store.uids)
        set_random_state(extra["random"])
        self.load_state_of_ours(extra["ours"])
        self._write_missing_row(extra["row"])
        self.restored = store

    def _refuse_other_weights(self, folder: Path, saved: list[int]) -> None:
        """Bit for bit; with another number of ranks the shards are others, and are not compared."""
        loaded = self.actor_rollout_wg.weights_checksum()
        if len(loaded) == len(saved) and loaded != saved:
            raise ValueError(
                f"the weights in {folder} did not come back as they were saved: remove this "
                "checkpoint, and the same command goes on from the one before it"
            )

    def _write_missing_row(self, row: dict[str, float]) -> None:
        """A kill between a checkpoint and the row of its step: what was known is written now."""
        path = Path(self.config.run.dir) / "metrics.jsonl"
        if not path.exists() or all(r["step"] != self.global_steps for r in read_metrics(path)):
            self.record.write(self.global_steps, row)


def random_state() -> dict[str, Any]:
    """Of this process's generators, as JSON."""
    name, keys, *rest = np.random.get_state()  # type: ignore[misc]  # numpy types the dict form too
    version, internal, gauss = random.getstate()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, [int(key) for key in keys], *rest],
        "torch": bytes(torch.get_rng_state().tolist()).hex(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Take ``random_state`` up again."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(torch.tensor(list(bytes.fromhex(state["torch"])), dtype=torch.uint8))
