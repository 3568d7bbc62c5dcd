"""Statistics by lag, and the gap between engine and trainer."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from copris_core.losses import importance
from copris_core.losses.aggregation import token_mean
from copris_core.losses.importance import lag_statistics, logprob_gap, merge_lag_statistics
from copris_core.losses.kl import k3
from copris_core.losses.policy import Clip, cross_stage_policy_loss, is_clipped

CLIP = Clip(low=0.2, high=0.28, dual=3.0)


def _inputs(*, rows: int = 4, width: int = 6, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Current and behaviour log-probs, advantages, mask, lags."""
    generator = torch.Generator().manual_seed(seed)
    logp_BT, behaviour_logp_BT = -torch.rand(2, rows, width, generator=generator)
    adv_BT = torch.randn(rows, 1, generator=generator).expand(rows, width)
    mask_BT = torch.rand(rows, width, generator=generator) < 0.8
    lag_BT = torch.randint(0, 6, (rows, width), generator=generator)
    return logp_BT, behaviour_logp_BT, adv_BT, mask_BT, lag_BT


def test_sums_and_counts_by_lag_are_the_hand_computed_ones():
    # ratios        1 (lag 0)   1.5 (lag 0)  0.5 (lag 3)  2 (lag 7)   junk outside the mask
    ratio_BT = torch.tensor([[1.0, 1.5, 0.5, 2.0, 9.0]], dtype=torch.float64)
    adv_BT = torch.tensor([[1.0, 1.0, -1.0, -1.0, 1.0]], dtype=torch.float64)
    mask_BT = torch.tensor([[True, True, True, True, False]])
    lag_BT = torch.tensor([[0, 0, 3, 7, -5]])
    sums = lag_statistics(
        ratio_BT.log(), torch.zeros_like(ratio_BT), adv_BT, mask_BT, lag_BT, clip=CLIP
    )
    k3 = {ratio: ratio - 1 - math.log(ratio) for ratio in (1.0, 1.5, 0.5, 2.0)}
    expected = {
        "lag0/tokens": 2,
        "lag0/ratio_sum": 2.5,
        "lag0/clipped_sum": 1,  # 1.5 with A > 0
        "lag0/kl_sum": k3[1.5],
        "lag3/tokens": 2,  # lags 3 and 7 share the last bucket
        "lag3/ratio_sum": 2.5,
        "lag3/clipped_sum": 1,  # 0.5 with A < 0; 2 with A < 0 is not cut
        "lag3/kl_sum": k3[0.5] + k3[2.0],
    }
    empty = {
        f"lag{lag}/{name}": 0
        for lag in (1, 2)
        for name in ("tokens", "ratio_sum", "clipped_sum", "kl_sum")
    }
    assert {name: value.item() for name, value in sums.items()} == pytest.approx(expected | empty)
    assert merge_lag_statistics([sums]) == pytest.approx(
        {
            "lag0/token_fraction": 0.5,
            "lag0/ratio_mean": 1.25,
            "lag0/clip_fraction": 0.5,
            "lag0/kl": k3[1.5] / 2,
            "lag3/token_fraction": 0.5,
            "lag3/ratio_mean": 1.25,
            "lag3/clip_fraction": 0.5,
            "lag3/kl": (k3[0.5] + k3[2.0]) / 2,
        }
    )


@given(cut=st.integers(0, 4), seed=st.integers(0, 20))
def test_micro_batches_merge_to_the_statistics_of_the_whole(cut, seed):
    inputs = _inputs(seed=seed)
    whole = lag_statistics(*inputs, clip=CLIP)
    parts = [
        lag_statistics(*(value_BT[rows] for value_BT in inputs), clip=CLIP)
        for rows in (slice(0, cut), slice(cut, None))
    ]
    assert merge_lag_statistics(parts) == pytest.approx(merge_lag_statistics([whole]), abs=1e-12)


@pytest.mark.parametrize("chunk_tokens", [1, 7, 10**6])
def test_however_it_is_cut_into_chunks_a_bucket_sums_what_its_tokens_have(
    monkeypatch, chunk_tokens
):
    monkeypatch.setattr(importance, "CHUNK_TOKENS", chunk_tokens)
    inputs = logp_BT, behaviour_logp_BT, adv_BT, mask_BT, lag_BT = _inputs(rows=7, width=11)
    sums = lag_statistics(*inputs, clip=CLIP)
    ratio_BT = (logp_BT - behaviour_logp_BT).exp()
    for lag in range(4):
        chosen_BT = mask_BT & (lag_BT == lag if lag < 3 else lag_BT >= 3)
        assert sums[f"lag{lag}/tokens"] == chosen_BT.sum()
        assert sums[f"lag{lag}/clipped_sum"] == is_clipped(ratio_BT, adv_BT, CLIP)[chosen_BT].sum()
        for name, value_BT in (
            ("ratio_sum", ratio_BT),
            ("kl_sum", k3(behaviour_logp_BT, logp_BT)),
        ):
            expected = value_BT[chosen_BT].double().sum().item()
            assert sums[f"lag{lag}/{name}"].item() == pytest.approx(expected, rel=1e-6)


def test_a_log_prob_that_is_not_a_number_shows_in_its_own_lag_only():
    logp_BT, behaviour_logp_BT, adv_BT, mask_BT, lag_BT = _inputs(rows=9, width=8)
    row, column = ((lag_BT == 1) & mask_BT).nonzero()[0]
    logp_BT[row, column] = math.nan
    sums = lag_statistics(logp_BT, behaviour_logp_BT, adv_BT, mask_BT, lag_BT, clip=CLIP)
    assert {name for name, value in sums.items() if value.isnan()} == {
        "lag1/ratio_sum",
        "lag1/kl_sum",
    }


def test_the_mean_over_lags_is_what_the_loss_reports():
    *loss_inputs, lag_BT = _inputs(rows=20, width=30)
    _, stats = cross_stage_policy_loss(*loss_inputs, clip=CLIP, aggregate=token_mean())
    by_lag = merge_lag_statistics([lag_statistics(*loss_inputs, lag_BT, clip=CLIP)])
    overall = sum(
        by_lag[f"lag{lag}/clip_fraction"] * by_lag[f"lag{lag}/token_fraction"] for lag in range(4)
    )
    assert 0.05 < overall == pytest.approx(stats["clip_fraction"].item(), abs=1e-6)


def test_kl_by_lag_is_never_negative_and_zero_on_policy():
    logp_BT, behaviour_logp_BT, adv_BT, mask_BT, lag_BT = _inputs()
    off_policy = lag_statistics(logp_BT, behaviour_logp_BT, adv_BT, mask_BT, lag_BT, clip=CLIP)
    on_policy = lag_statistics(logp_BT, logp_BT, adv_BT, mask_BT, lag_BT, clip=CLIP)
    for lag in range(4):
        assert off_policy[f"lag{lag}/kl_sum"] > 0
        assert on_policy[f"lag{lag}/kl_sum"] == 0
        assert on_policy[f"lag{lag}/ratio_sum"] == on_policy[f"lag{lag}/tokens"]


def test_what_lies_outside_the_mask_never_matters():
    logp_BT, behaviour_logp_BT, adv_BT, mask_BT, lag_BT = _inputs()
    clean = lag_statistics(logp_BT, behaviour_logp_BT, adv_BT, mask_BT, lag_BT, clip=CLIP)
    junk = lag_statistics(
        logp_BT.masked_fill(~mask_BT, -math.inf),
        behaviour_logp_BT.masked_fill(~mask_BT, -math.inf),
        adv_BT.masked_fill(~mask_BT, math.nan),
        mask_BT,
        lag_BT.masked_fill(~mask_BT, -1),
        clip=CLIP,
    )
    assert junk == clean


def test_statistics_take_no_gradient_and_sum_in_double():
    logp_BT, *rest = _inputs()
    sums = lag_statistics(logp_BT.requires_grad_(), *rest, clip=CLIP)
    assert not any(value.requires_grad for value in sums.values())
    assert {value.dtype for value in sums.values()} == {torch.float64}


def test_a_token_from_a_future_version_is_refused():
    logp_BT, behaviour_logp_BT, adv_BT, _, lag_BT = _inputs()
    lag_BT[0, 0] = -1
    every_BT = torch.ones_like(lag_BT, dtype=torch.bool)
    with pytest.raises(ValueError, match="trained version - sampling version"):
        lag_statistics(logp_BT, behaviour_logp_BT, adv_BT, every_BT, lag_BT, clip=CLIP)


def test_nothing_merges_to_nothing():
    assert merge_lag_statistics([]) == {}


def test_the_gap_counts_current_tokens_only():
    engine_logp_BT = torch.tensor([[-1.0, -2.0, -3.0, -math.inf]])
    trainer_logp_BT = torch.tensor([[-1.5, -1.75, -9.0, -math.inf]], requires_grad=True)
    current_mask_BT = torch.tensor([[True, True, False, False]])
    gap = logprob_gap(engine_logp_BT, trainer_logp_BT, current_mask_BT)
    assert (gap.max_abs.item(), gap.sum_abs.item(), gap.tokens.item()) == (0.5, 0.75, 2)
    assert not gap.sum_abs.requires_grad


@pytest.mark.parametrize("chunk_tokens", [1, 2, 10**6])
def test_the_gap_is_that_of_all_chunks(monkeypatch, chunk_tokens):
    monkeypatch.setattr(importance, "CHUNK_TOKENS", chunk_tokens)
    engine_logp_BT = torch.tensor([[-1.0, -4.0, -1.5], [-1.25, -9.0, -1.0]])
    mask_BT = torch.tensor([[True, True, True], [True, False, False]])
    gap = logprob_gap(engine_logp_BT, -torch.ones(2, 3), mask_BT)
    assert tuple(value.item() for value in gap) == (3.0, 3.75, 4)
    engine_logp_BT[0, 0] = math.nan
    gap = logprob_gap(engine_logp_BT, -torch.ones(2, 3), mask_BT)
    assert gap.max_abs.isnan()
    assert gap.sum_abs.isnan()


@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (2, 0)])
def test_the_gap_of_no_tokens_is_zero(shape):
    gap = logprob_gap(torch.ones(shape), torch.zeros(shape), torch.zeros(shape, dtype=torch.bool))
    assert tuple(value.item() for value in gap) == (0, 0, 0)
