"""Named engines and workloads.

`CPU_2_CORES` follows measurements of this project's CPU engine (see its docstring). The H100
presets are estimates: a roofline of data sheets and model shapes, and nothing was measured for
them.
"""

from dataclasses import dataclass
from typing import Final

from copris_core.simulator.engine import EngineModel
from copris_core.simulator.lengths import LognormalLengths
from copris_core.simulator.simulation import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """An engine and what it samples."""

    name: str
    """How a command line calls it."""
    is_estimate: bool
    """Whether its numbers were thought and not measured."""
    engine: EngineModel
    """The replicas."""
    workload: Workload
    """What is sampled and trained per step."""


CPU_2_CORES: Final = Preset(
    name="cpu-2-cores",
    is_estimate=False,
    engine=EngineModel(
        step_s=0.00258,
        response_s=0.000104,
        prefill_token_s=0.0000247,
        request_s=0.0015,
        stop_s=0.011,
        kv_tokens=349_525,
        max_running=256,
    ),
    workload=Workload(
        lengths=LognormalLengths(median=60, sigma=1.0, cap=1024),
        groups_per_stage=4,
        group_size=8,
        prompt_tokens=16,
        update_s=0.155,
        update_token_s=0.000131,
        update_padded_token_s=0.0000228,
    ),
)
"""The packaged model on vLLM inside verl, two CPU cores: what ``copris plan calibrate`` made of
five runs of the bench of docs/bench.md (4 to 256 in flight, 7,837 iterations, median error 12%).
"""

GPU_ESTIMATE: Final = Preset(
    name="gpu-estimate",
    is_estimate=True,
    engine=EngineModel(
        step_s=0.014,
        response_s=0.00004,
        flat_to=256,
        prefill_token_s=0.000035,
        request_s=0.0005,
        stop_s=0.1,
        kv_tokens=900_000,
        max_running=1024,
        replicas=2,
    ),
    workload=Workload(
        lengths=LognormalLengths(median=1200, sigma=0.8, cap=8192),
        groups_per_stage=64,
        group_size=8,
        prompt_tokens=200,
        update_s=5.0,
        update_token_s=0.00002,
    ),
)
"""Two replicas of a 7B model on 80 GB accelerators, derived and not measured: a step reads 15 GB of
weights at about 1.1 TB/s effective and is flat to about 256 responses; prefill at 15 GFLOP a token
and 430 TFLOP/s; 57 kB of KV cache a token in about 50 GB.
"""

HBM_BYTES_PER_S: Final = 0.7 * 3.35e12
"""Memory bandwidth of an H100 SXM by its data sheet, of which decoding gets about 70%."""

FLOP_PER_S: Final = 989e12
"""Dense bf16 operations a second of an H100 SXM by its data sheet."""

PREFILL_UTILISATION: Final = 0.5
"""Share of ``FLOP_PER_S`` that a prefill, or a full decode batch, gets."""

TRAINING_UTILISATION: Final = 0.35
"""Share of ``FLOP_PER_S`` that training gets (MFU)."""

CACHE_BYTES: Final = 0.8 * 80e9 - 4e9
"""Bytes of a GPU for weights and KV cache: gpu_memory_utilization=0.8, 4 GB of activations."""

STEP_OVERHEAD_S: Final = 0.004
"""Seconds of a decode step in which the GPU waits for the scheduler, launches and sampling. A guess
of the usual size."""

ALL_REDUCE_S: Final = 15e-6
"""Seconds of one small all-reduce over NVLink; tensor parallelism makes two of them per layer."""

REQUEST_S: Final = 0.0005
"""Seconds of a replica to take in one request. A guess."""

STOP_S: Final = 0.5
"""Seconds to abort everybody and collect the partials. A guess."""

SWITCH_S: Final = 5.0
"""Seconds of a step for the optimizer, to put the engine to sleep and to wake it. A guess."""

SYNC_BYTES_PER_S: Final = 10e9
"""Speed of handing new weights to the engines. A guess."""

BF16_BYTES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What a model costs, by its config.json."""

    params: float
    """Weights."""
    layers: int
    """num_hidden_layers."""
    kv_heads: int
    """num_key_value_heads."""
    head_dim: int
    """hidden_size / num_attention_heads."""

    @property
    def kv_bytes(self) -> int:
        """Bytes of KV cache a token in bf16."""
        return kv_bytes_per_token(
            layers=self.layers,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            element_bytes=BF16_BYTES,
        )

    @property
    def weight_bytes(self) -> float:
        """Bytes of the weights in bf16."""
        return BF16_BYTES * self.params


def kv_bytes_per_token(*, layers: int, kv_heads: int, head_dim: int, element_bytes: int) -> int:
    """Bytes that one token takes in the KV cache: a key and a value per layer and KV head."""
    return 2 * layers * kv_heads * head_dim * element_bytes


QWEN_1_5B: Final = ModelShape(params=1.54e9, layers=28, kv_heads=2, head_dim=128)
QWEN_7B: Final = ModelShape(params=7.62e9, layers=28, kv_heads=4, head_dim=128)
QWEN_14B: Final = ModelShape(params=14.8e9, layers=48, kv_heads=8, head_dim=128)


def h100_engine(shape: ModelShape, *, gpus: int, tensor_parallel: int = 1) -> EngineModel:
    """A roofline of ``gpus`` H100: what is read per step, and what is computed per token.

    step      weights / bandwidth + overhead (+ 2 layers all-reduces with tensor parallelism)
    flat_to   responses at which computing takes as long as reading the weights
    response  2 P FLOP beyond flat_to
    context   KV bytes of a token / bandwidth
    prefill   2 P FLOP
    KV cache  (memory - weights) / KV bytes of a token
    """
    bandwidth = HBM_BYTES_PER_S * tensor_parallel
    read_s = shape.weight_bytes / bandwidth
    token_s = 2 * shape.params / (PREFILL_UTILISATION * FLOP_PER_S * tensor_parallel)
    all_reduces = 2 * shape.layers if tensor_parallel > 1 else 0
    return EngineModel(
        step_s=read_s + STEP_OVERHEAD_S + all_reduces * ALL_REDUCE_S,
        response_s=token_s,
        flat_to=int(read_s / token_s),
        context_token_s=shape.kv_bytes / bandwidth,
        prefill_token_s=token_s,
        request_s=REQUEST_S,
        stop_s=STOP_S,
        kv_tokens=int((tensor_parallel * CACHE_BYTES - shape.weight_bytes) / shape.kv_bytes),
        max_running=1024,
        replicas=gpus // tensor_parallel,
    )


def h100_update(shape: ModelShape, *, gpus: int) -> tuple[float, float]:
    """(seconds of an update, seconds per trained token more) on ``gpus`` H100.

    8 P FLOP a token: 6 P of forward and backward, 2 P of the old log-probs.
    """
    token_s = 8 * shape.params / (TRAINING_UTILISATION * FLOP_PER_S * gpus)
    return SWITCH_S + shape.weight_bytes / SYNC_BYTES_PER_S, token_s


def _h100(name: str, shape: ModelShape, *, tensor_parallel: int = 1) -> Preset:
    """One node of 8 H100 with the batch of the CoPRIS authors' script (64 prompts x 8)."""
    update_s, update_token_s = h100_update(shape, gpus=8)
    return Preset(
        name=name,
        is_estimate=True,
        engine=h100_engine(shape, gpus=8, tensor_parallel=tensor_parallel),
        workload=Workload(
            lengths=LognormalLengths(median=3000, sigma=0.9, cap=15360, prompt_share=0.5),
            groups_per_stage=64,
            group_size=8,
            prompt_tokens=150,
            update_s=update_s,
            update_token_s=update_token_s,
        ),
    )


H100_1_5B: Final = _h100("h100-1.5b", QWEN_1_5B)
"""Estimate, Qwen2.5-1.5B on 8 replicas: 3.08 GB / 2.345 TB/s + 4 ms = 5.3 ms a step, flat to 210
responses; 28,672 B of KV cache a token, 1.98 M tokens a GPU."""

H100_7B: Final = _h100("h100-7b", QWEN_7B)
"""Estimate, Qwen2.5-7B on 8 replicas: 15.2 GB / 2.345 TB/s + 4 ms = 10.5 ms a step, flat to 210
responses; 57,344 B of KV cache a token, 781 k tokens a GPU."""

H100_14B: Final = _h100("h100-14b", QWEN_14B, tensor_parallel=2)
"""Estimate, Qwen2.5-14B on 4 replicas of two GPUs: 29.6 GB / 4.69 TB/s + 4 ms + 96 all-reduces of
15 us = 11.8 ms a step; 196,608 B of KV cache a token, 460 k tokens a replica."""

PRESETS: Final = {
    preset.name: preset for preset in (CPU_2_CORES, H100_1_5B, H100_7B, H100_14B, GPU_ESTIMATE)
}
"""Every preset by its name."""
