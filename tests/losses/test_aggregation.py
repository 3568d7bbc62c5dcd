"""Aggregation: each mode by hand, the mask, and sums over micro-batches and ranks."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from copris_core.losses.aggregation import MODES, make_aggregate, masked_mean, masked_sum

NAN, INF = float("nan"), float("inf")
LOSS_BT = torch.tensor([[1.0, 2.0, 3.0, NAN], [4.0, NAN, INF, NAN], [-INF, NAN, NAN, NAN]])
MASK_BT = torch.arange(4) < torch.tensor([[3], [1], [0]])


# Row sums 6, 4, -; token counts 3, 1, 0; so 10 in total over 4 tokens and 2 responses of width 4.
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("token-mean", 10 / 4),
        ("token-sum", 10.0),
        ("seq-mean-token-sum", (6 + 4) / 2),
        ("seq-mean-token-mean", (6 / 3 + 4 / 1) / 2),
        ("seq-mean-token-sum-norm", (6 + 4) / 2 / 4),
    ],
)
def test_a_mode_without_global_counts_gives_the_hand_computed_number(mode, expected):
    assert make_aggregate(mode)(LOSS_BT, MASK_BT).item() == pytest.approx(expected)


# Global counts: 8 tokens and 5 responses over 2 ranks, constant length 10.
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("token-mean", 2 * 10 / 8),
        ("token-sum", 2 * 10.0),
        ("seq-mean-token-sum", 2 * (6 + 4) / 5),
        ("seq-mean-token-mean", 2 * (6 / 3 + 4 / 1) / 5),
        ("seq-mean-token-sum-norm", 2 * (6 + 4) / 5 / 10),
    ],
)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_mode_divides_by_the_global_counts(mode, expected, as_tensor):
    tokens, responses = (torch.tensor(8), torch.tensor(5)) if as_tensor else (8, 5)
    aggregate = make_aggregate(
        mode,
        dp_size=2,
        batch_num_tokens=tokens,
        global_batch_size=responses,
        loss_scale_factor=10,
    )
    assert aggregate(LOSS_BT, MASK_BT).item() == pytest.approx(expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", [{}, {"batch_num_tokens": 0, "global_batch_size": 0}])
def test_an_empty_mask_gives_zero_and_zero_gradient(mode, counts):
    loss_BT = torch.full((2, 3), 7.0, requires_grad=True)
    aggregated = make_aggregate(mode, **counts)(loss_BT, torch.zeros(2, 3, dtype=torch.bool))
    aggregated.backward()
    assert aggregated.item() == 0.0
    assert torch.equal(loss_BT.grad, torch.zeros(2, 3))


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_micro_batches_and_ranks_add_up_to_the_whole_batch(mode, data):
    lengths = data.draw(st.lists(st.integers(0, 5), min_size=4, max_size=4))
    values = data.draw(st.lists(st.floats(-9, 9), min_size=20, max_size=20))
    loss_BT = torch.tensor(values, dtype=torch.float64).view(4, 5)
    mask_BT = torch.arange(5) < torch.tensor(lengths)[:, None]
    counts = {
        "batch_num_tokens": sum(lengths),
        "global_batch_size": sum(length > 0 for length in lengths),
        "loss_scale_factor": 5,
    }
    whole = make_aggregate(mode, **counts)(loss_BT, mask_BT)
    share = make_aggregate(mode, dp_size=2, **counts)
    # Rank 0 has row 0, then row 1; rank 1 has rows 2 and 3. Gradients are averaged over ranks.
    rank_0 = share(loss_BT[:1], mask_BT[:1]) + share(loss_BT[1:2], mask_BT[1:2])
    rank_1 = share(loss_BT[2:], mask_BT[2:])
    assert ((rank_0 + rank_1) / 2).item() == pytest.approx(whole.item(), abs=1e-9)


@pytest.mark.parametrize(
    ("mode", "missing"),
    [
        ("token-mean", "batch_num_tokens"),
        ("seq-mean-token-sum", "global_batch_size"),
        ("seq-mean-token-mean", "global_batch_size"),
        ("seq-mean-token-sum-norm", "global_batch_size"),
    ],
)
def test_several_ranks_without_the_global_count_are_refused_by_its_name(mode, missing):
    with pytest.raises(ValueError, match=missing):
        make_aggregate(mode, dp_size=2)


def test_an_unknown_mode_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="token-mean, token-sum, seq-mean-token-sum"):
        make_aggregate("mean")


def test_masked_mean_along_a_dimension_counts_each_row_by_itself():
    assert masked_mean(LOSS_BT, MASK_BT, dim=-1).tolist() == [2.0, 4.0, 0.0]
    assert masked_sum(LOSS_BT, MASK_BT, dim=-1).tolist() == [6.0, 4.0, 0.0]
    assert math.isclose(masked_mean(LOSS_BT, MASK_BT).item(), 2.5)
