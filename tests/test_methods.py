"""What CPPO does to a sampled batch, and what the trainer is told."""

import torch

from copris_core.methods import CPPO, SampledBatch
from copris_core.pruning import PruningConfig


def _batch(rewards: list[float], *, step: int = 1) -> SampledBatch:
    """Two prompts, half of the rows each."""
    half = len(rewards) // 2
    return SampledBatch(
        step=step,
        keys=[f"k{i}" for i in range(len(rewards))],
        uids=["a"] * half + ["b"] * half,
        reward_B=torch.tensor(rewards, dtype=torch.float32),
        length_B=torch.ones(len(rewards), dtype=torch.int64),
    )


def _cppo(*, rate: str = "0.5", normalise: bool = True) -> CPPO:
    config = PruningConfig(pruning_rate=rate)
    return CPPO(config=config, normalise_by_std=normalise, seed=0)


def test_the_rows_far_from_their_groups_mean_are_kept() -> None:
    # Group a: mean 1/4, |A| of row 0 is 3/4, of the others 1/4. Group b: row 7 stands out likewise.
    selection = _cppo(normalise=False).on_batch_sampled(_batch([1, 0, 0, 0, 1, 1, 1, 0]))
    assert 0 in selection.kept
    assert 7 in selection.kept
    assert len(selection.kept) == 4
    assert selection.metrics["cppo/kept_fraction"] == 0.5


def test_advantages_come_from_the_full_group_and_not_from_the_kept_rows() -> None:
    selection = _cppo(normalise=False).on_batch_sampled(_batch([1, 0, 0, 0, 1, 1, 1, 0]))
    by_row = dict(zip(selection.kept, selection.adv_B.tolist(), strict=True))
    assert by_row[0] == 0.75
    assert by_row[7] == -0.75


def test_groups_without_spread_are_counted() -> None:
    selection = _cppo().on_batch_sampled(_batch([1, 1, 1, 1, 1, 0, 0, 0]))
    assert selection.metrics["cppo/zero_variance_groups"] == 1


def test_another_step_breaks_ties_differently() -> None:
    kept = {_cppo().on_batch_sampled(_batch([0.0] * 16, step=s)).kept for s in range(8)}
    assert len(kept) > 1
