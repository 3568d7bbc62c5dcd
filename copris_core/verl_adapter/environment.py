"""Environment variables of a run and every process below it, set before verl is imported."""

import os

COMMON = {
    "VERL_USE_EXTERNAL_MODULES": "copris_core.verl_adapter.plugin",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VERL_LOGGING_LEVEL": "WARNING",
    # Ray would empty the visible devices of actors without GPUs, which verl counts on.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

CPU = {
    "VERL_PLATFORM": "cpu",
    # vLLM would pin its threads to cores that the trainer and the agent loops share.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # Ray's default kills workers at 95% of a laptop's memory, most of which is page cache.
    "RAY_memory_usage_threshold": "0.98",
    # Ray's workers would run at nice 15, at the mercy of whatever else the machine does.
    "RAY_worker_niceness": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def prepare(platform: str) -> dict[str, str]:
    """Set what is not set yet; return what workers on other nodes must have too."""
    wanted = COMMON | (CPU if platform == "cpu" else {})
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    return {name: os.environ[name] for name in wanted}
