"""Keeping the KV cache over an update is refused where it would not survive it."""

import pytest

pytestmark = pytest.mark.verl

KEEP = ("experiment=copris", "strategy.resume_kv=keep")
ROLLOUT = "actor_rollout_ref.rollout"


def _checked(entered, *overrides: str) -> list[str]:
    from copris_core.verl_adapter.check import check

    cfg, run = entered(*overrides)
    return check(run, cfg)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["platform=gpu"], "the engine sleeps through the update and frees its KV cache"),
        ([f"{ROLLOUT}.free_cache_engine=true"], "set actor_rollout_ref.rollout.free_cache_engine="),
        ([f"{ROLLOUT}.name=sglang"], "is told to vLLM alone"),
        ([f"{ROLLOUT}.data_parallel_size=2"], "cannot wake several engines of a replica together"),
        ([f"{ROLLOUT}.enable_rollout_routing_replay=true"], "has no routes of old tokens"),
        (["actor_rollout_ref.model.lora_rank=8"], "removes the adapter"),
        (["correction=stage"], "samples from no policy that the trainer could recompute"),
    ],
)
def test_what_does_not_survive_an_update_is_not_kept(entered, overrides, why):
    from copris_core.verl_adapter.errors import ConfigError

    with pytest.raises(ConfigError, match=r"strategy\.resume_kv=keep") as refusal:
        _checked(entered, *KEEP, *overrides)

    assert why in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_recomputing_is_not_bothered(entered):
    lines = _checked(entered, "experiment=copris", f"{ROLLOUT}.free_cache_engine=true")

    assert not [line for line in lines if "resume_kv" in line]


def test_keeping_says_what_it_costs(entered):
    note, unparked = [line for line in _checked(entered, *KEEP) if "resume_kv=keep" in line]

    assert "not exact" in note
    assert "strategy.park=true has no effect" in unparked


@pytest.mark.parametrize("choice", ["recompute", "keep"])
def test_the_choice_reaches_the_section_that_verl_hands_to_servers(entered, choice):
    cfg, _ = entered("experiment=copris", f"strategy.resume_kv={choice}")

    assert cfg.actor_rollout_ref.rollout.custom == {"resume_kv": choice}


@pytest.mark.parametrize(("limit", "disabled"), [("fixed", True), ("adaptive", False)])
def test_an_adaptive_limit_turns_the_engines_statistics_on(entered, limit, disabled):
    cfg, _ = entered("experiment=copris", f"strategy.limit={limit}")

    assert cfg.actor_rollout_ref.rollout.disable_log_stats is disabled
