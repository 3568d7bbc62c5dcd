"""The batch arithmetic, by hand."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.verl_adapter.batch_plan import BatchPlan
from copris_core.verl_adapter.errors import ConfigError


def _plan(**changes: int | None) -> BatchPlan:
    fields = {
        "prompts": 16,
        "group_size": 8,
        "trained_rows": 128,
        "mini_batches": 2,
        "epochs": 1,
        "steps": 20,
        "devices": 1,
        "concurrency": None,
    }
    return BatchPlan(**(fields | changes))


def test_sixteen_prompts_of_eight_in_two_mini_batches():
    # 16 x 8 = 128 samples; 128 / 2 = 64 rows = 8 groups of 8; 20 steps x 2 = 40 updates.
    plan = _plan()
    assert plan.samples == 128
    assert plan.rows_per_mini_batch == 64
    assert plan.groups_per_mini_batch == 8
    assert plan.optimizer_updates_total == 40
    assert plan.in_flight == 128
    assert plan.interruptions_per_response == 0.0


def test_pruning_makes_mini_batches_smaller_not_fewer():
    # P = 1/2 keeps 64 rows: 2 x 32 rows = 2 x 4 groups' worth, still 40 updates.
    plan = _plan(trained_rows=64)
    assert (plan.rows_per_mini_batch, plan.groups_per_mini_batch) == (32, 4)
    assert plan.optimizer_updates_total == 40


def test_every_epoch_repeats_the_updates():
    assert _plan(epochs=3).optimizer_updates_total == 20 * 3 * 2


def test_interruptions_are_those_of_the_released_copris_script():
    # N' = 1024 in flight, 64 prompts x 8 responses a step: 1024 / 512 = 2.
    plan = _plan(prompts=64, trained_rows=512, concurrency=1024)
    assert plan.interruptions_per_response == 2.0
    assert plan.in_flight == 1024


def test_a_micro_batch_is_the_largest_divisor_of_a_devices_share():
    assert _plan().micro_batch(at_most=16) == 16  # of 64
    assert _plan(prompts=6, trained_rows=48).micro_batch(at_most=16) == 12  # of 24
    assert _plan(devices=2).micro_batch(at_most=64) == 32  # of 64 / 2
    with pytest.raises(ConfigError, match="micro batch size 0: set it to 1 or more"):
        _plan().micro_batch(at_most=0)


@given(
    groups=st.integers(1, 24),
    group_size=st.integers(1, 9),
    mini_batches=st.integers(1, 6),
    at_most=st.integers(1, 200),
)
def test_micro_batches_tile_a_mini_batch_and_mini_batches_the_trained_rows(
    groups, group_size, mini_batches, at_most
):
    rows = groups * mini_batches * group_size
    plan = _plan(trained_rows=rows, group_size=group_size, mini_batches=mini_batches)
    assert plan.rows_per_mini_batch * mini_batches == rows
    size = plan.micro_batch(at_most=at_most)
    assert size <= at_most
    assert plan.rows_per_mini_batch % size == 0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"mini_batches": 3},
            "mini_batches=3 does not split 128 trained rows into whole groups of 8: set "
            "mini_batches to one of 1, 2, 4, 8, 16",
        ),
        (
            {"mini_batches": 32},
            "mini_batches=32 does not split 128 trained rows into whole groups of 8: set "
            "mini_batches to one of 1, 2, 4, 8, 16",
        ),
        (
            {"trained_rows": 60, "mini_batches": 1},
            "mini_batches=1 does not split 60 trained rows into whole groups of 8: choose "
            "data.train_batch_size and pruning.pruning_rate so that the trained rows are a "
            "multiple of 8",
        ),
        (
            {"trained_rows": 129},  # 129 / 2 is 64 with a rest
            "mini_batches=2 does not split 129 trained rows into whole groups of 8: choose "
            "data.train_batch_size and pruning.pruning_rate so that the trained rows are a "
            "multiple of 8",
        ),
        (
            {"devices": 3},
            "64 rows per mini-batch cannot be shared by 3 ranks: change "
            "platform.devices, mini_batches or data.train_batch_size so that it divides",
        ),
        ({"mini_batches": 0}, "mini_batches=0: set it to 1 or more"),
        ({"steps": 0}, "trainer.total_training_steps=0: set it to 1 or more"),
        ({"devices": 0}, "platform.devices=0: set it to 1 or more"),
        ({"epochs": -1}, "actor_rollout_ref.actor.ppo_epochs=-1: set it to 1 or more"),
    ],
)
def test_a_batch_that_cannot_be_split_is_refused_with_the_mend(changes, line):
    with pytest.raises(ConfigError) as refusal:
        _plan(**changes)
    assert str(refusal.value) == line


def test_a_plan_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        _plan().prompts = 1
