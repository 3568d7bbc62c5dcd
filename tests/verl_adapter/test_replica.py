"""Our server in verl's place: what it adds, and that it is the one verl starts."""

import asyncio
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.verl_adapter.fake_vllm import FakeLLM, turns

# vLLM and what it imports warn of their own past.
pytestmark = [pytest.mark.verl, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def replica() -> Iterator[Any]:
    """Verl may be imported already, by a test that needs no platform; then its plugin is not."""
    from copris_core.verl_adapter import environment

    environment.prepare("cpu")
    from copris_core.verl_adapter import platform_cpu

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.metadata, "version", importlib.metadata.version)  # put back after
        platform_cpu.name_the_vllm_distribution()
        from copris_core.verl_adapter import replica

        yield replica


def _server(replica: Any, **state: Any) -> Any:
    server = object.__new__(replica.GateServer)
    vars(server).update({"node_rank": 0, "replica_rank": 3, **state})
    return server


def test_verl_gets_our_replica_by_the_name_of_vllm_and_loads_vllm_only_then() -> None:
    script = (
        "import sys\n"
        "from copris_core.verl_adapter import environment\n"
        "environment.prepare('cpu')\n"
        "from copris_core.verl_adapter import replicas\n"
        "assert 'vllm' not in sys.modules\n"
        "from verl.workers.rollout.replica import get_rollout_replica_class\n"
        "print(get_rollout_replica_class('vllm').__name__)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.splitlines()[-1:] == ["GateReplica"], done.stderr


def test_ray_sends_the_server_by_name(replica: Any) -> None:
    import cloudpickle

    sent = cloudpickle.dumps(replica.GateServer)

    assert len(sent) < 200
    assert cloudpickle.loads(sent) is replica.GateServer


def test_a_dead_engine_core_is_an_error_that_names_the_replica(replica: Any) -> None:
    alive = _server(replica, engine=SimpleNamespace(errored=False))
    dead = _server(replica, engine=SimpleNamespace(errored=True))

    asyncio.run(alive.check_alive())
    with pytest.raises(RuntimeError, match="engine core of replica 3 is dead"):
        asyncio.run(dead.check_alive())


def test_a_response_is_known_to_the_keeping_engine_and_validation_is_nobody(
    replica: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    async def stock(self: Any, prompt_ids: list[int], *_: Any, **inputs: Any) -> Any:
        visit = replica.VISIT.get()
        seen.append((visit and visit.response, inputs))
        if visit is not None:
            visit.kept_tokens = len(prompt_ids)
        return SimpleNamespace(extra_fields={})

    monkeypatch.setattr(replica.vLLMHttpServer, "generate", stock)
    server = _server(replica, _parking=replica.ParkingEngine(None), _keeps_kv=True)

    async def ask() -> tuple[Any, Any]:
        training = await server.generate([1, 2], {}, "r1", response="u_0", stage=0, priority=1)
        validation = await server.generate(prompt_ids=[1], sampling_params={}, request_id="r2")
        return training, validation

    training, validation = asyncio.run(ask())

    assert seen == [("u_0", {"priority": 1}), (None, {})]
    assert training.extra_fields == {"kv_kept_tokens": 2}
    assert validation.extra_fields == {}


class _Stats:
    def __init__(self) -> None:
        self.forgiven: list[int] = []

    def forgive(self, requests: int) -> None:
        self.forgiven.append(requests)


def test_a_response_can_be_stopped_in_the_engine_and_is_answered_in_stretches(
    replica: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        llm, stats = FakeLLM(), _Stats()

        async def stock(self: Any, prompt_ids: list[int], params: Any, name: str, **_: Any) -> Any:
            async for output in llm.generate(prompt={}, sampling_params=params, request_id=name):
                last = output
            tokens = last.outputs[0].token_ids
            return replica.TokenOutput(
                token_ids=tokens, extra_fields={"global_steps": self.global_steps}
            )

        monkeypatch.setattr(replica.vLLMHttpServer, "generate", stock)
        server = _server(
            replica, _parking=replica.ParkingEngine(llm), _keeps_kv=False, _stats=stats,
            global_steps=0,
        )  # fmt: skip
        tasks = [
            asyncio.create_task(server.generate([1], {}, f"r{i}", response=f"u_{i}", stage=0))
            for i in range(2)
        ]
        await turns()
        llm.step("r0", 5, 6)
        assert await server.stop(0) == {"u_0": 2, "u_1": 0}
        assert await server.stop(1) == {"u_0": 2, "u_1": 0}  # nobody was let in meanwhile
        assert stats.forgiven == [1]
        late = await server.generate([1], {}, "r2", response="u_2", stage=1)
        assert (late.token_ids, late.log_probs, late.stop_reason) == ([], [], "aborted")
        await server.start_again([])
        server.global_steps = 2
        await llm.sample(7, finish=True)
        assert [(await task).extra_fields["segments"] for task in tasks] == [
            [(2, 0), (1, 2)],
            [(1, 2)],
        ]
        server.node_rank = 1
        assert await server.stop(2) == {}
        await server.start_again([])
        assert llm.calls.count("resume") == 1

    asyncio.run(story())


@pytest.mark.parametrize("custom", [None, {}, {"resume_kv": "recompute"}, {"resume_kv": "keep"}])
def test_the_engine_is_vllms_own_unless_it_is_to_keep(
    replica: Any, monkeypatch: pytest.MonkeyPatch, custom: dict[str, str] | None
) -> None:
    engine = SimpleNamespace(logger_manager=None)

    async def stock(self: Any, args: Any) -> None:
        self.engine = engine

    monkeypatch.setattr(replica.vLLMHttpServer, "run_server", stock)
    server = _server(
        replica,
        config=SimpleNamespace(custom=custom),
        model_config=SimpleNamespace(processor=None),
    )

    asyncio.run(server.run_server(None))

    keeps = custom == {"resume_kv": "keep"}
    assert (server.engine is engine) != keeps
    assert isinstance(server.engine, replica.KeepingEngine) == keeps


def test_a_model_of_images_is_not_kept(replica: Any) -> None:
    server = _server(
        replica,
        config=SimpleNamespace(custom={"resume_kv": "keep"}),
        model_config=SimpleNamespace(processor=object()),
    )

    with pytest.raises(ValueError, match="resume_kv=recompute"):
        asyncio.run(server.run_server(None))
