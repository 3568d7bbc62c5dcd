"""The worker extension of vLLM's CPU engine (rollout.engine_kwargs.vllm.worker_extension_cls)."""

from typing import Any

from copris_core.verl_adapter.worker_extension import WorkerExtension


class CPUWorkerExtension(WorkerExtension):
    """Ours on linears that can take new weights.

    vLLM's CPU backend packs each linear weight into a oneDNN handle and leaves an empty parameter
    behind (vllm/model_executor/layers/utils.py:566-575), so that a later load_weights() has nowhere
    to write. ``_cpu_skip_gemm_dispatch`` is vLLM's own opt-out (linear.py:208).
    """

    def __new__(cls, **kwargs: Any) -> "CPUWorkerExtension":
        """Opt every linear of this process out of packing, before the model is built."""
        from vllm.model_executor.layers.linear import LinearBase

        LinearBase._cpu_skip_gemm_dispatch = True
        return super().__new__(cls, **kwargs)
