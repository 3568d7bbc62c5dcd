"""verl's own trainers, only looked at: their modes, and the versions that their tokens are of."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.workers.rollout.llm_server import LLMServerClient
from verl.workers.rollout.replica import TokenOutput

from copris_core.verl_adapter import replay_buffer, stock_trainer
from copris_core.verl_adapter.records import first_token_lag
from copris_core.verl_adapter.stock_trainer import SEGMENTS, ObservedAsyncClient

pytestmark = pytest.mark.verl


@pytest.mark.parametrize("mode", ["sync", "colocate_async"])
def test_a_trainer_has_a_name_of_ours_and_the_mode_that_verl_knows(mode) -> None:
    trainer = object.__new__(get_trainer_cls(f"verl_{mode}"))
    trainer.trainer_mode = "something else"  # verl's constructor tries
    assert trainer.trainer_mode == mode
    assert isinstance(trainer, stock_trainer.ObservedTrainer)
    assert isinstance(trainer, get_trainer_cls(mode))


def test_its_workers_meet_our_engines_on_every_platform(monkeypatch) -> None:
    """verl's own would wait for ever at another socket than the engine; seen on no GPU yet."""
    from verl.plugin import platform

    def build(self: Any) -> None:
        self.role_worker_mapping = {"actor": "verl's own"}

    cuda = SimpleNamespace(device_name="cuda")
    monkeypatch.setattr(platform, "get_platform", lambda: cuda)
    monkeypatch.setattr(stock_trainer, "get_platform", lambda: cuda, raising=False)
    monkeypatch.setattr(stock_trainer.PPOTrainer, "_init_resource_pool_mgr", build)
    trainer = object.__new__(stock_trainer.ObservedSyncTrainer)
    trainer.record = SimpleNamespace(phase=lambda text: None)
    trainer._init_resource_pool_mgr()
    (worker,) = trainer.role_worker_mapping.values()
    assert worker.__ray_metadata__.modified_class.__name__ == "CPUReadyWorker"


def test_every_visit_to_an_engine_is_noted_with_its_policy_version(monkeypatch) -> None:
    """verl's asynchronous client goes on after an abort; each response is its own task."""
    visits = {"a": [([1, 2], "aborted", 3), ([4], "completed", 4)], "b": [([5], "completed", 3)]}

    async def stock(self: Any, request_id: str, **_: Any) -> TokenOutput:
        await asyncio.sleep(0)
        tokens, reason, version = visits[request_id].pop(0)
        return TokenOutput(
            token_ids=tokens,
            log_probs=[-0.5] * len(tokens),
            stop_reason=reason,
            extra_fields={"global_steps": version},
        )

    monkeypatch.setattr(LLMServerClient, "generate", stock)
    rollout = SimpleNamespace(response_length=8, full_determinism=False)
    client = object.__new__(ObservedAsyncClient)
    client.config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=rollout))

    async def story() -> list[TokenOutput]:
        ask = {"prompt_ids": [9], "sampling_params": {}}
        return await asyncio.gather(*(client.generate(name, **ask) for name in "ab"))

    one, other = asyncio.run(story())

    assert one.token_ids == [1, 2, 4]
    assert one.extra_fields[SEGMENTS] == [(2, 3), (1, 4)]
    assert other.extra_fields[SEGMENTS] == [(1, 3)]


def test_the_lag_of_first_tokens_is_their_mean_and_absent_where_one_is_unknown() -> None:
    def batch(*versions: int | None) -> Any:
        return SimpleNamespace(tags=[{"min_global_steps": version} for version in versions])

    lag = first_token_lag(batch(5, 4, 3), current_version=5)
    assert lag == {"staleness/first_token_lag": pytest.approx(1.0)}
    assert first_token_lag(batch(5, None), current_version=5) == {}


@pytest.mark.parametrize("name", ["PromptPollReplayBuffer", "PromptPollReplayBufferAsync"])
def test_a_prompt_poll_is_all_that_differs_from_verls_buffer(monkeypatch, name) -> None:
    kind = getattr(replay_buffer, name)
    told = {}
    monkeypatch.setattr(kind.__mro__[1], "__init__", lambda self, **given: told.update(given))
    kind(trainer_mode="sync", sampler_kwargs=None)
    assert told == {"poll_interval": 0.02, "trainer_mode": "sync", "sampler_kwargs": None}
    assert set(vars(kind)) <= {"__module__", "__doc__", "__init__", "__firstlineno__"}
