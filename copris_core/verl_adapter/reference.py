"""ProRL's reset: the reference policy becomes the current policy, in place, on each rank's shards.

Actor and reference are two FSDP2 modules in one process, cut over the same ranks in the same way,
so each rank copies its own part and nobody communicates. verl leaves the reference where it is
between calls: in memory of the host on GPUs (FSDP2's ``CPUOffloadPolicy``), in plain memory on a
CPU. The actor may lie on either side (``param_offload``); a copy crosses devices and dtypes.

Source: ProRL (arXiv 2505.24864), section 3.2: "we periodically hard-reset the reference policy to a
more recent snapshot of the online policy and reinitialize the optimizer states".
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from verl.utils.device import get_torch_device

WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integer of as many bytes as a number of a tensor has."""


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Every weight and persistent buffer by name, the memory shared; one of two names is the first.

    Asking FSDP2 for the state also drops what an earlier forward pass has left gathered
    (``reshard_after_forward=false``): the next one would otherwise go on with the old weights.

    Raises:
        ValueError: the module is not cut by FSDP2.
    """
    if not isinstance(module, FSDPModule):
        raise ValueError(
            "the reference policy can be reset, saved and loaded under FSDP2 alone: set "
            "actor_rollout_ref.actor.strategy=fsdp2"
        )
    weights: dict[int, tuple[str, Tensor]] = {}
    for name, weight in module.state_dict(keep_vars=True).items():
        weights.setdefault(id(weight), (name, weight))
    return dict(weights.values())


def shard_of(weight: Tensor) -> Tensor:
    """The part of a weight that this rank holds, the memory shared."""
    weight = weight.detach()
    return weight.to_local() if isinstance(weight, DTensor) else weight


def shards_of(module: nn.Module) -> dict[str, Tensor]:
    """This rank's part of ``weights_of``.

    Raises:
        ValueError: the module is not cut by FSDP2.
    """
    return {name: shard_of(weight) for name, weight in weights_of(module).items()}


@torch.no_grad()
def copy_policy(source: nn.Module, target: nn.Module) -> None:
    """Give ``target`` the weights of ``source``, rounded to its own dtypes.

    Raises:
        ValueError: they are of other names or shapes, or cut in another way; nothing is copied.
    """
    given, taken = weights_of(source), weights_of(target)
    _refuse_other_weights(given, taken)
    # An offload, or the last forward pass, may still be copying from or to memory of the host.
    get_torch_device().synchronize()
    for name, weight in taken.items():
        shard_of(weight).copy_(shard_of(given[name]))


def _refuse_other_weights(given: Mapping[str, Tensor], taken: Mapping[str, Tensor]) -> None:
    for name in sorted(given.keys() | taken.keys()):
        if _shape_of(given.get(name)) != _shape_of(taken.get(name)):
            raise ValueError(
                f"actor and reference do not hold the same weights ({name}): turn off what changes "
                "the actor's model (actor_rollout_ref.model.mtp, an adapter, "
                "actor_rollout_ref.actor.fsdp_config.qat)"
            )
        if _cut_of(given[name]) != _cut_of(taken[name]):
            raise ValueError(
                f"actor and reference are cut in different ways ({name}): set "
                "actor_rollout_ref.ref.fsdp_config.fsdp_size to that of the actor"
            )


def _shape_of(weight: Tensor | None) -> torch.Size | None:
    """Of the whole weight, not of this rank's part."""
    return None if weight is None else weight.shape


def _cut_of(weight: Tensor) -> tuple[object, ...]:
    """What two weights must share for one rank to hold the same part of both."""
    placements = weight.placements if isinstance(weight, DTensor) else ()
    return placements, shard_of(weight).shape


def clear_moments(optimizer: Optimizer) -> int:
    """Forget what the optimizer has gathered (Adam's moments and step); return of how many weights.

    Learning rate, parameter groups, scheduler, hooks, and who refers to the optimizer all stay. It
    starts afresh with its next step.
    """
    cleared = sum(bool(state) for state in optimizer.state.values())
    optimizer.state.clear()
    return cleared


def checksum(tensors: Iterable[Tensor]) -> int:
    """Sum of all words, read as integers, each tensor weighed by its place; modulo 2^63."""
    total = 0
    for place, tensor in enumerate(tensors, start=1):
        words = tensor.contiguous().view(WORDS[tensor.element_size()])
        total += place * int(words.sum(dtype=torch.int64))
    return total % 2**63
