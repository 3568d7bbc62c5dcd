"""What an evaluation was asked for, checked before anything heavy starts.

``identity`` is what its samples depend on: a folder is continued only by the same. How fast it goes
(in flight, parallel devices, memory) is not part of it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from copris_core.tasks.benchmarks import Benchmark
from copris_core.verl_adapter.errors import ConfigError, one_of

PLATFORMS: Final = ("cpu", "gpu")
DTYPES: Final = {"cpu": "float32", "gpu": "bfloat16"}
"""What engines of a training run sample in, see configs/platform."""
NEWEST: Final = "newest"
BEST: Final = "best"


@dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """Everything that the words of ``copris eval`` say."""

    model: str
    """A Hugging Face folder or hub id, a run folder, or a policy that ships with the package."""
    benchmarks: tuple[Benchmark, ...]
    """What it is measured on."""
    step: str = NEWEST
    """Of a run: ``newest``, ``best`` by held-out validation, or a number."""
    n: int = 1
    """Samples of each prompt."""
    temperature: float = 0.6
    """Of the sampling; 0 is greedy."""
    top_p: float = 0.95
    """Share of the probability that is sampled from."""
    top_k: int = -1
    """Most likely tokens that are sampled from; -1: all."""
    max_tokens: int | None = None
    """Longest response; None: each benchmark's own."""
    rows: int | None = None
    """Measure on the first so many prompts of each benchmark; None: all."""
    seed: int = 0
    """Decides every sample, with the prompt and the sample's index."""
    out: Path | None = None
    """Folder of the result; None: below the run, or runs/eval."""
    platform: str = "cpu"
    """``cpu`` or ``gpu``."""
    tensor_parallel: int = 1
    """Devices that share one engine."""
    gpu_memory_utilization: float = 0.9
    """Share of each GPU's memory that the engine takes."""
    concurrency: int | None = None
    """N', responses in flight; None: what the KV cache holds."""
    trust_remote_code: bool = False
    """Run code that the model's folder brings."""

    def __post_init__(self) -> None:
        """Refuse what cannot be sampled.

        Raises:
            ConfigError: see above; one line that says the mend.
        """
        one_of("--platform", self.platform, PLATFORMS)
        for flag, value in self._counts().items():
            if value is not None and value < 1:
                raise ConfigError(f"{flag} {value}: use 1 or more")
        if not 0 <= self.temperature <= 10:
            raise ConfigError(f"--temperature {self.temperature:g}: use 0 (greedy) to 10")
        if self.temperature == 0 and self.n > 1:
            raise ConfigError(
                f"--n {self.n} with --temperature 0 samples the same response {self.n} times: use "
                "--n 1, or a temperature above 0"
            )
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"--top-p {self.top_p:g}: use more than 0, at most 1")
        if self.top_k != -1 and self.top_k < 1:
            raise ConfigError(f"--top-k {self.top_k}: use 1 or more, or -1 for all")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed}: use 0 or more")
        if not 0 < self.gpu_memory_utilization <= 1:
            raise ConfigError(
                f"--gpu-memory-utilization {self.gpu_memory_utilization:g}: use more than 0, at "
                "most 1"
            )
        if self.step not in (NEWEST, BEST) and not self.step.isdecimal():
            raise ConfigError(f"--step {self.step}: use a number, {NEWEST} or {BEST}")

    @property
    def dtype(self) -> str:
        """What the engine computes in."""
        return DTYPES[self.platform]

    def identity(self) -> dict[str, Any]:
        """What the samples depend on, without the model's weights and the rows."""
        return {
            "n": self.n,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "rows": self.rows,
            "seed": self.seed,
            "dtype": self.dtype,
        }

    def _counts(self) -> dict[str, int | None]:
        return {
            "--n": self.n,
            "--max-tokens": self.max_tokens,
            "--rows": self.rows,
            "--tensor-parallel": self.tensor_parallel,
            "--concurrency": self.concurrency,
        }


def platform_here() -> str:
    """``gpu`` where there is one."""
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"
