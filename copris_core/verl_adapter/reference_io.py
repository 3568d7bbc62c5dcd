"""The reference policy as files: one per rank, bit for bit.

verl does not save it: a resumed run would silently be held to the base model again, as if no reset
had ever happened.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from copris_core.checkpoint.durable import neighbour_of, sync_file, sync_folder
from copris_core.verl_adapter.reference import checksum

MEND: Final = "remove this checkpoint, and the same command goes on from the one before it"
CHECKSUM: Final = "checksum"
"""What the file's header says of its content."""

FILE: Final = re.compile(r"reference_world_size_(\d+)_rank_\d+\.safetensors")
"""Names that ``shard_name`` gives."""


def shard_name(rank: int, world_size: int) -> str:
    """File name of a rank's part, formed as verl forms those of the actor."""
    return f"reference_world_size_{world_size}_rank_{rank}.safetensors"


def save_shards(folder: Path, shards: Mapping[str, Tensor], *, rank: int, world_size: int) -> None:
    """Write a rank's part of the reference; when this returns, the file outlives the machine.

    Raises:
        OSError: the disk is full or gone; a file that was there before is as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / shard_name(rank, world_size)
    neighbour = path.with_name(neighbour_of(path.name))
    content = {name: shard.cpu().contiguous() for name, shard in shards.items()}
    try:
        save_file(content, neighbour, {CHECKSUM: _checksum(content)})
        sync_file(neighbour)
        os.replace(neighbour, path)
    except SafetensorError as error:
        raise OSError(f"{path} could not be written: {error}") from error
    finally:
        neighbour.unlink(missing_ok=True)
    sync_folder(folder)


@torch.no_grad()
def load_shards(folder: Path, shards: Mapping[str, Tensor], *, rank: int, world_size: int) -> None:
    """Fill ``shards`` in place with what ``save_shards`` wrote, bit for bit.

    Raises:
        ValueError: the file is missing or damaged, of another number of ranks, or holds other
            weights, shapes or dtypes; nothing is changed.
    """
    path = folder / shard_name(rank, world_size)
    if not path.is_file():
        raise ValueError(_missing(folder, path, world_size))
    saved = _read(path)
    for name in sorted(saved.keys() | shards.keys()):
        kept, wanted = _kind(saved.get(name)), _kind(shards.get(name))
        if kept != wanted:
            raise ValueError(
                f"{path} is not of this reference policy: {name} is {kept} there and {wanted} "
                "here; go on with the model and the ref.fsdp_config that it was saved with"
            )
    for name, shard in shards.items():
        shard.copy_(saved[name])


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            told = (file.metadata() or {}).get(CHECKSUM)
            saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}): {MEND}") from error
    if told != _checksum(saved):
        raise ValueError(f"{path} is not what was written to it: {MEND}")
    return saved


def _checksum(shards: Mapping[str, Tensor]) -> str:
    """By name: a file does not keep the order."""
    return str(checksum(shards[name] for name in sorted(shards)))


def _kind(shard: Tensor | None) -> str:
    return "absent" if shard is None else f"{tuple(shard.shape)} of {shard.dtype}"


def _missing(folder: Path, path: Path, world_size: int) -> str:
    """Why a rank finds no file."""
    matches = [FILE.fullmatch(each.name) for each in folder.glob("reference_*")]
    others = {int(match[1]) for match in matches if match} - {world_size}
    if not others:
        return f"{path} is missing: {MEND}"
    ranks = " or ".join(str(number) for number in sorted(others))
    return (
        f"the reference policy in {folder} was saved by {ranks} ranks and this run has "
        f"{world_size}: go on with as many (trainer.n_gpus_per_node x trainer.nnodes)"
    )
