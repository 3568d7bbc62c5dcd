"""Finds the model to train: a folder, or a snapshot of the Hugging Face hub.

A run reads its weights from one local folder. Looking for it asks nobody; only ``with_model_here``,
at the start of a training, goes to the network. This file refuses to know what is in a model.
"""

import dataclasses
from pathlib import Path
from typing import Final

from omegaconf import DictConfig, OmegaConf

from copris_core.tasks.hub import is_offline
from copris_core.tasks.records import looks_like_hub_id
from copris_core.verl_adapter.config import RunConfig
from copris_core.verl_adapter.errors import ConfigError

LEFT_OUT: Final = ("original/*", "*.pth", "*.gguf", "*.onnx", "*.h5", "*.msgpack", "*.tflite")
"""Files of a hub model in formats that neither engine nor trainer reads."""


def find_model(path: str) -> tuple[Path, str | None]:
    """Where a model lies, and the hub id that is still to be fetched.

    Args:
        path: a folder, or ``org/name`` of the hub.

    Returns:
        The folder and None; or, if it has to be fetched, the hub id as a path and as text.
    """
    folder = Path(path).expanduser()
    if folder.exists() or not looks_like_hub_id(path):
        return folder.absolute(), None
    snapshot = _snapshot(path)
    return (Path(path), path) if snapshot is None else (snapshot, None)


def with_model_here(cfg: DictConfig, run: RunConfig) -> tuple[DictConfig, RunConfig]:
    """Fetch the model unless it is here; the config and the choices then name its folder.

    Raises:
        ConfigError: the hub does not answer, or does not give it.
    """
    hub_id = run.policy.hub_id
    if hub_id is None:
        return cfg, run
    folder = _fetch(hub_id)
    policy = dataclasses.replace(run.policy, path=folder, hub_id=None)
    place = {
        "policy": {"path": str(folder)},
        "actor_rollout_ref": {"model": {"path": str(folder)}},
    }
    return OmegaConf.merge(cfg, place), dataclasses.replace(run, policy=policy)


def _snapshot(hub_id: str) -> Path | None:
    """The snapshot in the hub's cache (HF_HOME), if it has all of its weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        kept = snapshot_download(hub_id, local_files_only=True, ignore_patterns=[*LEFT_OUT])
    except (OSError, HFValidationError):
        return None
    folder = Path(kept)
    return folder if (folder / "config.json").is_file() and _has_weights(folder) else None


def _has_weights(folder: Path) -> bool:
    """Whether every weight file is there; an index names those of a model in several."""
    indices = [*folder.glob("*.safetensors.index.json"), *folder.glob("*.bin.index.json")]
    if not indices:
        return any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))
    named = OmegaConf.load(indices[0]).weight_map.values()
    return all((folder / name).is_file() for name in set(named))


def _fetch(hub_id: str) -> Path:
    mend = "give policy.path=FOLDER of a copy of it"
    if is_offline():
        raise ConfigError(f"{hub_id} is not on this machine and the hub does not answer: {mend}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        snapshot_download(hub_id, ignore_patterns=[*LEFT_OUT])
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{hub_id} was not had from the hub ({reason}): {mend}") from error
    folder = _snapshot(hub_id)
    if folder is None:
        raise ConfigError(f"{hub_id} on the hub has no config.json or no weights: {mend}")
    return folder
