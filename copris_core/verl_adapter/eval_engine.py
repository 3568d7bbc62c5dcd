"""vLLM without Ray or trainer: requests in, whole responses out, one engine iteration at a time.

The engine's core runs in this process: a kill leaves nothing behind (workers of a tensor-parallel
engine end with it), and iterations are a function of the requests alone. On a CPU, with vLLM's
split of long KV caches over threads switched off, so are the numbers, however the requests are
batched. Determinism by seed rests on both.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from copris_core.verl_adapter import environment
from copris_core.verl_adapter.errors import ConfigError, TrainingError
from copris_core.verl_adapter.eval_quiet import quiet
from copris_core.verl_adapter.eval_settings import EvalSettings

MOST_IN_FLIGHT: Final = {"cpu": 64, "gpu": 256}
"""Responses of one decode batch unless the user says otherwise."""

ENVIRONMENT: Final = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Split over threads, a response's numbers would depend on what else is in the batch.
    "VLLM_CPU_ATTN_SPLIT_KV": "0",
}
CPU_KV_BYTES: Final = (128 << 20, 0.25)
"""KV cache of the CPU engine: at least so many bytes, at most that share of the free memory."""

NEVER: Final = 1 << 30
"""A stream interval that is never reached: a response is read when it has ended."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """What the engine made of one request."""

    request_id: str
    """As it was given."""
    tokens: Sequence[int]
    """Sampled tokens, the one that ended it included."""
    finish: str
    """"stop" or "length"."""


def prepare(platform: str) -> None:
    """Set the environment; before verl and vLLM are imported."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    environment.prepare(platform)
    os.environ.update(ENVIRONMENT)
    with quiet():
        import verl  # noqa: F401  # names the CPU wheel of vLLM, see platform_cpu.py


class EvalEngine:
    """One engine, over ``tensor_parallel`` devices."""

    def __init__(self, model: Path, settings: EvalSettings, *, max_model_len: int) -> None:
        """Load the weights.

        Args:
            model: folder in Hugging Face's layout.
            settings: what was asked for.
            max_model_len: tokens of the longest prompt with the longest response.

        Raises:
            ConfigError: the engine refuses the model or the settings.
        """
        with quiet():
            from vllm import EngineArgs
            from vllm.v1.engine.llm_engine import LLMEngine

        self._settings = settings
        arguments = _arguments(model, settings, max_model_len=max_model_len)
        try:
            with quiet():
                self._engine = LLMEngine.from_engine_args(EngineArgs(**arguments))
        except (ValueError, RuntimeError, OSError, NotImplementedError) as error:
            raise ConfigError(f"vLLM can't serve {model}: {_told(error)}") from error

    @property
    def kv_tokens(self) -> int:
        """Tokens that its KV cache holds."""
        cache = self._engine.vllm_config.cache_config
        return int((cache.num_gpu_blocks or 0) * cache.block_size)

    def start(self, request_id: str, tokens: Sequence[int], *, max_tokens: int, seed: int) -> None:
        """Hand one request over."""
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        settings = self._settings
        params = SamplingParams(
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            max_tokens=max_tokens,
            seed=seed,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._engine.add_request(request_id, TokensPrompt(prompt_token_ids=list(tokens)), params)

    def step(self) -> list[Response]:
        """Run one iteration; the responses that ended in it.

        Raises:
            TrainingError: the engine is dead, or gave a request up.
        """
        try:
            outputs = self._engine.step()
        except Exception as error:
            raise TrainingError(f"the engine died ({_told(error)})") from error
        return [_response(output) for output in outputs if output.finished]

    def close(self) -> None:
        """End its processes, if it has any."""
        self._engine.engine_core.shutdown()


def in_flight(settings: EvalSettings, *, kv_tokens: int, prompt: int, response: int) -> int:
    """N': what was asked for, or as many as fit if each uses half of its limit.

    Args:
        settings: what was asked for.
        kv_tokens: tokens that the KV cache holds.
        prompt: tokens of the longest prompt.
        response: the largest limit of a response.
    """
    if settings.concurrency is not None:
        return settings.concurrency
    return max(1, min(MOST_IN_FLIGHT[settings.platform], kv_tokens // (prompt + response // 2 + 1)))


def positions_of(model: Path) -> int | None:
    """Tokens that a model can hold; None where its config does not say."""
    described: Any = json.loads((model / "config.json").read_text(encoding="utf-8"))
    inner = described.get("text_config") or described
    found = inner.get("max_position_embeddings")
    return int(found) if found else None


def _arguments(model: Path, settings: EvalSettings, *, max_model_len: int) -> dict[str, Any]:
    asked = settings.concurrency
    arguments: dict[str, Any] = {
        "model": str(model),
        "dtype": settings.dtype,
        "max_model_len": max_model_len,
        "max_num_seqs": asked or MOST_IN_FLIGHT[settings.platform],
        "seed": settings.seed,
        "tensor_parallel_size": settings.tensor_parallel,
        "trust_remote_code": settings.trust_remote_code,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "stream_interval": NEVER,
    }
    if settings.platform == "cpu":
        return arguments | {
            "enforce_eager": True,
            # Whether a prompt's beginning is cached depends on who came before.
            "enable_prefix_caching": False,
            # By its full name, because vLLM turns "uni" back into "mp" on a CPU.
            "distributed_executor_backend": "vllm.v1.executor.uniproc_executor.UniProcExecutor",
            "kv_cache_memory_bytes": _cpu_kv_bytes(),
        }
    return arguments | {"gpu_memory_utilization": settings.gpu_memory_utilization}


def _cpu_kv_bytes() -> int:
    least, share = CPU_KV_BYTES
    return max(least, min(1 << 30, int(share * psutil.virtual_memory().available)))


def _response(output: Any) -> Response:
    (sampled,) = output.outputs
    if sampled.finish_reason not in ("stop", "length"):
        raise TrainingError(
            f"the engine gave up request {output.request_id} ({sampled.finish_reason})"
        )
    return Response(
        request_id=str(output.request_id),
        tokens=list(sampled.token_ids),
        finish=str(sampled.finish_reason),
    )


def _told(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
