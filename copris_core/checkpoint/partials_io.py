"""Partials as files: ``partials.safetensors`` holds the numbers, ``partials.json`` the rest."""

import json
import os
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from copris_core.checkpoint.durable import neighbour_of, sync_file, sync_folder, write_durably
from copris_core.rollout.json_fields import required
from copris_core.rollout.partials import ARRAYS, PartialStore

ARRAYS_FILE = "partials.safetensors"
HEAD_FILE = "partials.json"

DTYPES = {"i": "int32", "f": "float32"}
"""Typecode of an array -> numpy's name of the same 4 bytes."""


def write_partials(folder: Path, store: PartialStore, extra: Mapping[str, Any]) -> None:
    """Write everything that is in flight into a checkpoint folder.

    Args:
        folder: must exist; the files count once the folder is sealed.
        store: the partials and the gate.
        extra: whatever else must come back with them, as JSON.

    Raises:
        TypeError, ValueError: ``extra`` is no JSON; nothing is written then.
        OSError: the disk is full or gone.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    head, arrays = store.pack()
    text = json.dumps({"store": head, "extra": dict(extra)}, allow_nan=False)
    tensors = {name: np.asarray(each, dtype=DTYPES[ARRAYS[name]]) for name, each in arrays.items()}
    neighbour = folder / neighbour_of(ARRAYS_FILE)
    try:
        save_file(tensors, neighbour)
        sync_file(neighbour)
        os.replace(neighbour, folder / ARRAYS_FILE)
    except SafetensorError as error:  # the library's own name for a full disk
        raise OSError(f"{folder / ARRAYS_FILE} could not be written: {error}") from error
    finally:
        neighbour.unlink(missing_ok=True)
    sync_folder(folder)
    write_durably(folder / HEAD_FILE, text.encode())


def read_partials(folder: Path) -> tuple[PartialStore, dict[str, Any]]:
    """Read what `write_partials` wrote.

    Raises:
        ValueError: a file is missing, torn or malformed, or the two do not belong together.
    """
    try:
        head = json.loads((folder / HEAD_FILE).read_bytes())
        arrays = _read_arrays(folder / ARRAYS_FILE)
        if not isinstance(head, dict):
            raise ValueError(f"{HEAD_FILE} holds no object")
        store = PartialStore.unpack(required(head, "store", dict), arrays)
        return store, required(head, "extra", dict)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the partials in {folder} cannot be used ({error}): resume from another checkpoint"
        ) from error


def _read_arrays(path: Path) -> "dict[str, array[Any]]":
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    codes = {name: code for code, name in DTYPES.items()}
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name}: {error}") from error
    wrong = [name for name, tensor in tensors.items() if str(tensor.dtype) not in codes]
    if wrong:
        raise ValueError(f"{path.name} holds {wrong[0]} as {tensors[wrong[0]].dtype}")
    return {
        name: array(codes[str(tensor.dtype)], tensor.tobytes()) for name, tensor in tensors.items()
    }
