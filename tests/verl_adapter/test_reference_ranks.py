"""The reference policy on verl's own FSDP2 engines, over one rank and over two."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from copris_core.verl_adapter.environment import COMMON, CPU

pytestmark = [pytest.mark.verl, pytest.mark.slow]

WORLDS = (1, 2)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """By number of ranks, what each of them told; see ``reference_ranks``."""
    folder = tmp_path_factory.mktemp("ranks")
    started = {
        (rank, world): _start(rank, world, folder) for world in WORLDS for rank in range(world)
    }
    try:
        for (rank, world), process in started.items():
            log = process.communicate(timeout=500)[0]
            assert process.returncode == 0, f"rank {rank} of {world}:\n{log[-4000:]}"
    finally:
        for process in started.values():  # one that waits for a rank that has died
            process.kill()
    return {
        world: [json.loads((folder / f"{r}_of_{world}.json").read_text()) for r in range(world)]
        for world in WORLDS
    }


def _start(rank: int, world: int, folder: Path) -> subprocess.Popen[str]:
    place = {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "localhost",  # verl reads both; the ranks meet in a file
        "MASTER_PORT": "0",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.verl_adapter.reference_ranks", str(folder)],
        env=os.environ | COMMON | CPU | place,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _all(told: dict[int, list[dict[str, Any]]], story: str) -> list[dict[str, Any]]:
    return [rank[story] for ranks in told.values() for rank in ranks]


@pytest.mark.parametrize("story", ["reset", "reset_offloaded"])
def test_after_a_reset_the_reference_answers_as_the_actor_bit_for_bit(told, story):
    """Though it has just been used, and with weights that may lie offloaded."""
    for seen in _all(told, story):
        assert seen["apart_before"]
        assert seen["same_logp"]
        assert seen["same_weights"]
        assert seen["same_checksum"]


@pytest.mark.parametrize("story", ["reset", "reset_offloaded", "reset_rounded"])
def test_a_reset_leaves_the_actor_as_it_is_and_does_not_tie_the_two(told, story):
    for seen in _all(told, story):
        assert seen["actor_kept"]
        assert seen["apart_again"]


def test_a_reference_of_another_dtype_has_the_actors_weights_rounded(told):
    for seen in _all(told, "reset_rounded"):
        assert seen["apart_before"]
        assert seen["same_weights"]
        assert not seen["same_checksum"]


@pytest.mark.parametrize("story", ["reset", "reset_offloaded"])
def test_a_forward_pass_does_not_change_the_checksum_of_the_actor(told, story):
    """Not even one that leaves the weights gathered; a checkpoint would look damaged."""
    for seen in _all(told, story):
        assert len(set(seen["checksums"])) == 1


def test_v2_keeps_the_moments_of_the_optimizer(told):
    for seen in _all(told, "reset"):
        assert seen["cleared"] == 0
        assert seen["moments"] == 38


def test_v1_steps_on_as_an_optimizer_that_has_never_stepped(told):
    for seen in _all(told, "optimizer"):
        assert (seen["cleared"], seen["left"]) == (38, 0)
        assert seen["like_fresh"]
        assert seen["moved"]


def test_v1_keeps_learning_rate_groups_hooks_and_who_holds_the_optimizer(told):
    for seen in _all(told, "optimizer"):
        assert seen["groups_kept"]
        assert seen["lr"] == [0.01]
        assert seen["hooks"] == 1
        assert seen["manager_has_it"]
        assert seen["scheduler_has_it"]


@pytest.mark.parametrize("story", ["saved", "saved_rounded"])
def test_a_saved_reference_comes_back_bit_for_bit_where_stock_verl_has_the_base_model(told, story):
    for seen in _all(told, story):
        assert seen["was_base"]
        assert seen["same_checksum"]
        assert seen["same_logp"]


def test_a_missing_reference_is_told_in_one_line(told):
    for seen in _all(told, "saved"):
        assert "is missing: remove this checkpoint" in seen["no_folder"]
        assert "\n" not in seen["no_folder"]


def test_the_next_update_uses_and_reports_the_new_coefficient(told):
    for seen in _all(told, "coefficients"):
        before, after = (set(_flat(kl)) for kl in seen["told"])
        assert before == {0.1}
        assert after == {0.7}
        assert (seen["kl"], seen["entropy"]) == (0.7, 0.01)


def _flat(value: Any) -> list[float]:
    return [x for each in value for x in _flat(each)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("story", ["odd", "odd_offloaded"])
def test_uneven_and_empty_shards_and_persistent_buffers_are_copied_too(told, story):
    for seen in _all(told, story):
        assert seen["same_output"]
        assert seen["same_shards"]
        assert seen["buffer"] == 1
        assert seen["scratch"] == [2.0, 2.0]  # no part of the model's state


def test_policies_that_do_not_match_are_refused_and_nothing_is_copied(told):
    for seen in _all(told, "unlike"):
        assert "do not hold the same weights (extra)" in seen["names"]
        assert "do not hold the same weights (one.weight)" in seen["shapes"]
        assert "actor_rollout_ref.actor.strategy=fsdp2" in seen["plain"]
        assert seen["unchanged"]


def test_policies_that_are_cut_over_other_ranks_are_refused(told):
    for rank in told[2]:
        assert "set actor_rollout_ref.ref.fsdp_config.fsdp_size" in rank["unlike"]["cut"]
