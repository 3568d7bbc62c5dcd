"""A worker extension that moves the weights of vLLM's CPU engine, in place of a training step."""

import torch

from copris_core.verl_adapter.vllm_cpu import CPUWorkerExtension


class NudgeExtension(CPUWorkerExtension):
    def nudge(self, relative: float, seed: int) -> None:
        """Add noise of ``relative`` times each tensor's own deviation."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for _, weight in sorted(self.model_runner.model.named_parameters()):
                noise = torch.randn(weight.shape, generator=generator)
                weight += relative * weight.std(correction=0) * noise.to(weight.dtype)
