"""Environment variables of a run and of every process below it. To be set before verl is imported."""

import os

COMMON = {
    "VERL_USE_EXTERNAL_MODULES": "copris_core.verl_adapter.plugin",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    # Ray would empty the visible devices of actors without GPUs, which verl counts on.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

CPU = {
    "VERL_PLATFORM": "cpu",
    # One compute thread: the trainer, the router and the agent loops need the other core.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # Ray's default kills workers at 95% of a laptop's memory, most of which is page cache.
    "RAY_memory_usage_threshold": "0.98",
    # Nothing of a CPU run lives on a hub; a look-up would only wait for the network.
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def prepare(platform: str) -> dict[str, str]:
    """Set what is not set yet; return what workers on other nodes must have too."""
    wanted = COMMON | (CPU if platform == "cpu" else {})
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    return {name: os.environ[name] for name in wanted}
