"""Our server in verl's place: what it adds, and that it is the one verl starts."""

import asyncio
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

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


def test_a_response_is_known_to_the_engine_and_validation_is_nobody(
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
    server = _server(replica)

    async def ask() -> tuple[Any, Any]:
        training = await server.generate([1, 2], {}, "r1", response="u_0", priority=1)
        validation = await server.generate(prompt_ids=[1], sampling_params={}, request_id="r2")
        return training, validation

    training, validation = asyncio.run(ask())

    assert seen == [("u_0", {"priority": 1}), (None, {})]
    assert training.extra_fields == {"kv_kept_tokens": 2}
    assert validation.extra_fields == {}


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
