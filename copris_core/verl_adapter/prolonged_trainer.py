"""What changes from step to step in a prolonged run: coefficients, reference, length budget.

``copris_core.controllers`` decides; this trainer measures what they decide by, and carries it out.
Decisions of a step are made right after its update, so that its checkpoint holds what they did;
those of a validation come after the checkpoint, and a run that resumes there repeats them.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from omegaconf import DictConfig
from transfer_queue import KVBatchMeta

from copris_core.controllers.prolonged import Orders, Prolonged, StepFacts
from copris_core.controllers.reference_reset import ResetOrder
from copris_core.report.run_folder import read_metrics
from copris_core.verl_adapter.durable_trainer import DurableTrainer
from copris_core.verl_adapter.prolonged_config import prolonged_choice
from copris_core.verl_adapter.scoring import fetch

REFERENCE_FOLDER: Final = "reference"
"""Of a checkpoint: the reference's weights, once they are no longer those of the first policy."""

STATE: Final = "prolonged"

KL_OF_UPDATE: Final = "actor/kl_loss"
"""verl's name for KL(policy || reference) as the loss has it: of the policy that is updated, on
tokens of older policies too, whose own distance to the reference says nothing of it."""


class ProlongedTrainer(DurableTrainer):
    """verl's trainer with the controllers of a prolonged run."""

    def __init__(self, config: DictConfig) -> None:
        """Build verl's trainer and the controllers that its config turns on."""
        super().__init__(config)
        self.prolonged: Prolonged | None = prolonged_choice(config).controllers()
        self._validation: dict[str, float] = {}

    # ---- what is decided by ----

    def _mean_entropy(self, batch: KVBatchMeta) -> float:
        """Minus the mean log-prob of sampled tokens: unbiased for the policy that sampled them."""
        rows = _rows(batch, ["rollout_log_probs", "response_mask"])
        return -float(torch.cat([logp[mask.bool()] for logp, mask in rows]).mean())

    # ---- when ----

    def on_train_begin(self) -> None:
        """The first update, too, has the controllers' coefficients."""
        super().on_train_begin()
        if self.prolonged is not None:
            self._obey(self.prolonged.orders())

    def on_step_begin(self) -> None:
        """Responses that begin in this step get its length."""
        super().on_step_begin()
        if self.prolonged is not None:
            budget = self.prolonged.response_budget(self.global_steps)
            if budget is not None:
                self.agent_loop_manager.set_response_budget(budget)

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        batch = super()._update_actor(batch, metrics)
        if self.prolonged is not None:
            lengths = [tag["response_len"] for tag in batch.tags if not tag.get("is_padding")]
            facts = StepFacts(
                step=self.global_steps,
                kl=metrics.get(KL_OF_UPDATE),
                entropy=self._mean_entropy(batch),
                mean_length=sum(lengths) / len(lengths),
            )
            self._obey(self.prolonged.on_step(facts))
            self._row.update(self.prolonged.metrics())
        return batch

    def on_validate_end(self) -> None:
        """A reference may be reset for what a validation shows."""
        super().on_validate_end()
        self._heed(self.global_steps, self._validation)

    def _heed(self, step: int, row: Mapping[str, float]) -> None:
        accuracies = {
            found[1]: float(value)
            for key, value in row.items()
            if (found := re.fullmatch(r"val/([^/]+)/accuracy", key))
        }
        if accuracies and self.prolonged is not None:
            self._obey(self.prolonged.on_validation(step, accuracies))
            self._row.update(self.prolonged.metrics())

    # ---- what is done ----

    def _obey(self, orders: Orders) -> None:
        if orders.reset is not None:
            self._reset_reference(orders.reset)
        wanted = {"kl": orders.kl_coefficient, "entropy": orders.entropy_coefficient}
        if any(value is not None for value in wanted.values()):
            self.actor_rollout_wg.set_loss_coefficients(**wanted)

    def _reset_reference(self, order: ResetOrder) -> None:
        self.record.phase("resetting the reference", step=self.global_steps)
        self.actor_rollout_wg.reset_reference(order.reset_optimizer)
        self.record.note_reset(order)

    # ---- across a restart ----

    def state_of_ours(self) -> dict[str, Any]:
        """The controllers too."""
        ours = super().state_of_ours()
        return ours if self.prolonged is None else {**ours, STATE: self.prolonged.state_dict()}

    def load_state_of_ours(self, state: dict[str, Any]) -> None:
        """Take them up again."""
        super().load_state_of_ours(state)
        if self.prolonged is not None:
            self.prolonged.load_state_dict(state[STATE])

    @property
    def _was_reset(self) -> bool:
        return self.prolonged is not None and self.prolonged.reset_count > 0

    def _save_ours(self, folder: Path) -> None:
        super()._save_ours(folder)
        if self._was_reset:
            self.actor_rollout_wg.save_reference(str(folder / REFERENCE_FOLDER))

    def _take_up(self, folder: Path) -> None:
        super()._take_up(folder)
        if self._was_reset:
            self.actor_rollout_wg.load_reference(str(folder / REFERENCE_FOLDER))
        path = Path(self.config.run.dir) / "metrics.jsonl"
        rows = read_metrics(path) if path.exists() else []
        for row in rows:  # what followed on the checkpoint in the process before this one
            if row["step"] == self.global_steps:
                self._heed(self.global_steps, row)


def _rows(batch: KVBatchMeta, names: Sequence[str]) -> list[tuple[torch.Tensor, ...]]:
    """Fields of each row; without those that verl made up to fill the batch."""
    rows = zip(*fetch(batch, names), strict=True)
    tags = zip(rows, batch.tags, strict=True)
    return [row for row, tag in tags if not tag.get("is_padding", False)]
