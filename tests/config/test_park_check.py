"""Parking is on where it is possible; where it is not, the check says why and nothing parks."""

import pytest

pytestmark = pytest.mark.verl

ROLLOUT = "actor_rollout_ref.rollout"


def _notes(entered, *overrides: str) -> list[str]:
    from copris_core.verl_adapter.park_check import park_notes

    cfg, run = entered("experiment=copris", *overrides)
    return list(park_notes(run, cfg))


@pytest.mark.parametrize("strategy", ["copris", "naive_partial", "oversample"])
def test_partials_park_unless_told_otherwise(entered, strategy):
    cfg, _ = entered(f"strategy={strategy}")
    assert cfg.strategy.park is True
    cfg, _ = entered(f"strategy={strategy}", "strategy.park=false")
    assert cfg.strategy.park is False


def test_nothing_parks_in_a_loop_without_partials(entered):
    assert entered("strategy=sync")[0].strategy.park is None
    assert entered("strategy=verl_sync", "correction=none")[0].strategy.park is None


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["strategy.resume_kv=keep"], "strategy.resume_kv=keep: partials are aborted"),
        (["correction=stage"], "whose trainer needs every token at once"),
        (["staleness.max_lag=2", "staleness.when_exceeded=drop"], "when_exceeded=drop"),
        ([f"{ROLLOUT}.name=sglang"], "name other than vllm"),
        ([f"{ROLLOUT}.free_cache_engine=true"], "puts the engine to sleep over the update"),
        ([f"{ROLLOUT}.data_parallel_size=2"], "data_parallel_size above 1"),
        (["platform=gpu"], "free_cache_engine=true"),
    ],
)
def test_where_nobody_can_stay_nobody_parks_and_it_is_said_once(entered, overrides, why):
    (note,) = _notes(entered, *overrides)
    assert note.startswith("strategy.park=true has no effect with ")
    assert why in note
    assert entered("experiment=copris", *overrides)[0].strategy.park is False
    assert _notes(entered, *overrides, "strategy.park=false") == []


def test_a_bound_that_makes_groups_wait_is_no_obstacle(entered):
    overrides = ("staleness.max_lag=2", "staleness.when_exceeded=wait")
    assert _notes(entered, *overrides) == []
    assert entered("experiment=copris", *overrides)[0].strategy.park is True
