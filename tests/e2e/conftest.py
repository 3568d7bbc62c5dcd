"""One start of the stack per kind of run; every check reads what that one run left behind."""

from pathlib import Path

import pytest

from tests.docs.pages import python_blocks
from tests.e2e.runs import Finished, train

SMALL = (
    "actor_rollout_ref.rollout.n=8",
    "data.train_batch_size=4",
    "data.max_response_length=256",
    "run.record_trajectories=true",
)


@pytest.fixture(scope="session")
def grpo(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("e2e") / "grpo"
    return train(
        folder, "experiment=grpo", *SMALL, "task.val_rows=32", "trainer.total_training_steps=4"
    )


@pytest.fixture(scope="session")
def copris(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Every version's weights are kept, so that each segment can be recomputed under its own."""
    folder = tmp_path_factory.mktemp("e2e") / "copris"
    return train(
        folder,
        "experiment=copris",
        *SMALL,
        "task.val_rows=32",
        "strategy.concurrency=24",
        "trainer.total_training_steps=5",
        "trainer.test_freq=2",
        "trainer.save_freq=1",
        "actor_rollout_ref.actor.checkpoint.save_contents=[model,hf_model]",
    )


@pytest.fixture(scope="session")
def cppo_on_gsm8k(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run that a user ends with Ctrl-C after its second step."""
    folder = tmp_path_factory.mktemp("e2e") / "cppo"
    return train(
        folder,
        "experiment=cppo",
        "task=gsm8k",
        f"task.path={Path(__file__).parents[1] / 'data' / 'gsm8k_excerpt.jsonl'}",
        "task.val_rows=4",
        "data.max_prompt_length=512",
        *SMALL,
        "trainer.total_training_steps=1000",
        interrupt_after_step=2,
    )


@pytest.fixture(scope="session")
def two_replicas(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("e2e") / "two_replicas"
    return train(
        folder,
        "experiment=copris_cppo",
        *SMALL,
        "task.val_rows=32",
        "strategy.concurrency=24",
        "platform.devices=2",
        "trainer.total_training_steps=4",
    )


@pytest.fixture(scope="session")
def naive_stage(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """No refill, bounded staleness, and the trainer's log-probs of each stage."""
    folder = tmp_path_factory.mktemp("e2e") / "naive_stage"
    return train(
        folder,
        "experiment=naive_partial",
        "correction=stage",
        *SMALL,
        "strategy.concurrency=64",
        "staleness.max_lag=1",
        "trainer.total_training_steps=5",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
        "trainer.save_freq=1",
        "actor_rollout_ref.actor.checkpoint.save_contents=[model,hf_model]",
    )


@pytest.fixture(scope="session")
def oversample_flaky(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Oversampling, decoupled correction with rejection, and a reward service that often fails."""
    folder = tmp_path_factory.mktemp("e2e") / "oversample"
    return train(
        folder,
        "experiment=oversample",
        "correction=decoupled",
        "correction.reject=token",
        "correction.reject_above=0.2",
        *SMALL,
        "trainer.total_training_steps=4",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
        "reward.custom_reward_function.path=pkg://tests.e2e.flaky_reward",
    )


@pytest.fixture(scope="session")
def adaptive(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Starts far too low; what is interrupted keeps its KV cache; trained by the guide's method."""
    folder = tmp_path_factory.mktemp("e2e") / "adaptive"
    (code,) = python_blocks("docs/own_method.md")
    method = folder.parent / "my_method.py"
    method.write_text(code)
    return train(
        folder,
        "experiment=copris",
        *SMALL,
        f"method.cls={method}:MaxVarianceCispo",
        "+method.settings.keep=5",  # verl makes rows up to fill the mini-batch
        "strategy.limit=adaptive",
        "strategy.resume_kv=keep",
        "mini_batches=1",  # the error is measured before the first optimizer step
        "strategy.concurrency=8",
        "trainer.total_training_steps=8",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
    )


@pytest.fixture(scope="session")
def prorl(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Four steps, then two more by the same command; the reference is reset at steps 3 and 6."""
    folder = tmp_path_factory.mktemp("e2e") / "prorl"
    choices = (
        "experiment=prorl",
        *SMALL,
        "data.train_batch_size=8",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.rollout.temperature=1.0",  # recomputed without one
        "reference_reset=interval",
        "reference_reset.interval=3",
        "entropy_control=trend",
        "length_schedule=steps",
        "length_schedule.steps=[[1,64],[3,1.0]]",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
        "trainer.save_freq=1",
        "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
    )
    begun = train(folder, *choices, "trainer.total_training_steps=4")
    assert begun.code == 0, begun.output
    return train(folder, *choices, "trainer.total_training_steps=6")


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """All four methods, on two ranks."""
    folder = tmp_path_factory.mktemp("e2e") / "everything"
    return train(
        folder,
        "experiment=copris_cppo_prorl_dapo",
        *SMALL,
        "platform.devices=2",
        "data.train_batch_size=8",
        "actor_rollout_ref.rollout.n=4",
        "strategy.concurrency=32",
        "reference_reset=interval",
        "reference_reset.interval=2",
        "reward_shaping.overlong_share=0.9",
        "trainer.total_training_steps=5",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
    )


@pytest.fixture(scope="session")
def refused_gap(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A bound that no two programs keep, whose breach must end the run."""
    folder = tmp_path_factory.mktemp("e2e") / "refused_gap"
    return train(
        folder,
        "experiment=copris",
        *SMALL,
        "correction.max_logprob_gap=1e-9",
        "trainer.val_before_train=false",
        "trainer.save_freq=1",
    )
