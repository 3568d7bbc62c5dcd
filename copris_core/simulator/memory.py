"""What one GPU holds while a run samples and while it updates: plain arithmetic, nothing measured.

The engine (vLLM) and the trainer (FSDP2) share each GPU. Weights, optimizer and KV cache follow
from the model's sizes; activations, logits and what CUDA takes are estimates, and say so. This file
refuses to know files and verl's key names.
"""

from dataclasses import dataclass
from typing import Final

from copris_core.simulator.architecture import Architecture
from copris_core.simulator.presets import BF16_BYTES

GIB: Final = 2**30
FP32_BYTES: Final = 4
ADAM_MOMENTS: Final = 2

ENGINE_OVERHEAD: Final = int(4e9)
"""Bytes of a running engine beside weights and KV cache: activations, CUDA graphs, its CUDA
context. An estimate, the one of ``presets.CACHE_BYTES``."""
ENGINE_ASLEEP: Final = 2 * GIB
"""Bytes of an engine that sleeps: CUDA context and graphs. An estimate."""
TRAINER_CONTEXT: Final = 2 * GIB
"""Bytes of the trainer's CUDA context and NCCL buffers. An estimate."""
LOGIT_BYTES: Final = 6
"""Bytes per token and word of the vocabulary in an update: bf16 logits, the log-softmax that
PyTorch keeps for the backward pass, and the gradient (verl 0.9.1, ``logprobs_from_logits_v2``).
Where flash-attn is installed its cross entropy works in place: 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """What a run asks of its GPUs."""

    gpu_bytes: int
    """Memory of one GPU, bytes."""
    gpus: int
    """GPUs of the run, over all nodes."""
    shards: int
    """Ranks that the trainer's state is divided by; at most ``gpus``."""
    engine_share: float
    """Share of a GPU that the engine takes (gpu_memory_utilization), in (0, 1]."""
    tensor_parallel: int
    """GPUs of one engine."""
    engine_sleeps: bool
    """Whether the engine gives its weights and KV cache back for the update (free_cache_engine)."""
    tokens: int
    """Most tokens of a micro-batch on one GPU."""
    response_cap: int
    """Most tokens of prompt and response."""
    in_flight: int
    """Responses in flight at a time, over all engines."""
    state_bytes: int = FP32_BYTES
    """Bytes of a number of the trainer's weights, gradients and moments."""
    param_offload: bool = False
    """Whether weights and gradients wait in CPU memory between updates."""
    optimizer_offload: bool = False
    """Whether Adam's moments wait in CPU memory between updates."""
    offload_policy: bool = False
    """Whether weights, gradients and moments stay in CPU memory during the update too (FSDP2)."""
    checkpointing: bool = True
    """Whether the backward pass works the activations of each layer out again."""
    whole_logits: bool = True
    """Whether an update makes the logits of a micro-batch as a whole (no fused kernels)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Where the memory of one GPU goes, in bytes, and how many responses fit."""

    settings: MemorySettings
    """What was asked."""
    weights: int
    """The engine's bf16 weights."""
    kv_pool: int
    """The engine's KV cache; 0 if nothing is left for it."""
    kv_token: int
    """KV cache of one token."""
    master: int
    """The trainer's shard of the fp32 weights."""
    moments: int
    """Its shard of Adam's two moments."""
    gradients: int
    """Its shard of the fp32 gradients."""
    gathered: int
    """bf16 weights and gradients of what is not sharded at the moment; an estimate."""
    activations: int
    """Of one micro-batch; an estimate."""
    logits: int
    """Of one micro-batch; an estimate."""

    @property
    def waiting_trainer(self) -> int:
        """What the trainer holds while the engine samples."""
        at_home = self.settings.offload_policy
        master = 0 if at_home or self.settings.param_offload else self.master
        moments = 0 if at_home or self.settings.optimizer_offload else self.moments
        return TRAINER_CONTEXT + master + moments

    @property
    def sampling(self) -> int:
        """All that a GPU holds while the engine samples."""
        return self._engine_share + self.waiting_trainer

    @property
    def update(self) -> int:
        """All that a GPU holds in the update, at its peak."""
        state = 0 if self.settings.offload_policy else self.master + self.moments + self.gradients
        engine = ENGINE_ASLEEP if self.settings.engine_sleeps else self._engine_share
        passing = self.gathered + self.activations + self.logits
        return engine + TRAINER_CONTEXT + state + passing

    @property
    def engines(self) -> int:
        """Engines of the run."""
        return self.settings.gpus // self.settings.tensor_parallel

    def kv_response(self, share: float = 1.0) -> float:
        """KV cache that a response of that share of its cap takes on each GPU of its engine."""
        return share * self.settings.response_cap * self.kv_token

    def fit(self, share: float = 1.0) -> int:
        """Responses of that share of the cap whose KV cache fits, over all engines."""
        return self.engines * int(self.kv_pool / self.kv_response(share))

    def tokens_that_fit(self) -> int:
        """Most tokens of a micro-batch with which the update fits; 0 if it never does."""
        per_token = (self.activations + self.logits) / self.settings.tokens
        fixed = self.update - self.activations - self.logits
        return max(0, int((self.settings.gpu_bytes - fixed) / per_token))

    def engine_share_that_fits(self) -> float:
        """Largest engine share, in hundredths, that leaves the waiting trainer its memory."""
        left = (self.settings.gpu_bytes - self.waiting_trainer) / self.settings.gpu_bytes
        return max(0, int(100 * left)) / 100

    @property
    def _engine_share(self) -> int:
        return int(self.settings.engine_share * self.settings.gpu_bytes)


def memory_of(model: Architecture, settings: MemorySettings) -> Memory:
    """Work out where the memory goes.

    weights     2 P / tensor_parallel
    KV pool     engine_share x memory - weights - overhead
    master      4 P / shards; Adam 8 P / shards; gradients 4 P / shards (mixed precision as in ZeRO,
                arXiv 1910.02054, section 3.1, but for the gradients, which FSDP2 keeps in fp32)
    gathered    (2 + 2) x (two layers + what lies outside the layers): FSDP2 prefetches one layer
    activations 2 x tokens x layers x H, the inputs of all layers, and those inside of one (gradient
                checkpointing, arXiv 1604.06174); without checkpointing those inside of every layer
    logits      6 x tokens x vocabulary

    Args:
        model: its sizes.
        settings: what the run asks.
    """
    weights = model.weight_bytes // settings.tensor_parallel
    pool = int(settings.engine_share * settings.gpu_bytes) - weights - ENGINE_OVERHEAD
    shard = settings.state_bytes * model.params // settings.shards
    unsharded = 2 * model.layer_params + model.outer_params
    logits = LOGIT_BYTES * settings.tokens * model.vocab if settings.whole_logits else 0
    return Memory(
        settings=settings,
        weights=weights,
        kv_pool=max(0, pool),
        kv_token=model.kv_bytes(tensor_parallel=settings.tensor_parallel),
        master=shard,
        moments=ADAM_MOMENTS * shard,
        gradients=shard,
        gathered=2 * BF16_BYTES * unsharded,
        activations=_activations(model, settings),
        logits=logits,
    )


def _activations(model: Architecture, settings: MemorySettings) -> int:
    """Bytes of a micro-batch's activations.

    Inside a layer, in bf16 values a token: two norms in fp32 (4 H) and out (2 H), queries, keys and
    values, attention's result and its projection (H), gate, up, their activation and product (4 I).
    Attention itself is recomputed by its kernel.
    """
    inside = 7 * model.hidden + 2 * model.query_dim + 2 * model.kv_dim + 4 * model.intermediate
    kept = model.layers * model.hidden + inside if settings.checkpointing else model.layers * inside
    return BF16_BYTES * settings.tokens * kept
