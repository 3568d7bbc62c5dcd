"""The worker extension of vLLM's engines (rollout.engine_kwargs.vllm.worker_extension_cls)."""

from typing import Any

from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

from copris_core.verl_adapter import engine_log
from copris_core.verl_adapter.weight_socket import of_this_run


class WorkerExtension(vLLMColocateWorkerExtension):
    """verl's extension, with the run's own socket, and an eye on every iteration if wanted."""

    def __new__(cls, **kwargs: Any) -> "WorkerExtension":
        """``cls`` is vLLM's worker class, which has this one among its bases."""
        engine_log.observe(cls)
        return super().__new__(cls, **kwargs)

    def _get_zmq_handle(self) -> str:
        return of_this_run(super()._get_zmq_handle())
