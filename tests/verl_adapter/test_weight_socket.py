"""Two runs on one machine hand their weights over at different places."""

from types import SimpleNamespace

import pytest

from copris_core.verl_adapter.processes import MARK
from copris_core.verl_adapter.weight_socket import of_this_run

pytestmark = pytest.mark.verl

VERLS = "ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-0.sock"


def test_the_address_carries_the_mark_of_the_run(monkeypatch) -> None:
    monkeypatch.setenv(MARK, "a" * 32)
    ours = of_this_run(VERLS)
    monkeypatch.setenv(MARK, "b" * 32)
    theirs = of_this_run(VERLS)
    assert len({ours, theirs, VERLS}) == 3
    assert ours.startswith("ipc:///tmp/")
    assert ours.endswith("-replica-0-rank-0.sock")
    assert len(ours.removeprefix("ipc://")) < 100


def test_without_a_mark_it_is_verls(monkeypatch) -> None:
    monkeypatch.delenv(MARK, raising=False)
    assert of_this_run(VERLS) == VERLS


def test_trainer_and_engine_of_a_run_meet(monkeypatch) -> None:
    """verl's own code on both sides names the address; ours must not part them."""
    from copris_core.verl_adapter.platform_cpu import name_the_vllm_distribution

    name_the_vllm_distribution()  # or verl finds no vLLM

    from verl.workers.engine_workers import ActorRolloutRefWorker
    from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

    from copris_core.verl_adapter.worker import CPUReadyWorker
    from copris_core.verl_adapter.worker_extension import WorkerExtension

    monkeypatch.setenv(MARK, "c" * 32)
    monkeypatch.setattr(vLLMColocateWorkerExtension, "_get_zmq_handle", lambda self: VERLS)
    engine = object.__new__(WorkerExtension)._get_zmq_handle()

    def build(self) -> None:
        self.rollout = SimpleNamespace(zmq_handle=VERLS)

    monkeypatch.setattr(ActorRolloutRefWorker, "init_model", build)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    worker = object.__new__(CPUReadyWorker)
    worker.init_model()
    assert worker.rollout.zmq_handle == engine != VERLS
