"""Pruning: exact counts, the largest |A|, ties, zero-variance groups, the published rule."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from copris_core.pruning import (
    KeptRows,
    PruningConfig,
    allocated_prompts,
    exact_rate,
    keep_count,
    kept_completions,
)

RATES = st.sampled_from(["0", "0.5", "0.7", "0.8", "0.9", "0.95", "7/8", "15/16", "1/3"])
ADVANTAGES = st.sampled_from([0.0, 0.5, -0.5, 1.0, -1.0, 1.5])


def _kept(
    advantages: list[float],
    groups: list[int],
    *,
    rate: Fraction | str | float = 0.5,
    scope: str = "group",
    zero_variance: str = "keep",
    seed: int = 0,
    keys: list[str] | None = None,
) -> KeptRows:
    return kept_completions(
        torch.tensor(advantages),
        torch.tensor(groups),
        [f"row-{row}" for row in range(len(groups))] if keys is None else keys,
        config=PruningConfig(pruning_rate=rate, scope=scope, zero_variance=zero_variance),
        seed=seed,
    )


# 8 prompts * 16 completions / (1 - P): 128 must remain. With P = .8, .9 and .95 as binary floats,
# int(n * (1 - P)) gives 127.
@pytest.mark.parametrize(
    ("num_rows", "rate"),
    [(640, 0.8), (1280, 0.9), (2560, 0.95), (256, 0.5), (1024, 0.875), (4096, 0.96875)],
)
def test_keep_count_is_exact_where_binary_floats_lose_a_row(num_rows, rate):
    assert keep_count(num_rows, rate) == 128


# .7 divides 8 prompts into no whole number (80/3); with 427 = ceil(1280 / 3) rows, 128.1 remain.
def test_keep_count_rounds_down_what_is_not_whole():
    assert keep_count(427, 0.7) == 128
    assert keep_count(426, 0.7) == 127


def test_keep_count_is_at_least_one_row():
    assert keep_count(8, "15/16") == 1


def test_a_rate_is_read_as_it_is_written():
    assert exact_rate(0.9) == exact_rate("0.9") == exact_rate("9/10") == Fraction(9, 10)


@given(prompts=st.integers(1, 64), group_size=st.integers(1, 32), rate=RATES)
def test_allocation_then_pruning_leaves_the_rows_that_were_asked_for(prompts, group_size, rate):
    if (prompts / (1 - Fraction(rate))).denominator == 1:
        sampled = allocated_prompts(prompts, rate) * group_size
        assert keep_count(sampled, rate) == prompts * group_size
    else:
        with pytest.raises(ValueError, match="not a whole number"):
            allocated_prompts(prompts, rate)


def test_an_allocation_that_does_not_divide_names_rates_that_do():
    with pytest.raises(ValueError, match=r"9/13 \(26 prompts\) or 19/27 \(27 prompts\)"):
        allocated_prompts(8, 0.7)
    assert allocated_prompts(8, "9/13") == 26
    assert allocated_prompts(8, "19/27") == 27


def test_scope_group_keeps_the_largest_of_each_group_in_row_order():
    # Group 0 has |A| .1 .9 .5 .2 in rows 0 2 4 6, group 1 has 3 4 1 2 in rows 1 3 5 7.
    rows = _kept([0.1, 3, -0.9, -4, 0.5, 1, -0.2, 2], [0, 1, 0, 1, 0, 1, 0, 1])
    assert rows.kept == (1, 2, 3, 4)
    assert rows.pruned == (0, 5, 6, 7)
    assert (rows.num_groups, rows.num_zero_variance_groups, rows.kept_fraction) == (2, 0, 0.5)


def test_scope_batch_lets_a_group_of_large_advantages_take_the_others_place():
    rows = _kept([0.1, 3, -0.9, -4, 0.5, 1, -0.2, 2], [0, 1, 0, 1, 0, 1, 0, 1], scope="batch")
    assert rows.kept == (1, 3, 5, 7)


@given(
    magnitudes=st.lists(st.floats(2**-10, 2**10, width=32), min_size=1, max_size=40, unique=True),
    rate=RATES,
    data=st.data(),
)
def test_scope_batch_is_the_published_rule_where_nothing_ties(magnitudes, rate, data):
    signs = data.draw(
        st.lists(st.sampled_from([-1, 1]), min_size=len(magnitudes), max_size=len(magnitudes))
    )
    advantages = [sign * size for sign, size in zip(signs, magnitudes, strict=True)]
    groups = [row // 4 for row in range(len(advantages))]
    k = max(1, int(len(advantages) * (1 - Fraction(rate))))
    published = torch.topk(torch.tensor(advantages).abs(), k, largest=True).indices.sort()[0]
    assert list(_kept(advantages, groups, rate=rate, scope="batch").kept) == published.tolist()


BATCHES = st.lists(st.tuples(st.integers(0, 3), ADVANTAGES), min_size=1, max_size=24)
SCOPES = st.sampled_from(["group", "batch"])
ZERO_VARIANCE = st.sampled_from(["keep", "drop"])


@given(batch=BATCHES, rate=RATES, scope=SCOPES, zero_variance=ZERO_VARIANCE, seed=st.integers())
def test_no_pruned_row_is_larger_than_a_kept_one_of_its_scope(
    batch, rate, scope, zero_variance, seed
):
    groups, advantages = [group for group, _ in batch], [adv for _, adv in batch]
    rows = _kept(advantages, groups, rate=rate, scope=scope, zero_variance=zero_variance, seed=seed)
    assert rows.kept
    assert list(rows.kept) == sorted(rows.kept)
    assert list(rows.pruned) == sorted(rows.pruned)
    assert sorted(rows.kept + rows.pruned) == list(range(len(batch)))
    for kept in rows.kept:
        for pruned in rows.pruned:
            if scope == "batch" or groups[kept] == groups[pruned]:
                assert abs(advantages[kept]) >= abs(advantages[pruned])


@given(batch=BATCHES, rate=RATES, scope=SCOPES, zero_variance=ZERO_VARIANCE, data=st.data())
def test_reordering_the_batch_keeps_the_same_responses(batch, rate, scope, zero_variance, data):
    order = data.draw(st.permutations(range(len(batch))))
    groups, advantages = [group for group, _ in batch], [adv for _, adv in batch]
    keys = [f"uid-{row}" for row in range(len(batch))]
    options = {"rate": rate, "scope": scope, "zero_variance": zero_variance}
    rows = _kept(advantages, groups, keys=keys, **options)
    moved = _kept(
        [advantages[row] for row in order],
        [groups[row] for row in order],
        keys=[keys[row] for row in order],
        **options,
    )
    assert {order[row] for row in moved.kept} == set(rows.kept)


@pytest.mark.parametrize("scope", ["group", "batch"])
def test_ties_are_broken_by_the_seed_and_evenly(scope):
    picks = [_kept([1.0] * 8, [0] * 8, scope=scope, seed=seed).kept for seed in range(400)]
    assert picks[0] == _kept([1.0] * 8, [0] * 8, scope=scope, seed=0).kept
    counts = [sum(row in kept for kept in picks) for row in range(8)]
    # Each row is kept with probability 1/2: 200 +- 10 (one deviation of 400 coin flips).
    assert all(150 < count < 250 for count in counts)


# Groups: 0 has variance, 1 has none; |A| of group 0 is 2 1 1 2.
MIXED = ([2.0, -1.0, 1.0, -2.0, 0.0, 0.0, 0.0, 0.0], [0, 0, 0, 0, 1, 1, 1, 1])


def test_a_zero_variance_group_keeps_its_share_or_nothing_in_scope_group():
    keep = _kept(*MIXED)
    assert set(keep.kept) >= {0, 3}
    assert len(set(keep.kept) & {4, 5, 6, 7}) == 2
    drop = _kept(*MIXED, zero_variance="drop")
    assert drop.kept == (0, 3)
    assert keep.num_zero_variance_groups == drop.num_zero_variance_groups == 1


def test_a_zero_variance_group_fills_up_or_is_left_out_in_scope_batch():
    # k = 6 of 8, but only 4 rows have a gradient.
    keep = _kept(*MIXED, rate=0.25, scope="batch")
    assert len(keep.kept) == 6
    assert set(keep.kept) >= {0, 1, 2, 3}
    assert _kept(*MIXED, rate=0.25, scope="batch", zero_variance="drop").kept == (0, 1, 2, 3)


def test_dropping_a_zero_variance_group_does_not_shrink_the_batch_quota():
    # k = 4 of 8 counts the rows of the full batch: all four with a gradient stay.
    assert _kept(*MIXED, scope="batch", zero_variance="drop").kept == (0, 1, 2, 3)


def test_a_zero_advantage_in_a_group_with_variance_is_not_dropped():
    rows = _kept([-1.0, 0.0, 1.0], [0, 0, 0], rate=0, zero_variance="drop")
    assert rows.kept == (0, 1, 2)


@pytest.mark.parametrize("scope", ["group", "batch"])
def test_if_no_group_has_variance_drop_does_what_keep_does(scope):
    keep, drop = (
        _kept([0.0] * 8, [0, 0, 0, 0, 1, 1, 1, 1], scope=scope, zero_variance=choice)
        for choice in ("keep", "drop")
    )
    assert keep == drop
    assert len(drop.kept) == 4
    assert drop.num_zero_variance_groups == drop.num_groups == 2


def test_a_small_group_keeps_one_row_whatever_the_rate():
    assert _kept([0.5, -2.0, 1.0], [0, 0, 1], rate="15/16").kept == (1, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PruningConfig(pruning_rate=1), r"pruning_rate=1 must lie in \[0, 1\)"),
        (lambda: PruningConfig(pruning_rate=-0.1), "the share removed"),
        (lambda: PruningConfig(pruning_rate="half"), "write 0.875 or '7/8'"),
        (lambda: PruningConfig(pruning_rate=math.nan), "write 0.875 or '7/8'"),
        (lambda: PruningConfig(pruning_rate="1/0"), "write 0.875 or '7/8'"),
        (lambda: PruningConfig(pruning_rate=0.5, scope="prompt"), "one of group, batch"),
        (lambda: PruningConfig(pruning_rate=0.5, zero_variance="no"), "one of keep, drop"),
        (lambda: keep_count(0, 0.5), "num_rows=0"),
        (lambda: allocated_prompts(0, 0.5), "train_prompts=0"),
        (lambda: _kept([1.0, math.nan], [0, 0]), "advantage of row 1 is nan"),
        (lambda: _kept([1.0, 2.0], [0, 0], keys=["a", "a"]), "unique"),
        (lambda: _kept([1.0, 2.0], [0, 0], keys=["a"]), "one per row"),
        (lambda: _kept([1.0, 2.0], [0]), "one per row"),
        (lambda: _kept([], []), "at least one row"),
    ],
)
def test_bad_input_is_refused_with_the_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()
