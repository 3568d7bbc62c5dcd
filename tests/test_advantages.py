"""Group advantages: by hand, exact zeros, any row order, verl's numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from copris_core.advantages import group_advantages, group_ids


def test_a_group_is_centred_and_divided_by_the_unbiased_deviation():
    # Rewards 0, 1, 2: mean 1, std sqrt((1 + 0 + 1) / 2) = 1. Rewards 1, 0: mean .5, std sqrt(.5).
    # The groups lie interleaved.
    reward_B = torch.tensor([0.0, 1.0, 1.0, 0.0, 2.0], dtype=torch.float64)
    group_B = torch.tensor([7, 7, 3, 3, 7])
    pair = 0.5 / (math.sqrt(0.5) + 1e-6)
    expected = [-1 / (1 + 1e-6), 0.0, pair, -pair, 1 / (1 + 1e-6)]
    assert group_advantages(reward_B, group_B).tolist() == pytest.approx(expected, abs=1e-12)
    centred = group_advantages(reward_B, group_B, normalise_by_std=False)
    assert centred.tolist() == [-1.0, 0.0, 0.5, -0.5, 1.0]


def test_eps_bounds_the_advantage_of_a_tiny_deviation():
    # Rewards 0 and 0.2: mean .1, std sqrt(2 * .01 / 1) = .1414; with eps .1, A = .1 / .2414.
    reward_B = torch.tensor([0.0, 0.2], dtype=torch.float64)
    adv_B = group_advantages(reward_B, torch.zeros(2, dtype=torch.int64), eps=0.1)
    expected = 0.1 / (math.sqrt(0.02) + 0.1)
    assert adv_B.tolist() == pytest.approx([-expected, expected], abs=1e-12)


def test_a_group_of_one_keeps_its_reward():
    reward_B, group_B = torch.tensor([2.0, -3.0]), torch.tensor([0, 1])
    assert group_advantages(reward_B, group_B).tolist() == pytest.approx([2.0, -3.0], abs=1e-5)
    assert group_advantages(reward_B, group_B, normalise_by_std=False).tolist() == [2.0, -3.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(reward=st.floats(-1e6, 1e6, width=32), size=st.integers(2, 33))
def test_equal_rewards_give_exact_zeros(dtype, reward, size):
    reward_B = torch.full((size,), reward, dtype=dtype) / 3
    adv_B = group_advantages(reward_B, torch.zeros(size, dtype=torch.int64))
    assert not adv_B.any()
    assert adv_B.dtype == dtype


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0, 3.0])), min_size=1, max_size=20
    ),
    data=st.data(),
)
def test_the_order_of_the_rows_does_not_matter(rows, data):
    order = data.draw(st.permutations(range(len(rows))))
    group_B = torch.tensor([group for group, _ in rows])
    reward_B = torch.tensor([reward for _, reward in rows], dtype=torch.float64)
    torch.testing.assert_close(
        group_advantages(reward_B[order], group_B[order]),
        group_advantages(reward_B, group_B)[order],
        atol=1e-12,
        rtol=0,
    )


def test_advantages_take_no_gradient():
    reward_B = torch.tensor([0.0, 1.0], requires_grad=True)
    assert not group_advantages(reward_B, torch.tensor([0, 0])).requires_grad


def test_group_ids_number_keys_in_order_of_appearance():
    assert group_ids(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_a_reward_that_is_not_finite_is_refused_with_its_row(reward):
    with pytest.raises(ValueError, match=r"reward of row 1 is (nan|inf): the reward function"):
        group_advantages(torch.tensor([0.0, reward]), torch.tensor([0, 0]))


@pytest.mark.parametrize(("reward_shape", "group_shape"), [((2,), (3,)), ((2, 1), (2, 1))])
def test_rewards_and_groups_of_other_shapes_are_refused(reward_shape, group_shape):
    with pytest.raises(ValueError, match="one number per response"):
        group_advantages(torch.zeros(reward_shape), torch.zeros(group_shape, dtype=torch.int64))


@pytest.mark.verl
@pytest.mark.parametrize("normalise_by_std", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_advantages_are_verls_grpo(normalise_by_std, seed):
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    generator = torch.Generator().manual_seed(seed)
    group_B = torch.randint(0, 12, (64,), generator=generator)  # interleaved, of unequal sizes
    group_B[-1] = 99  # a group of one
    reward_B = torch.randint(0, 4, (64,), generator=generator) / 2
    mask_BT = torch.ones(64, 3)
    # verl writes its result into the score tensor that it is given.
    theirs_BT, _ = compute_grpo_outcome_advantage(
        torch.stack([torch.zeros(64), torch.zeros(64), reward_B], dim=1),
        mask_BT,
        np.array([f"uid-{group}" for group in group_B.tolist()], dtype=object),
        norm_adv_by_std_in_grpo=normalise_by_std,
    )
    ours_B = group_advantages(reward_B, group_B, normalise_by_std=normalise_by_std)
    torch.testing.assert_close(ours_B[:, None].expand(64, 3), theirs_BT, atol=1e-6, rtol=0)
