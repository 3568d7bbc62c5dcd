"""Importance weights, rejection and their statistics, against numbers worked out by hand."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from copris_core.losses.aggregation import token_mean
from copris_core.losses.correction import (
    effective_sample_fraction,
    importance_weights,
    rejected,
    rejected_fraction,
    truncated,
    weight_statistics,
)
from copris_core.losses.importance import MIN_GAP_TOKENS, gap_complaint
from copris_core.losses.policy import Clip, cross_stage_policy_loss

LOG2 = math.log(2)
# Ratios  4, 1/2, 1/2   |   2, (pad)   of two responses; the pad holds what a pad may hold.
LOG_RATIO_BT = torch.tensor([[2 * LOG2, -LOG2, -LOG2], [LOG2, math.nan, math.inf]]).double()
MASK_BT = torch.tensor([[True, True, True], [True, False, False]])


def _doubles(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_a_token_weight_is_its_own_ratio():
    weight_BT = importance_weights(LOG_RATIO_BT, MASK_BT, level="token")
    torch.testing.assert_close(weight_BT, _doubles([4, 0.5, 0.5], [2, 0, 0]))


def test_a_sequence_weight_is_the_product_of_the_ratios_on_every_token():
    weight_BT = importance_weights(LOG_RATIO_BT, MASK_BT, level="sequence")
    torch.testing.assert_close(weight_BT, _doubles([1, 1, 1], [2, 0, 0]))  # 4 / 2 / 2 = 1


def test_truncation_cuts_from_above_alone():
    weight_BT = importance_weights(LOG_RATIO_BT, MASK_BT, level="token")
    torch.testing.assert_close(
        truncated(weight_BT, threshold=2.0), _doubles([2, 0.5, 0.5], [2, 0, 0])
    )


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_a_ratio_beyond_all_bounds_stays_finite(level):
    log_ratio_BT = torch.tensor([[math.inf], [-math.inf], [1e6]])
    weight_BT = importance_weights(log_ratio_BT, torch.ones(3, 1, dtype=torch.bool), level=level)
    expected = torch.tensor([[math.exp(20)], [math.exp(-20)], [math.exp(20)]])
    torch.testing.assert_close(weight_BT, expected)


def test_a_token_is_rejected_by_its_own_ratio_in_either_direction():
    # |d|: 2 log 2 = 1.386, 0.693, 0.693 | 0.693. Bound 1: the first. Bound 0.69: all.
    far_BT = rejected(LOG_RATIO_BT, MASK_BT, level="token", above=1.0)
    assert far_BT.tolist() == [[True, False, False], [False, False, False]]
    assert rejected(LOG_RATIO_BT, MASK_BT, level="token", above=0.69).equal(MASK_BT)


def test_a_sequence_is_rejected_by_the_mean_of_its_log_ratios():
    # Means: (2 - 1 - 1) log 2 / 3 = 0 and log 2 = 0.693.
    far_BT = rejected(LOG_RATIO_BT, MASK_BT, level="sequence", above=0.5)
    assert far_BT.tolist() == [[False, False, False], [True, False, False]]


def test_a_long_response_is_not_rejected_for_its_length():
    log_ratio_BT = torch.full((2, 1000), 0.1)
    mask_BT = torch.arange(1000) < torch.tensor([[1], [1000]])  # sums 0.1 and 100
    assert not rejected(log_ratio_BT, mask_BT, level="sequence", above=0.2).any()


def test_exactly_at_the_bound_is_kept():
    exactly = torch.tensor([[0.5, -0.5]])
    assert not rejected(exactly, torch.ones(1, 2, dtype=torch.bool), level="token", above=0.5).any()


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_nan_is_too_far_off(level):
    log_ratio_BT = torch.tensor([[math.nan, 0.0]])
    far_BT = rejected(log_ratio_BT, torch.ones(1, 2, dtype=torch.bool), level=level, above=1.0)
    assert far_BT.tolist() == [[True, level == "sequence"]]


def test_the_effective_sample_is_a_share():
    assert effective_sample_fraction(_doubles([3, 3, 3, 3])).item() == 1
    assert effective_sample_fraction(_doubles([5, 0, 0, 0])).item() == 0.25
    # (1 + 2 + 3)^2 / (3 * (1 + 4 + 9)) = 36 / 42
    assert effective_sample_fraction(_doubles([1, 2, 3])).item() == pytest.approx(6 / 7)
    assert effective_sample_fraction(torch.zeros(0)).item() == 0
    assert effective_sample_fraction(torch.zeros(4)).item() == 0


def test_token_statistics_are_over_tokens():
    raw_BT = importance_weights(LOG_RATIO_BT, MASK_BT, level="token")
    # raw 4 .5 .5 2 -> cut 3 .5 .5 2: mean 6/4; ess 36 / (4 * 13.5)
    assert weight_statistics(raw_BT, MASK_BT, level="token", threshold=3.0) == pytest.approx(
        {"weight_mean": 1.5, "weight_max": 4, "truncated_fraction": 0.25, "ess_fraction": 2 / 3}
    )


def test_sequence_statistics_count_each_response_once():
    mask_BT = torch.cat([MASK_BT, torch.zeros(1, 3, dtype=torch.bool)])  # a padding row has none
    log_ratio_BT = torch.cat([LOG_RATIO_BT, torch.zeros(1, 3)])
    raw_BT = importance_weights(log_ratio_BT, mask_BT, level="sequence")
    # raw 1, 2 -> cut 1, 1.5: mean 1.25; ess 6.25 / (2 * 3.25)
    assert weight_statistics(raw_BT, mask_BT, level="sequence", threshold=1.5) == pytest.approx(
        {"weight_mean": 1.25, "weight_max": 2, "truncated_fraction": 0.5, "ess_fraction": 25 / 26}
    )


def test_the_rejected_share_is_of_the_sampled_tokens():
    far_BT = rejected(LOG_RATIO_BT, MASK_BT, level="token", above=1.0)
    assert rejected_fraction(far_BT, MASK_BT) == 0.25
    assert rejected_fraction(far_BT, torch.zeros_like(MASK_BT)) == 0


@pytest.mark.parametrize(
    "act",
    [
        partial(importance_weights, LOG_RATIO_BT, MASK_BT),
        partial(rejected, LOG_RATIO_BT, MASK_BT, above=1.0),
        partial(weight_statistics, LOG_RATIO_BT, MASK_BT, threshold=2.0),
    ],
)
def test_an_unknown_level_is_refused(act):
    with pytest.raises(ValueError, match="unknown level 'group': use one of token, sequence"):
        act(level="group")


@given(
    st.integers(0, 2**31),
    st.sampled_from(["token", "sequence"]),
    st.floats(0.01, 3),
    st.floats(1, 9),
)
def test_what_lies_outside_the_mask_never_matters(seed, level, above, threshold):
    generator = torch.Generator().manual_seed(seed)
    log_ratio_BT = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    mask_BT = torch.rand(4, 6, generator=generator) < 0.6
    mask_BT[0, 0] = True
    junk_BT = torch.where(mask_BT, log_ratio_BT, math.nan)
    clean, dirty = (
        (
            importance_weights(d_BT, mask_BT, level=level),
            rejected(d_BT, mask_BT, level=level, above=above),
            weight_statistics(
                importance_weights(d_BT, mask_BT, level=level),
                mask_BT, level=level, threshold=threshold,
            ),
        )
        for d_BT in (log_ratio_BT, junk_BT)
    )  # fmt: skip
    assert clean[0].equal(dirty[0])
    assert clean[1].equal(dirty[1])
    assert clean[2] == dirty[2]
    assert not clean[1][~mask_BT].any()
    assert not clean[0][~mask_BT].any()


def test_no_gradient_reaches_the_policy_through_its_weights():
    """The weights are built from the policy's own log-probs, as a careless caller would."""
    generator = torch.Generator().manual_seed(0)
    logp_BT, old_BT, behaviour_BT = torch.randn(3, 4, 5, generator=generator).double()
    mask_BT = torch.ones(4, 5, dtype=torch.bool)

    def gradient(*, detached: bool) -> torch.Tensor:
        leaf_BT = logp_BT.clone().requires_grad_()
        now_BT = leaf_BT.detach() if detached else leaf_BT
        raw_BT = importance_weights(now_BT - behaviour_BT, mask_BT, level="token")
        assert not raw_BT.requires_grad
        loss, _ = cross_stage_policy_loss(
            leaf_BT, old_BT, torch.ones(4, 5), mask_BT,
            clip=Clip(low=0.2, high=0.2), aggregate=token_mean(),
            is_weight_BT=truncated(raw_BT, threshold=2.0),
        )  # fmt: skip
        return torch.autograd.grad(loss, leaf_BT)[0]

    assert gradient(detached=True).abs().max() > 0
    assert gradient(detached=False).equal(gradient(detached=True))


def test_a_rejected_token_is_out_of_loss_and_denominator():
    logp_BT = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    behaviour_BT = _doubles([0.0, -3.0, 0.0])
    mask_BT = torch.ones(1, 3, dtype=torch.bool)
    far_BT = rejected((logp_BT - behaviour_BT).detach(), mask_BT, level="token", above=1.0)
    loss, _ = cross_stage_policy_loss(
        logp_BT, behaviour_BT, torch.ones(1, 3), mask_BT & ~far_BT,
        clip=Clip(low=0.2, high=0.2), aggregate=token_mean(),
    )  # fmt: skip
    # Two tokens of ratio 1 and A = 1 are left: -(1 + 1) / 2, gradient -1/2 each.
    assert loss.item() == -1
    assert torch.autograd.grad(loss, logp_BT)[0].tolist() == [[-0.5, 0.0, -0.5]]


def test_a_gap_above_the_limit_is_told_with_value_limit_and_causes():
    told = gap_complaint(0.0712, 900, limit=0.05)
    assert told is not None
    assert "\n" not in told
    assert "is 0.0712 over 900 tokens" in told
    assert "above correction.max_logprob_gap=0.05" in told
    for cause in ("weights not synced", "prefix cache", "padded vocabulary", "dtypes or kernels",
                  "top-p", "raw instead of processed", "tokenizer"):  # fmt: skip
        assert cause in told


@pytest.mark.parametrize(
    ("gap", "tokens", "limit"),
    [(0.05, 900, 0.05), (9.0, MIN_GAP_TOKENS - 1, 0.05), (9.0, 900, None), (0.0, 900, 1e-9)],
)
def test_a_gap_within_the_limit_or_over_too_few_tokens_is_no_complaint(gap, tokens, limit):
    assert gap_complaint(gap, tokens, limit=limit) is None


def test_a_gap_over_just_enough_tokens_is_judged_and_nan_is_above_every_limit():
    assert gap_complaint(0.06, MIN_GAP_TOKENS, limit=0.05) is not None
    assert gap_complaint(math.nan, MIN_GAP_TOKENS, limit=100.0) is not None
