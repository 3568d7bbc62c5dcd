"""The baseline, CPPO, stacking, two replicas and Ctrl-C on the real stack."""

from collections import Counter

import pytest

from tests.e2e.runs import Finished, survivors

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_grpo_trains_on_verls_synchronous_loop(grpo: Finished) -> None:
    assert grpo.code == 0, grpo.output
    assert grpo.summary["samples"] == 4 * 32
    assert grpo.summary["on_policy_token_fraction"] == 1
    assert grpo.summary["segments_per_sample"] == 1
    assert grpo.summary["concurrency"] is None
    assert 0 < grpo.summary["max_logprob_gap"] < 1e-4


def test_the_engine_has_the_new_weights_after_every_update(grpo: Finished) -> None:
    """An engine with stale weights would disagree with the trainer from step 2 on."""
    gaps = [row["logprob_gap/max"] for row in grpo.steps]
    assert len(gaps) == 4
    assert max(gaps) < 1e-4
    assert grpo.steps[0]["update/grad_norm"] > 0


def test_pruned_rows_never_reach_a_forward_pass(two_replicas: Finished) -> None:
    assert two_replicas.code == 0, two_replicas.output
    for row in two_replicas.steps:
        assert row["cppo/kept_fraction"] == 0.5
        assert row["samples/trained"] == 16
        # Counted by the actor in its own forward passes.
        assert row["update/tokens"] == row["tokens/trained"]
    assert two_replicas.summary["trained_tokens"] < two_replicas.summary["generated_tokens"]


def test_pruned_rows_are_cleared_from_the_queue(cppo_on_gsm8k: Finished) -> None:
    """The synchronous queue holds one batch; a row left over from a step before would show."""
    assert {row["samples/trained"] for row in cppo_on_gsm8k.steps} == {16}
    assert {row["queue/rows"] for row in cppo_on_gsm8k.steps} == {32}


def test_pruning_keeps_half_of_each_group(two_replicas: Finished) -> None:
    keys = [row["key"] for row in two_replicas.trajectories]
    assert len(keys) == len(set(keys)) == 4 * 16
    assert set(Counter(key.split("_")[0] for key in keys).values()) == {4}


def test_two_replicas_share_one_limit(two_replicas: Finished) -> None:
    assert {row["rollout/limit"] for row in two_replicas.steps} == {24}
    assert 0 < max(row.get("rollout/in_flight", 0) for row in two_replicas.steps) <= 24
    assert sum(row["rollout/interrupted"] for row in two_replicas.steps) > 0
    assert 0 < two_replicas.summary["max_logprob_gap"] < 1e-4
    assert survivors(two_replicas.mark) == []


def test_ctrl_c_ends_a_run_without_leftovers(cppo_on_gsm8k: Finished) -> None:
    assert cppo_on_gsm8k.code == 130, cppo_on_gsm8k.output
    assert survivors(cppo_on_gsm8k.mark) == []


def test_gsm8k_trains_from_a_local_file(cppo_on_gsm8k: Finished) -> None:
    assert len(cppo_on_gsm8k.steps) >= 2
    assert all(row["samples/trained"] == 16 for row in cppo_on_gsm8k.steps)
    assert all(row["samples/finished"] == 32 for row in cppo_on_gsm8k.steps)
