"""The trainer that samples through the gate: stop at B groups, update, resume the rest first."""

import time
from typing import Any

import ray
import torch
import transfer_queue as tq
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.utils import tensordict_utils as tu
from verl.utils.debug import marked_timer

from copris_core.rollout.gate_state import GateState
from copris_core.rollout.partials import PartialResponse, PartialStore
from copris_core.rollout.reconcile import reconciled
from copris_core.verl_adapter.agent_loop import StoredGroup
from copris_core.verl_adapter.client import GateClient
from copris_core.verl_adapter.fields import VERSION_FIELD
from copris_core.verl_adapter.phase import STOPPING, SYNCING
from copris_core.verl_adapter.row_names import response_of
from copris_core.verl_adapter.shaping import scores_of_rows
from copris_core.verl_adapter.stage_logprobs import StageScorer
from copris_core.verl_adapter.trainer import RecipeTrainer

ABSORB_TIMEOUT_S = 30.0
"""An answer travels from router to client in milliseconds; longer means that a worker hangs."""

ABSORB_POLL_S = 0.005


@register_trainer("copris")
class GateTrainer(RecipeTrainer):
    """verl's trainer with a gate in front of its engines."""

    _parked: ray.ObjectRef | None = None
    """Answer of the gate, once its engines stand still."""

    def get_llm_client(self) -> GateClient:
        """Give agent loops the client that passes the gate."""
        return self.llm_server_manager.get_client(client_cls=GateClient)

    @property
    def parks(self) -> bool:
        """Whether unfinished responses stay in their engines over an update."""
        return bool(self.config.strategy.park)

    @property
    def gate(self) -> ray.actor.ActorHandle:
        """The router actor that holds the gate."""
        return self.llm_server_manager.global_load_balancer

    # ---- verl's hooks ----

    def on_init_end(self) -> None:
        """The engines take the trainer's weights, a loaded checkpoint's included."""
        self.replay_buffer.gate = self.gate
        self.replay_buffer.stop = self._stop
        if self.restored is not None:
            ray.get(self.gate.restore.remote(self.restored.gate, list(self.restored.responses)))
        self.record.phase(SYNCING)
        self.checkpoint_manager.update_weights(self.global_steps)

    def prepare_step(self) -> dict[str, float]:
        """Draws nothing: prompts are drawn on demand while the stage runs."""
        return {}

    def on_sample_begin(self) -> None:
        """Open the gate: partials resume first."""
        ray.get(self.gate.open.remote(self.current_version))

    def _stop(self) -> None:
        """The gate has closed itself; park or abort what runs.

        Requests that were admitted but have not reached an engine are refused by it and come back
        as partials without new tokens. Engines stop while the rows of the stage are read.
        """
        self.record.phase(STOPPING, step=self.global_steps)
        if self.parks:
            self._parked = self.gate.park.remote()
        else:
            self.checkpoint_manager.abort_replicas(reject_request=True)

    def on_sample_end(self) -> None:
        """Wait for every answer; note what the stage came to."""
        if self.parks:
            ray.get(self._parked)
        ray.get(self.gate.drained.remote())
        report, facts = ray.get(self.gate.end_stage.remote())
        self._row.update(report)
        self.tell(facts)
        if not self.parks:  # an engine that sleeps cannot be parked in
            self.checkpoint_manager.sleep_replicas()

    def on_step_end(self) -> None:
        """New weights; engines accept requests again, the gate stays closed until it opens."""
        self.record.phase(SYNCING, step=self.global_steps)
        with marked_timer("update_weights", self.timing_raw):
            self.checkpoint_manager.update_weights(self.global_steps)
            if not self.parks:  # else the gate lets them run
                self.checkpoint_manager.resume_generation_replicas()

    def on_validate_begin(self) -> None:
        """Validation has the engines to itself: whoever is parked goes back to its client."""
        super().on_validate_begin()
        self._unpark()

    def _unpark(self) -> None:
        if self.parks:
            ray.get(self.gate.unpark.remote())

    def _balance_batch(self, batch: KVBatchMeta, metrics: dict[str, Any], **kwargs: Any) -> Any:
        if self.correction.choice.name == "stage":
            with marked_timer("old_log_prob", self.timing_raw):
                self._score_stage()
        return super()._balance_batch(batch, metrics, **kwargs)

    def _score_stage(self) -> None:
        """The trainer's log-probs of this stage's tokens, while it has the weights for them."""
        version = self.current_version
        scorer = StageScorer(self.config)
        scored = scorer.end_stage(self.actor_rollout_wg, self._unfinished(), version=version)
        self.agent_loop_manager.rescore(version, scored.logps)
        self._row.update(scored.metrics)

    def _submit_batch_to_rollout(self, batch: TensorDict) -> int:
        sizes = [self.config.actor_rollout_ref.rollout.n] * len(batch)
        ray.get(self.gate.draw.remote(list(batch["uid"]), sizes))
        return super()._submit_batch_to_rollout(batch)

    def _versions(self, batch: KVBatchMeta) -> list[torch.Tensor]:
        return list(self._fetch(batch, [VERSION_FIELD])[VERSION_FIELD].unbind())

    # ---- what is in flight, across a restart ----

    def partial_store(self) -> PartialStore:
        """Every response that has begun and the gate's order, once nothing is under way."""
        self._unpark()
        responses = self._unfinished()
        gate: GateState = ray.get(self.gate.snapshot.remote())
        self.tell(ray.get(self.gate.facts.remote()))
        return reconciled(version=self.global_steps, gate=gate, responses=responses)

    def _unfinished(self) -> list[PartialResponse]:
        """What the clients hold, as soon as they have taken every answer that the router gave."""
        deadline_s = time.monotonic() + ABSORB_TIMEOUT_S
        while time.monotonic() < deadline_s:
            responses, num_absorbed = self.agent_loop_manager.unfinished()
            if num_absorbed == ray.get(self.gate.num_answers.remote()):
                return responses
            time.sleep(ABSORB_POLL_S)
        raise RuntimeError(
            f"an agent-loop worker took no answer of the engines within {ABSORB_TIMEOUT_S:.0f} s"
        )

    def _reissue_inflight_prompts(self, partition_id: str = "train") -> int:
        """Dispatch the restored groups; their stored members and their tokens are kept."""
        if self.restored is None:
            return 0
        self._forget_trained_rows(partition_id, set(self.restored.uids))
        uids = [group.uid for group in self.restored.gate.growing]
        if uids:
            prompts = tq.kv_batch_get(keys=uids, partition_id=partition_id)
            tu.assign_non_tensor_data(prompts, "global_steps", self.global_steps)
            stored = self._stored_groups(partition_id, uids)
            self.agent_loop_manager.resume(prompts, list(self.restored.responses), stored)
        self.restored = None  # all of it lives in the gate and the clients now
        return len(uids)

    def _forget_trained_rows(self, partition_id: str, live: set[str]) -> None:
        """Verl saves the queue before it clears the rows that the step has trained."""
        keys = tq.kv_list(partition_id).get(partition_id, {})
        trained = [key for key in keys if key.split("_", 1)[0] not in live]
        if trained:
            tq.kv_clear(keys=trained, partition_id=partition_id)

    def _stored_groups(self, partition_id: str, uids: list[str]) -> list[StoredGroup]:
        lengths: dict[str, dict[int, int]] = {uid: {} for uid in uids}
        for key, tag in tq.kv_list(partition_id).get(partition_id, {}).items():
            if not tag.get("is_prompt", False) and (response := response_of(key)).uid in lengths:
                lengths[response.uid][response.index] = tag["response_len"]
        return [
            StoredGroup(uid=uid, lengths=each, scores=self._stored_scores(partition_id, uid, each))
            for uid, each in lengths.items()
        ]

    def _stored_scores(
        self, partition_id: str, uid: str, lengths: dict[int, int]
    ) -> dict[int, float]:
        """By index; only where complete groups are judged by them."""
        if self.config.group_filter.name == "none":
            return {}
        rows = [f"{uid}_{index}_0" for index in sorted(lengths)]
        return dict(zip(sorted(lengths), scores_of_rows(partition_id, rows), strict=True))

    def state_of_ours(self) -> dict[str, Any]:
        """The gate's limit too, if it has learnt something."""
        return {**super().state_of_ours(), "limit": ray.get(self.gate.limit_state.remote())}

    def load_state_of_ours(self, state: dict[str, Any]) -> None:
        """Take it up again."""
        super().load_state_of_ours(state)
        ray.get(self.gate.load_limit_state.remote(state["limit"]))
