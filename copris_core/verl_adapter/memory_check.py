"""What ``copris check`` says of the memory of a GPU: the arithmetic of ``simulator/memory.py``.

This file reads verl's keys and puts the figures into words. It refuses to change anything.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from omegaconf import DictConfig

from copris_core.simulator.architecture import Architecture
from copris_core.simulator.memory import (
    FP32_BYTES,
    GIB,
    Memory,
    MemorySettings,
    memory_of,
)
from copris_core.simulator.presets import BF16_BYTES
from copris_core.verl_adapter.config import RunConfig
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.reading import number, optional, text

ROLLOUT: Final = "actor_rollout_ref.rollout"
ACTOR: Final = "actor_rollout_ref.actor"
FSDP: Final = f"{ACTOR}.fsdp_config"
MODEL: Final = "actor_rollout_ref.model"
TOKENS: Final = f"{ACTOR}.ppo_max_token_len_per_gpu"
HALF: Final = 0.5
"""Share of the cap that responses in flight are taken to have on average: nobody's measurement."""


def memory_lines(
    run: RunConfig, cfg: DictConfig, config: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Say where a GPU's memory goes; nothing on a CPU.

    Args:
        run: the typed choices.
        cfg: the derived config.
        config: the fields of the model's config.json; empty: unknown.

    Returns:
        Lines about what there is, and sentences about what does not fit.

    Raises:
        ConfigError: a setting is of the wrong kind or out of range.
    """
    if run.platform.name != "gpu" or not config:
        return [], []
    if optional(cfg, f"{MODEL}.lora_rank", int):
        return [], ["memory is not worked out: adapters (lora_rank) are not counted"]
    try:
        model = Architecture.from_config(config)
    except ValueError as error:
        return [], [f"memory is not worked out: {error}"]
    memory = memory_of(model, _settings(run, cfg))
    return [*_lines(model, memory)], [*_notes(run, memory)]


def _settings(run: RunConfig, cfg: DictConfig) -> MemorySettings:
    plan, gpus = run.plan, run.plan.devices
    cap = number(cfg, "data.max_prompt_length") + number(cfg, "data.max_response_length")
    packed = number(cfg, f"{ACTOR}.ppo_micro_batch_size_per_gpu") * cap
    asked = number(cfg, f"{FSDP}.fsdp_size")
    most = run.strategy.most_in_flight(plan.prompts, plan.group_size)
    bf16 = text(cfg, f"{FSDP}.model_dtype") in ("bf16", "bfloat16")
    return MemorySettings(
        gpu_bytes=int(_above_zero(cfg, "platform.gpu_memory_gib", most=None) * GIB),
        gpus=gpus,
        shards=gpus if asked < 1 else min(asked, gpus),
        state_bytes=BF16_BYTES if bf16 else FP32_BYTES,
        engine_share=_above_zero(cfg, f"{ROLLOUT}.gpu_memory_utilization", most=1.0),
        tensor_parallel=_tensor_parallel(cfg, gpus),
        engine_sleeps=bool(optional(cfg, f"{ROLLOUT}.free_cache_engine", bool)),
        tokens=number(cfg, TOKENS) if optional(cfg, f"{ACTOR}.use_dynamic_bsz", bool) else packed,
        response_cap=cap,
        in_flight=most or plan.in_flight,
        param_offload=bool(optional(cfg, f"{FSDP}.param_offload", bool)),
        optimizer_offload=bool(optional(cfg, f"{FSDP}.optimizer_offload", bool)),
        offload_policy=bool(optional(cfg, f"{FSDP}.offload_policy", bool)),
        checkpointing=bool(optional(cfg, f"{MODEL}.enable_gradient_checkpointing", bool)),
        whole_logits=not optional(cfg, f"{MODEL}.use_fused_kernels", bool),
    )


def _above_zero(cfg: DictConfig, key: str, *, most: float | None) -> float:
    value = optional(cfg, key, float)
    if value is None or value <= 0 or (most is not None and value > most):
        bound = "" if most is None else f", at most {most:g}"
        raise ConfigError(f"{key}={value}: set it above 0{bound}")
    return float(value)


def _tensor_parallel(cfg: DictConfig, gpus: int) -> int:
    key = f"{ROLLOUT}.tensor_model_parallel_size"
    size = number(cfg, key)
    if size < 1 or gpus % size:
        raise ConfigError(f"{key}={size} does not divide {gpus} GPUs: set it to a divisor")
    return size


def _lines(model: Architecture, memory: Memory) -> Iterator[str]:
    asked, gib = memory.settings, _gib
    yield (
        f"memory         {gib(asked.gpu_bytes)} GiB a GPU, {asked.gpus} GPUs; a model of "
        f"{model.params / 1e9:.2f} billion parameters (activations and logits are estimates)"
    )
    yield (
        f"  sampling     {gib(memory.sampling)} GiB: engine "
        f"{gib(asked.engine_share * asked.gpu_bytes)} (weights {gib(memory.weights)}, KV cache "
        f"{gib(memory.kv_pool)}), trainer waits in {gib(memory.waiting_trainer)}"
    )
    yield (
        f"  KV cache     {memory.kv_token / 1024:g} KiB a token: {memory.kv_response() / GIB:.2f} "
        f"GiB for a response at its cap of {asked.response_cap} tokens, "
        f"{memory.kv_response(HALF) / GIB:.2f} half way"
    )
    yield (
        f"  fit          {memory.fit()} responses at the cap, {memory.fit(HALF)} half way, in "
        f"{memory.engines} engine{'s' * (memory.engines > 1)}; {asked.in_flight} are in flight"
    )
    yield (
        f"  update       {gib(memory.update)} GiB: weights {gib(memory.master)}, Adam "
        f"{gib(memory.moments)}, gradients {gib(memory.gradients)}, gathered "
        f"{gib(memory.gathered)}; {asked.tokens} tokens: activations {gib(memory.activations)}, "
        f"logits {gib(memory.logits)}"
    )


def _notes(run: RunConfig, memory: Memory) -> Iterator[str]:
    asked = memory.settings
    if memory.sampling > asked.gpu_bytes:
        yield (
            f"sampling takes {_gib(memory.sampling)} GiB of a GPU of {_gib(asked.gpu_bytes)}: "
            f"lower {ROLLOUT}.gpu_memory_utilization to {memory.engine_share_that_fits():g}, or "
            f"set {FSDP}.param_offload=true and optimizer_offload=true"
        )
    if not memory.fit():
        yield (
            "the KV cache holds no whole response: raise "
            f"{ROLLOUT}.gpu_memory_utilization or tensor_model_parallel_size, or lower "
            "data.max_response_length"
        )
    elif asked.in_flight > memory.fit(HALF):
        yield (
            f"{asked.in_flight} in flight, and {memory.fit(HALF)} fit half way: the engine will "
            f"preempt and prefill again: {_fewer(run, memory.fit(HALF))}, or use more GPUs"
        )
    if memory.update > asked.gpu_bytes:
        yield (
            f"the update takes {_gib(memory.update)} GiB of a GPU of {_gib(asked.gpu_bytes)}: "
            f"{_update_mend(memory)}"
        )


def _fewer(run: RunConfig, fits: int) -> str:
    if run.strategy.concurrency is not None:
        return f"lower strategy.concurrency to {fits}"
    return f"strategy=copris strategy.concurrency={fits} bounds it"


def _update_mend(memory: Memory) -> str:
    """The first that helps: fewer tokens at a time, an engine that sleeps, state on the CPU."""
    asked, fits = memory.settings, memory.tokens_that_fit()
    if fits >= asked.response_cap:
        return f"lower {TOKENS} to {max(asked.response_cap, fits // 1024 * 1024)}"
    if not asked.engine_sleeps:
        return f"set {ROLLOUT}.free_cache_engine=true and enable_sleep_mode=true"
    if not asked.offload_policy:
        return f"set {FSDP}.offload_policy=true, or use more GPUs"
    return f"set {MODEL}.use_fused_kernels=true, or lower data.max_response_length"


def _gib(number_of_bytes: float) -> str:
    return f"{number_of_bytes / GIB:.1f}"
