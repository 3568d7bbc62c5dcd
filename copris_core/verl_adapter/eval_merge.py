"""Makes one Hugging Face folder of an FSDP checkpoint, by verl's own merger.

It is there whole or not at all, and made anew when the checkpoint is another one. The merger writes
bfloat16, as verl does whatever the trainer computed in; a checkpoint that holds the weights whole
(``actor.checkpoint.save_contents`` with ``hf_model``) is taken as it is, in the trainer's own type.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Final

from copris_core.checkpoint.durable import sync_folder
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.eval_quiet import quiet

MARKER: Final = "merged_from.json"
HF_FOLDER: Final = "huggingface"
ADAPTER: Final = "lora_adapter"


def merged(actor: Path, target: Path) -> Path:
    """Return a folder with the weights of a checkpoint; merge them unless that is done.

    Args:
        actor: ``global_step_N/actor`` of a checkpoint.
        target: where merged weights go.

    Raises:
        ConfigError: the checkpoint can't be merged.
    """
    if any((actor / HF_FOLDER).glob("*.safetensors")):
        return actor / HF_FOLDER
    shards = {path.name: _identity(path) for path in sorted(actor.glob("model_world_size_*.pt"))}
    if not shards:
        raise ConfigError(
            f"{actor} holds no weights of an FSDP checkpoint: save actor.checkpoint.save_contents "
            "with model"
        )
    if _marker_of(target) != shards:
        _merge(actor, target, shards)
    return target


def _merge(actor: Path, target: Path, shards: dict[str, list[int]]) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _run_merger(actor, part)
    except (OSError, ValueError, AssertionError, NotImplementedError, KeyError) as error:
        shutil.rmtree(part, ignore_errors=True)
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"verl's merger can't merge {actor} ({reason}): name another --step"
        ) from error
    if (part / ADAPTER).exists():
        shutil.rmtree(part)
        raise ConfigError(
            f"{actor} holds a LoRA adapter beside its base: merge them, then give that folder"
        )
    (part / MARKER).write_text(json.dumps(shards) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    os.replace(part, target)
    sync_folder(target.parent)


def _run_merger(actor: Path, target: Path) -> None:
    with quiet():
        from verl.model_merger.base_model_merger import ModelMergerConfig
        from verl.model_merger.fsdp_model_merger import FSDPModelMerger

    config = ModelMergerConfig(
        operation="merge",
        backend="fsdp",
        local_dir=str(actor),
        target_dir=str(target),
        hf_model_config_path=str(actor / HF_FOLDER),
    )
    with quiet(prints=True):
        FSDPModelMerger(config).merge_and_save()


def _identity(path: Path) -> list[int]:
    """Tells a file from one that another run wrote in its place."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _marker_of(target: Path) -> dict[str, list[int]] | None:
    try:
        known: dict[str, list[int]] = json.loads((target / MARKER).read_bytes())
    except (OSError, ValueError):
        return None
    return known
