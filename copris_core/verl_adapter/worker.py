"""verl's training worker with a measured loss, coefficients that move, and a reference to reset.

On a CPU it also opens the process group.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.utils.hooks import RemovableHandle
from verl.plugin.platform import get_platform
from verl.single_controller.base.decorator import Dispatch, register
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

from copris_core.verl_adapter.losses import LossFn, MeasuredLoss, register_own_loss
from copris_core.verl_adapter.reference import (
    checksum,
    clear_moments,
    copy_policy,
    shard_of,
    shards_of,
    weights_of,
)
from copris_core.verl_adapter.reference_io import load_shards, save_shards
from copris_core.verl_adapter.weight_socket import of_this_run


@dataclass(frozen=True, kw_only=True)
class LossCoefficients:
    """What the actor's loss is put together with."""

    kl: float
    """Weight of the KL to the reference (``actor.kl_loss_coef``)."""

    entropy: float
    """Weight of the entropy bonus (``actor.entropy_coeff``)."""


class MeasuredTrainingWorker(TrainingWorker):
    """The actor inside ``GateWorker``: same training, measured as it goes."""

    _step_hook: RemovableHandle | None = None

    def set_loss_fn(self, loss_fn: LossFn) -> None:
        """Wrap the loss; verl passes partial(ppo_loss, config=...)."""
        register_own_loss(loss_fn.keywords["config"].policy_loss.loss_mode)
        self._verl_loss = loss_fn
        self.loss_fn = MeasuredLoss(loss_fn, loss_fn.keywords["config"])
        if self._step_hook is not None:
            self._step_hook.remove()
        # verl skips the step when a gradient is not finite; the weights are the same then.
        self._step_hook = self.engine.optimizer.register_step_post_hook(
            lambda *_: self.loss_fn.end()
        )

    def set_loss_coefficients(self, kl: float | None, entropy: float | None) -> LossCoefficients:
        """Let the next update use them; see ``GateWorker.set_loss_coefficients``."""
        config = self._verl_loss.keywords["config"]
        wanted = {"kl_loss_coef": kl, "entropy_coeff": entropy}
        changes = {key: value for key, value in wanted.items() if value is not None}
        for key, value in changes.items():
            if not math.isfinite(value):
                raise ValueError(f"the actor's {key} cannot become {value}: give a finite number")
        if kl is not None and not config.use_kl_loss:
            raise ValueError(
                "the actor's loss has no KL term whose coefficient could change: add "
                "kl_control=fixed or kl_control=adaptive"
            )
        # verl's config is frozen, and the loss alone reads these two keys of it.
        config = replace(config, **changes)
        keywords = {**self._verl_loss.keywords, "config": config}
        self.set_loss_fn(partial(self._verl_loss.func, **keywords))
        return LossCoefficients(kl=config.kl_loss_coef, entropy=config.entropy_coeff)

    def train_mini_batch(self, data: TensorDict) -> TensorDict:
        """One update: several mini-batches, an optimizer step each."""
        self.loss_fn.begin()
        return super().train_mini_batch(data=data)


class CPUReadyWorker(ActorRolloutRefWorker):
    """verl's hybrid worker, which also starts on a CPU, and beside another run's."""

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
        built = super().init_model()
        if hasattr(self.rollout, "zmq_handle"):
            self.rollout.zmq_handle = of_this_run(self.rollout.zmq_handle)
        return built


class GateWorker(CPUReadyWorker):
    """The same with a measured actor."""

    actor_worker_cls = MeasuredTrainingWorker

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def weights_checksum(self) -> int:
        """A number that changes with any bit of this rank's shard of the actor."""
        module = self.actor.engine.module
        # FSDP2 gives whole parameters for as long as a forward pass has left them gathered.
        is_fsdp2 = isinstance(module, FSDPModule)
        weights = weights_of(module).values() if is_fsdp2 else module.parameters()
        return checksum(shard_of(weight) for weight in weights)

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def set_loss_coefficients(self, kl: float | None, entropy: float | None) -> LossCoefficients:
        """Let the next update use these coefficients; None leaves one as it is.

        Returns:
            Both, as they are in force from now on.

        Raises:
            ValueError: a coefficient is not finite, or the loss has no KL term; nothing is changed.
        """
        return self.actor.set_loss_coefficients(kl, entropy)

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def reset_reference(self, reset_optimizer: bool) -> int:
        """Make the current policy the reference; ProRL v1 also begins the optimizer's state anew.

        Returns:
            Weights whose optimizer state was dropped on this rank.

        Raises:
            ValueError: there is no reference policy of its own, or it is not cut like the actor;
                nothing is changed.
        """
        copy_policy(self.actor.engine.module, self._reference())
        return clear_moments(self.actor.engine.optimizer) if reset_optimizer else 0

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def reference_checksum(self) -> int:
        """A number that changes with any bit of this rank's shard of the reference policy."""
        return checksum(shards_of(self._reference()).values())

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def save_reference(self, folder: str) -> None:
        """Write this rank's shard of the reference policy.

        Raises:
            ValueError: there is no reference policy of its own.
            OSError: the disk is full or gone.
        """
        shards = shards_of(self._reference())
        save_shards(Path(folder), shards, rank=self.rank, world_size=self.world_size)

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def load_reference(self, folder: str) -> None:
        """Take up what ``save_reference`` wrote, bit for bit.

        Raises:
            ValueError: there is no reference policy of its own, or the files are not its; nothing
                is changed.
        """
        shards = shards_of(self._reference())
        load_shards(Path(folder), shards, rank=self.rank, world_size=self.world_size)

    def _reference(self) -> nn.Module:
        if self.ref is None:
            raise ValueError(
                "there is no reference policy of its own to reset or save: add kl_control=fixed or "
                "kl_control=adaptive, and train without an adapter (with one the reference is the "
                "actor without it)"
            )
        return self.ref.engine.module
