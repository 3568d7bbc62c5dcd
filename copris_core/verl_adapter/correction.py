"""The correction between sampling and update: old log-probs, importance weights, rejection.

Ours rather than verl's ``rollout_correction``, see ``correction_config.VERLS_OWN``; the numbers are
the same. Shapes: B rows of a batch, T response tokens (padded).
"""

from collections.abc import Mapping
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transfer_queue import KVBatchMeta

from copris_core.losses.correction import (
    importance_weights,
    rejected,
    rejected_fraction,
    truncated,
    weight_statistics,
)
from copris_core.losses.importance import gap_complaint
from copris_core.verl_adapter.correction_config import CorrectionConfig
from copris_core.verl_adapter.errors import TrainingError
from copris_core.verl_adapter.fields import SAMPLED_MASK_FIELD, STAGE_FIELD
from copris_core.verl_adapter.scoring import fetch, score, store

GAP: Final = "actor/logprob_gap"
"""Under what name verl hands on what ``MeasuredLoss`` measured."""


class BatchCorrection:
    """Carries the run's choice out on a batch in the transfer queue."""

    def __init__(self, config: DictConfig) -> None:
        """Read the group ``correction``, and what a forward pass needs."""
        settings: Any = OmegaConf.to_container(config.correction, resolve=True)
        self.choice = CorrectionConfig(**settings)
        self._temperature = config.actor_rollout_ref.rollout.temperature

    def set_old_log_probs(self, batch: KVBatchMeta) -> KVBatchMeta:
        """After verl has set them: with ``stage``, those of each token's stage instead."""
        if self.choice.name != "stage":
            return batch
        stages, masks = fetch(batch, [STAGE_FIELD, "response_mask"])
        # A row that verl made up to fill a batch has the field of the row it was copied from.
        old = [stage[: len(mask)] for stage, mask in zip(stages, masks, strict=True)]
        return store(batch, {"old_log_probs": old})

    def apply(self, batch: KVBatchMeta, workers: Any) -> tuple[KVBatchMeta, dict[str, float]]:
        """After advantages and old log-probs: store weights and masks; say what they did.

        Args:
            batch: the rows of the update, padding rows included.
            workers: verl's actor worker group, with the weights before the update.

        Raises:
            TrainingError: every token was rejected.
        """
        if self.choice.level is None and not self.choice.rejects:
            return batch, {}
        masks = fetch(batch, ["response_mask"])[0]
        log_ratio_BT, mask_BT = self._log_ratio(batch, workers), _pad(masks).bool()
        weights, of_weights = self._weights(log_ratio_BT, mask_BT)
        kept, of_rejection = self._rejection(log_ratio_BT, mask_BT)
        lengths = [len(mask) for mask in masks]
        rows = {name: _cut(value_BT, lengths) for name, value_BT in (weights | kept).items()}
        metrics = {f"correction/{name}": x for name, x in (of_weights | of_rejection).items()}
        return store(batch, rows), metrics

    def refuse_gap(self, metrics: Mapping[str, float], *, num_ranks: int) -> None:
        """End the run if engine and trainer disagree about what the present weights sampled.

        Args:
            metrics: verl's, after the update of the actor; means over the ranks of each one's sums.
            num_ranks: how many ranks those are.

        Raises:
            TrainingError: the mean gap is above ``correction.max_logprob_gap``.
        """
        tokens_per_rank = metrics.get(f"{GAP}/tokens", 0)
        if not tokens_per_rank:
            return
        complaint = gap_complaint(
            metrics[f"{GAP}/abs_sum"] / tokens_per_rank,
            round(tokens_per_rank * num_ranks),
            limit=self.choice.max_logprob_gap,
        )
        if complaint is not None:
            raise TrainingError(complaint)

    def _log_ratio(self, batch: KVBatchMeta, workers: Any) -> Tensor:
        """[B, T] log of the policy before the update over the one that sampled."""
        behaviour = STAGE_FIELD if self.choice.name == "stage" else "rollout_log_probs"
        if self.choice.anchors_on_behaviour:
            now = score(workers, batch, temperature=self._temperature)
        else:
            now = fetch(batch, ["old_log_probs"])[0]
        sampled = fetch(batch, [behaviour])[0]
        return _pad([x - y[: len(x)] for x, y in zip(now, sampled, strict=True)])

    def _weights(
        self, log_ratio_BT: Tensor, mask_BT: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        level, threshold = self.choice.level, self.choice.threshold
        if level is None or threshold is None:
            return {}, {}
        raw_BT = importance_weights(log_ratio_BT, mask_BT, level=level)
        weight_BT = truncated(raw_BT, threshold=threshold)
        statistics = weight_statistics(raw_BT, mask_BT, level=level, threshold=threshold)
        return {"rollout_is_weights": weight_BT}, statistics

    def _rejection(
        self, log_ratio_BT: Tensor, mask_BT: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        if not self.choice.rejects or self.choice.reject_above is None:
            return {}, {}
        rejected_BT = rejected(
            log_ratio_BT, mask_BT, level=self.choice.reject, above=self.choice.reject_above
        )
        kept_BT = mask_BT & ~rejected_BT
        if not bool(kept_BT.any()):
            raise TrainingError(
                f"correction.reject_above={self.choice.reject_above:g} rejected every token of a "
                "step: raise it, or look at logprob_gap for why policies are that far apart"
            )
        fields = {
            "response_mask": kept_BT.long(),
            # verl divides by the tokens of this one, which it otherwise leaves as it was.
            "loss_mask": kept_BT.long(),
            SAMPLED_MASK_FIELD: mask_BT.long(),
        }
        return fields, {"rejected_fraction": rejected_fraction(rejected_BT, mask_BT)}


def _pad(rows: list[Tensor]) -> Tensor:
    return pad_sequence(rows, batch_first=True)


def _cut(value_BT: Tensor, lengths: list[int]) -> list[Tensor]:
    return [row[:length] for row, length in zip(value_BT, lengths, strict=True)]
