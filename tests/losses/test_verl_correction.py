"""verl's rollout correction as the oracle of ours: the same weights, masks and effective sample."""

import math

import pytest
import torch

from copris_core.losses.correction import (
    importance_weights,
    rejected,
    truncated,
    weight_statistics,
)

pytestmark = pytest.mark.verl


@pytest.fixture
def helper():
    """verl's module, imported only when a test of this file really runs."""
    from verl.trainer.ppo import rollout_corr_helper

    return rollout_corr_helper


def _random(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-ratios of three stages, each further off, and ragged masks with holes (tools)."""
    generator = torch.Generator().manual_seed(seed)
    spread_T = torch.tensor([1.5, 0.5, 0.05], dtype=torch.float64).repeat_interleave(10)
    log_ratio_BT = torch.randn(16, 30, generator=generator, dtype=torch.float64) * spread_T
    length_B = torch.randint(1, 31, (16, 1), generator=generator)
    mask_BT = (torch.arange(30) < length_B) & (torch.rand(16, 30, generator=generator) < 0.9)
    mask_BT[:, 0] = True
    return log_ratio_BT, mask_BT


def _adversarial() -> tuple[torch.Tensor, torch.Tensor]:
    """Beyond the clamps, exactly on the threshold 2, all equal, one token, junk in the padding."""
    rows = [
        [50.0, 0.0, 0.0, 0.0],
        [-50.0, 0.0, 0.0, 0.0],
        [15.0, 15.0, -40.0, 0.0],
        [math.log(2.0), 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [0.3, 1e300, -1e300, 7.0],
    ]
    mask_BT = torch.ones(6, 4, dtype=torch.bool)
    mask_BT[5, 1:] = False
    return torch.tensor(rows, dtype=torch.float64), mask_BT


INPUTS = [*(_random(seed) for seed in range(5)), _adversarial()]


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("threshold", [1.0, 2.0, 10.0])
def test_truncated_weights_are_verls(helper, inputs, level, threshold):
    log_ratio_BT, mask_BT = inputs
    theirs_BT, _ = helper.compute_rollout_correction_weights(
        log_ratio_BT, mask_BT.double(), rollout_is=level, rollout_is_threshold=threshold
    )
    raw_BT = importance_weights(log_ratio_BT, mask_BT, level=level)
    torch.testing.assert_close(
        truncated(raw_BT, threshold=threshold), theirs_BT, atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize(("level", "theirs"), [("token", "token_k1"), ("sequence", "seq_mean_k1")])
@pytest.mark.parametrize("above", [0.1, 1.0, 3.0])
def test_rejection_is_verls_by_k1_with_bounds_that_mirror_each_other(
    helper, inputs, level, theirs, above
):
    log_ratio_BT, mask_BT = inputs
    kept_BT, _ = helper.compute_rollout_rejection_mask(
        log_ratio_BT,
        mask_BT.double(),
        rollout_rs=theirs,
        rollout_rs_threshold=f"{math.exp(-above)}_{math.exp(above)}",
    )
    far_BT = rejected(log_ratio_BT, mask_BT, level=level, above=above)
    assert (mask_BT & ~far_BT).equal(kept_BT.bool())


@pytest.mark.parametrize("inputs", INPUTS[:5])
def test_the_mean_weight_and_the_effective_sample_of_tokens_are_verls(helper, inputs):
    log_ratio_BT, mask_BT = inputs
    raw_BT = importance_weights(log_ratio_BT, mask_BT, level="token")
    _, theirs = helper.compute_rollout_correction_weights(
        log_ratio_BT, mask_BT.double(), rollout_is="token", rollout_is_threshold=2.0
    )
    ours = weight_statistics(raw_BT, mask_BT, level="token", threshold=2.0)
    assert ours["weight_mean"] == pytest.approx(theirs["rollout_is_mean"], abs=1e-6)
    assert ours["ess_fraction"] == pytest.approx(theirs["rollout_is_eff_sample_size"], abs=1e-6)
    assert ours["truncated_fraction"] == pytest.approx(
        theirs["rollout_is_ratio_fraction_high"], abs=1e-6
    )
