"""The trainer modes: verl's own loop, with our methods, our gate and our record in its hooks.

``copris_sync`` is verl's synchronous trainer; ``gate_trainer.py`` has the one that samples through
the gate. The loop itself, ``PPOTrainer.fit`` and ``_step_once``, stays verl's.
"""

import time
from collections.abc import Mapping
from typing import Any

import ray
import torch
import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.debug import marked_timer

from copris_core.evaluation.validation import JudgedSample, validate
from copris_core.methods import CPPO, Method, SampledBatch, Selection
from copris_core.pruning import PruningConfig
from copris_core.rollout.events import Event, Fact
from copris_core.staleness import staleness_metrics
from copris_core.verl_adapter import losses  # noqa: F401  registers the policy loss
from copris_core.verl_adapter.correction import BatchCorrection
from copris_core.verl_adapter.fields import CURRENT_VERSION
from copris_core.verl_adapter.group_ends import NO_SPREAD
from copris_core.verl_adapter.own_method import Checked, own_method
from copris_core.verl_adapter.phase import SYNCING
from copris_core.verl_adapter.prolonged_config import filter_choice
from copris_core.verl_adapter.prolonged_trainer import ProlongedTrainer
from copris_core.verl_adapter.records import (
    RunRecord,
    first_token_lag,
    length_metrics,
    phase_seconds,
    update_metrics,
)
from copris_core.verl_adapter.row_names import lengths_of, response_of
from copris_core.verl_adapter.shaping import shaping_metrics
from copris_core.verl_adapter.worker import GateWorker


def num_ranks(config: DictConfig) -> int:
    """Trainer ranks of all nodes."""
    return int(config.trainer.nnodes * config.trainer.n_gpus_per_node)


def methods_of(config: DictConfig) -> list[Method]:
    """What chooses the rows of a step, if anything does: pruning, or a class of the user's own."""
    own = own_method(config)
    if own is not None and own.chooses_rows:
        return [Checked(own)]
    if config.pruning.name == "none":
        return []
    rule = {name: config.pruning[name] for name in ("pruning_rate", "scope", "zero_variance")}
    return [
        CPPO(
            config=PruningConfig(**rule),
            normalise_by_std=config.algorithm.norm_adv_by_std_in_grpo,
            seed=config.seed,
        )
    ]


def _is_padding(tag: Mapping[str, Any]) -> bool:
    return bool(tag.get("is_padding", False))


class RecipeTrainer(ProlongedTrainer):
    """verl's trainer plus methods and record; says nothing about how responses are sampled."""

    def __init__(self, config: DictConfig) -> None:
        """Build verl's trainer and the methods that its config turns on."""
        super().__init__(config)
        self.methods = methods_of(config)
        self.correction = BatchCorrection(config)
        self.record = RunRecord.of(config)
        self._row = {}
        self._advantages_are_set = False
        self._has_begun = False

    # ---- verl's hooks ----

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        self.record.phase("loading the policy")
        for role in self.role_worker_mapping:
            self.role_worker_mapping[role] = ray.remote(GateWorker)

    def on_validate_begin(self) -> None:
        """Say so."""
        self.record.phase("validating")

    def on_validate_end(self) -> None:
        """Before training there is no step whose row the validation could join."""
        super().on_validate_end()
        if not self._has_begun:
            self.record.write(self.global_steps, self._validation)

    def on_train_begin(self) -> None:
        """Nothing is drawn ahead."""
        super().on_train_begin()
        self._has_begun = True

    def on_step_begin(self) -> None:
        """A fresh row."""
        super().on_step_begin()
        self._row = {"time/step_begin_s": time.time()}
        self.record.phase("generating", step=self.global_steps)

    # ---- between sampling and the first forward pass ----

    def _balance_batch(self, batch: KVBatchMeta, metrics: dict[str, Any], **kwargs: Any) -> Any:
        """Verl's first touch of a sampled batch: here the methods act on it."""
        self.record.phase("updating", step=self.global_steps)
        data = self._fetch(batch, ["uid", "rm_scores"])
        reward_B = torch.stack([scores.sum() for scores in data["rm_scores"].unbind()])
        self._describe_sampled(batch, reward_B)
        self._advantages_are_set = False
        for method in self.methods:
            sampled = SampledBatch(
                step=self.global_steps,
                keys=batch.keys,
                uids=list(data["uid"]),
                reward_B=reward_B,
                length_B=torch.tensor([tag["response_len"] for tag in batch.tags]),
            )
            batch = self._carry_out(method.on_batch_sampled(sampled), batch)
        self._describe_trained(batch)
        balanced = super()._balance_batch(batch, metrics, **kwargs)
        if self._advantages_are_set:
            self._clear_padding(balanced)
        return balanced

    def _carry_out(self, selection: Selection, batch: KVBatchMeta) -> KVBatchMeta:
        """Forget the rows that were not selected; store the advantages of those that were."""
        self._row.update(selection.metrics)
        kept = [batch.keys[i] for i in selection.kept]
        dropped = sorted(set(batch.keys).difference(kept))
        if dropped:
            tq.kv_clear(keys=dropped, partition_id=batch.partition_id)
            lengths = lengths_of(batch)
            self.tell_rows(Event.PRUNED, {key: lengths[key] for key in dropped}, selection.name)
        batch = batch.select_keys(kept)
        mask = self._fetch(batch, ["response_mask"])["response_mask"]
        rows = [adv * m.float() for adv, m in zip(selection.adv_B, mask.unbind(), strict=True)]
        self._store_advantages(kept, rows, batch.partition_id)
        self._advantages_are_set = True
        return batch

    def _clear_padding(self, batch: KVBatchMeta) -> None:
        """Rows of one token that verl made up have the advantages of the row they are copies of."""
        made_up = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if _is_padding(tag)]
        if made_up:
            self._store_advantages(made_up, [torch.zeros(1)] * len(made_up), batch.partition_id)

    @staticmethod
    def _store_advantages(keys: list[str], rows: list[torch.Tensor], partition_id: str) -> None:
        adv_BT = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
        fields = TensorDict({"advantages": adv_BT, "returns": adv_BT.clone()}, batch_size=len(keys))
        tq.kv_batch_put(keys=keys, partition_id=partition_id, fields=fields)

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        return self.correction.set_old_log_probs(super()._compute_old_log_prob(batch, metrics))

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        if not self._advantages_are_set:  # recomputing on the kept rows of a group is wrong
            batch = super()._compute_advantage(batch, metrics)
        batch, of_correction = self.correction.apply(batch, self.actor_rollout_wg)
        self._row.update(of_correction)
        return batch

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        batch.extra_info[CURRENT_VERSION] = self.current_version
        batch = super()._update_actor(batch, metrics)
        self.correction.refuse_gap(metrics, num_ranks=num_ranks(self.config))
        return batch

    # ---- the record ----

    def _describe_sampled(self, batch: KVBatchMeta, reward_B: torch.Tensor) -> None:
        """Before pruning, so that reward and length are those of the policy."""
        lengths = [tag["response_len"] for tag in batch.tags]
        self._row.update(length_metrics(lengths, "drawn"))
        self._row["reward/mean"] = reward_B.mean().item()
        if self.config.reward_shaping.name != "none":
            self._row.update(shaping_metrics(self._fetch(batch, ["extra_fields"])["extra_fields"]))
        self._row["queue/rows"] = len(self.replay_buffer.partitions[batch.partition_id])
        self._row.setdefault("samples/finished", len(lengths))
        self._row.setdefault("tokens/generated", sum(lengths))

    def _describe_trained(self, batch: KVBatchMeta) -> None:
        lengths = [tag["response_len"] for tag in batch.tags]
        self._row.update(length_metrics(lengths, "trained"))
        self._row["samples/trained"] = len(lengths)
        self._row["tokens/trained"] = sum(lengths)
        actor = self.config.actor_rollout_ref.actor
        rows_per_update = actor.ppo_mini_batch_size * self.config.actor_rollout_ref.rollout.n
        self._row["optimizer/updates"] = -(-len(lengths) // rows_per_update) * actor.ppo_epochs
        self._row.update(staleness_metrics(self._versions(batch), self.current_version))
        self._row.update(first_token_lag(batch, current_version=self.current_version))

    def _versions(self, batch: KVBatchMeta) -> list[torch.Tensor]:
        """Policy version of each token of each row; the synchronous loop knows only one."""
        return [torch.full((tag["response_len"],), self.current_version) for tag in batch.tags]

    def _compute_metrics(
        self,
        batch: KVBatchMeta,
        metrics: dict[str, Any],
        timing_raw: dict[str, float],
        global_steps: int,
        epoch: int,
    ) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        self._row.update(phase_seconds(timing_raw))
        forwards = int(self._row["optimizer/updates"]) * num_ranks(self.config)
        self._row.update(update_metrics(metrics, num_forwards=forwards))
        if "val/accuracy" in metrics:
            self._row.update(self._validation)
        metrics.update(self.record.write(global_steps, self._row))
        if global_steps == self.total_training_steps:
            self.tell_end()
        if self.config.run.record_trajectories:
            self.record.write_trajectories(global_steps, batch)

    def _val_metrics_update(
        self,
        data_sources: Any,
        sample_uids: list[str],
        infos: dict[str, list[Any]],
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, float]:
        judged = zip(sample_uids, data_sources, infos["acc"], infos["reward"], strict=True)
        samples = [
            JudgedSample(uid=uid, domain=str(domain), accuracy=acc, score=score)
            for uid, domain, acc, score in judged
            if acc is not None
        ]
        weights: Any = OmegaConf.to_container(self.config.reference_reset)
        self._validation = validate(samples, weights=weights["weights"]).metrics()
        metrics = super()._val_metrics_update(data_sources, sample_uids, infos, *args, **kwargs)
        return {**metrics, **self._validation}

    def _fetch(self, batch: KVBatchMeta, fields: list[str]) -> TensorDict:
        return tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=fields
        )


@register_trainer("copris_sync")
class SyncTrainer(RecipeTrainer, PPOTrainerSync):
    """verl's synchronous trainer with methods and record: the baseline."""

    def __init__(self, config: DictConfig) -> None:
        """Build verl's trainer."""
        super().__init__(config)
        self._filtered: list[dict[str, int]] = []  # lengths by row, group for group

    # verl gives synchronous semantics to this literal alone (trainer_base.py: != "sync").
    trainer_mode = property(lambda self: "sync", lambda self, mode: None)

    def on_step_end(self) -> None:
        """New weights."""
        self.record.phase(SYNCING, step=self.global_steps)
        super().on_step_end()

    def on_init_end(self) -> None:
        """The buffer filters, if the run does."""
        super().on_init_end()
        choice, size = filter_choice(self.config), self.config.data.train_batch_size
        if choice is not None:
            self.replay_buffer.book = choice.book(groups_per_stage=size)
            self.replay_buffer.tell_filtered = self._filtered.append

    def on_step_begin(self) -> None:
        """Nothing is filtered yet."""
        super().on_step_begin()
        self._filtered.clear()

    def _describe_sampled(self, batch: KVBatchMeta, reward_B: torch.Tensor) -> None:
        lengths = lengths_of(batch)
        useless = [length for group in self._filtered for length in group.values()]
        self._row["samples/finished"] = len(lengths) + len(useless)
        self._row["tokens/generated"] = sum(lengths.values()) + sum(useless)
        super()._describe_sampled(batch, reward_B)
        for rows in (*self._filtered, lengths):
            self.tell_rows(Event.STARTED, dict.fromkeys(rows, 0))
            self.tell_rows(Event.FINISHED, rows)
        self._tell_filtered()

    def _tell_filtered(self) -> None:
        if self.replay_buffer.book is None:
            return
        self._row.update(self.replay_buffer.book.metrics())
        uids = [response_of(next(iter(rows))).uid for rows in self._filtered if rows]
        version = self.current_version
        self.tell(Fact(Event.FILTERED, version, uid, reason=NO_SPREAD) for uid in uids)

    def prepare_step(self) -> dict[str, float]:
        """Dispatch the batch; engines start on it at once, so it counts as generation."""
        with marked_timer("prepare", self.timing_raw):
            return super().prepare_step()
