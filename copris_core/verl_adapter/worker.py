"""verl's training worker with a measured loss (and, on a CPU, its process group)."""

from collections.abc import Iterable
from typing import Any

import torch
from tensordict import TensorDict
from torch.distributed.tensor import DTensor
from verl.plugin.platform import get_platform
from verl.single_controller.base.decorator import Dispatch, register
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

from copris_core.verl_adapter.losses import LossFn, MeasuredLoss

WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integer of as many bytes as a number of a tensor has."""


class MeasuredTrainingWorker(TrainingWorker):
    """The actor inside ``GateWorker``: same training, measured as it goes."""

    def set_loss_fn(self, loss_fn: LossFn) -> None:
        """Wrap the loss; verl passes partial(ppo_loss, config=...)."""
        self.loss_fn = MeasuredLoss(loss_fn, loss_fn.keywords["config"])
        # verl skips the step when a gradient is not finite; the weights are the same then.
        self.engine.optimizer.register_step_post_hook(lambda *_: self.loss_fn.end())

    def train_mini_batch(self, data: TensorDict) -> TensorDict:
        """One update: several mini-batches, an optimizer step each."""
        self.loss_fn.begin()
        return super().train_mini_batch(data=data)


class CPUReadyWorker(ActorRolloutRefWorker):
    """verl's hybrid worker, which also starts on a CPU."""

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def init_model(self) -> Any:
        """Build the models; on a CPU open the process group first.

        verl would ask for "cpu:gloo,cpu:gloo" (utils/distributed.py:89), which torch refuses; it
        leaves a group that is open already alone.
        """
        if get_platform().device_name == "cpu" and not torch.distributed.is_initialized():
            torch.distributed.init_process_group(
                "cpu:gloo", rank=self.rank, world_size=self.world_size
            )
        return super().init_model()


class GateWorker(CPUReadyWorker):
    """The same with a measured actor."""

    actor_worker_cls = MeasuredTrainingWorker

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def weights_checksum(self) -> int:
        """A number that changes with any bit of this rank's shard of the actor."""
        shards = (parameter.detach() for parameter in self.actor.engine.module.parameters())
        return checksum(
            shard.to_local() if isinstance(shard, DTensor) else shard for shard in shards
        )


def checksum(tensors: Iterable[torch.Tensor]) -> int:
    """Sum of all words, read as integers, each tensor weighed by its place; modulo 2^63."""
    total = 0
    for place, tensor in enumerate(tensors, start=1):
        words = tensor.contiguous().view(WORDS[tensor.element_size()])
        total += place * int(words.sum(dtype=torch.int64))
    return total % 2**63
