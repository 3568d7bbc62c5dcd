"""A mistyped key leads to the key that was meant."""

import pytest

from copris_core.verl_adapter.keys import nearest_key, open_node_of

KNOWN = (
    "seed",
    "mini_batches",
    "strategy",
    "strategy.name",
    "strategy.concurrency",
    "pruning.pruning_rate",
    "data.train_batch_size",
    "actor_rollout_ref.actor.optim.lr",
    "actor_rollout_ref.actor.optim.lr_scheduler_type",
    "actor_rollout_ref.rollout.n",
    "critic.optim.lr",
    "trainer.total_training_steps",
)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("actor_rollout_ref.actor.optim.lrr", "actor_rollout_ref.actor.optim.lr"),
        ("actor_rollout_ref.actr.optim.lr", "actor_rollout_ref.actor.optim.lr"),
        ("actor_rolout_ref.rollout.n", "actor_rollout_ref.rollout.n"),
        ("strategy.concurency", "strategy.concurrency"),
        ("stratgy", "strategy"),
        ("pruning_rate", "pruning.pruning_rate"),
        ("trainer.total_trainng_steps", "trainer.total_training_steps"),
    ],
)
def test_a_slip_leads_to_the_key_that_was_meant(typed, meant):
    assert nearest_key(typed, KNOWN) == meant


def test_a_bare_word_means_the_part_that_is_trained():
    assert nearest_key("lr", KNOWN) == "actor_rollout_ref.actor.optim.lr"


def test_a_word_like_nothing_leads_nowhere():
    assert nearest_key("zzz", KNOWN) is None
    assert nearest_key("seed.zzz", ("seed",)) is None
    assert nearest_key("a.b", ()) is None


@pytest.mark.parametrize("key", KNOWN)
def test_every_key_is_nearest_to_itself(key):
    assert nearest_key(key, KNOWN) == key


@pytest.mark.parametrize("key", [key for key in KNOWN if len(key.rpartition(".")[2]) > 3])
def test_one_missing_letter_never_hides_a_key(key):
    for cut in range(key.rfind(".") + 1, len(key)):
        assert nearest_key(key[:cut] + key[cut + 1 :], KNOWN) == key


def test_only_what_lies_below_an_open_section_is_open():
    vllm = "actor_rollout_ref.rollout.engine_kwargs.vllm.x"
    assert open_node_of(vllm) == "actor_rollout_ref.rollout.engine_kwargs"
    assert open_node_of("ray_kwargs.ray_init.x.y") == "ray_kwargs.ray_init"
    assert open_node_of("ray_kwargs.ray_init") is None
    assert open_node_of("ray_kwargs.ray_initial.x") is None
    assert open_node_of("trainer.x") is None
