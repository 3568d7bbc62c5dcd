"""Named engines and workloads.

`CPU_2_CORES` follows measurements of this project's CPU engine (see its docstring);
`GPU_ESTIMATE` is an estimate and nothing was measured for it.
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
        step_s=0.012,
        response_s=0.0003,
        prefill_token_s=0.00002,
        request_s=0.002,
        stop_s=0.06,
        kv_tokens=200_000,
        max_running=1024,
    ),
    workload=Workload(
        lengths=LognormalLengths(median=60, sigma=1.0, cap=1024),
        groups_per_stage=4,
        group_size=8,
        prompt_tokens=30,
        update_s=0.5,
        update_token_s=0.0002,
    ),
)
"""A toy model on vLLM inside verl, two CPU cores: a decode step costs about 12 ms + 0.3 ms per
response (32 ms at 64 in flight). Prefill, request and update costs are of the right size, no more.
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
