"""Methods: what a recipe does to a sampled batch before any forward pass, as pure functions.

A method sees whole groups and may say which rows go on to training, with their advantages. It knows
nothing of where the rows are stored; the trainer carries its decision out.

Shapes: B responses (rows).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from copris_core.advantages import group_advantages, group_ids
from copris_core.pruning import PruningConfig, kept_completions


@dataclass(frozen=True, kw_only=True)
class SampledBatch:
    """Complete groups, as sampled for one training step."""

    step: int
    """Training step, from 1."""
    keys: Sequence[str]
    """[B] names of the rows, unique."""
    uids: Sequence[str]
    """[B] prompt of each row; equal within a group."""
    reward_B: Tensor
    """float [B] outcome reward."""
    length_B: Tensor
    """int64 [B] tokens of each response."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which rows are trained, and on what advantages."""

    name: str
    """The method that decided."""
    kept: tuple[int, ...]
    """Rows to train on, ascending."""
    adv_B: Tensor
    """float [len(kept)] advantage of each kept row, from its full group."""
    metrics: dict[str, float]
    """What the method did, by metric name."""


class Method(Protocol):
    """One part of a recipe that acts on the sampled batch."""

    def on_batch_sampled(self, batch: SampledBatch) -> Selection:
        """Choose the rows to train on."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take ``state_dict`` up again."""
        ...


@dataclass(frozen=True, kw_only=True)
class CPPO:
    """Completion pruning (arXiv 2503.22342): train on the completions with the largest |A|."""

    config: PruningConfig
    """How much is pruned, and over what."""
    normalise_by_std: bool
    """Whether the advantages are divided by their group's standard deviation."""
    seed: int
    """Seed of the order among equal |A|."""

    def on_batch_sampled(self, batch: SampledBatch) -> Selection:
        """Compute advantages over the full groups, keep the rows that matter most."""
        group_B = group_ids(batch.uids).to(batch.reward_B.device)
        adv_B = group_advantages(batch.reward_B, group_B, normalise_by_std=self.normalise_by_std)
        rows = kept_completions(
            adv_B, group_B, batch.keys, config=self.config, seed=self.seed + batch.step
        )
        return Selection(
            name="cppo",
            kept=rows.kept,
            adv_B=adv_B[list(rows.kept)],
            metrics={
                "cppo/kept_fraction": rows.kept_fraction,
                "cppo/zero_variance_groups": rows.num_zero_variance_groups,
            },
        )

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the choice follows from the batch, the seed and the step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take up."""
