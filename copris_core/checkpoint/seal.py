"""Which checkpoint folders count: ``global_step_N`` does once its seal is there.

    begin -> whoever saves writes its files -> seal

``begin`` leaves ``incomplete.json``, ``seal`` writes ``complete.json`` as the last file of all: it
lists every other one with its size. A kill at any moment leaves the checkpoint before it valid, and
a folder that can be told from one that was never ours and is therefore never touched.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from copris_core.checkpoint.durable import neighbour_of, sync_file, sync_folder, write_durably

SEAL = "complete.json"
"""The marker that makes a checkpoint count."""

BEGUN = "incomplete.json"
"""The marker of a checkpoint that is being written."""

OURS = frozenset({SEAL, BEGUN, neighbour_of(SEAL), neighbour_of(BEGUN)})
"""Names by which a folder is known as ours: the markers, and those that a kill left unfinished."""

FORMAT = 1
"""Version of the seal's layout; another one does not count."""

FOLDER = re.compile(r"global_step_(\d+)")
"""verl's name of a checkpoint folder."""

DISCARDED = "discarded_"
"""Prefix of a folder that is being removed."""


def step_of(folder: Path) -> int:
    """Training step of a checkpoint folder.

    Raises:
        ValueError: its name is not ``global_step_N``.
    """
    match = FOLDER.fullmatch(folder.name)
    if match is None:
        raise ValueError(f"{folder} is no checkpoint folder: its name is not global_step_N")
    return int(match[1])


def begin(folder: Path) -> None:
    """Make the folder of a checkpoint that is about to be written; from now on it does not count.

    Raises:
        ValueError: its name is not ``global_step_N``.
    """
    step_of(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / BEGUN, b"{}\n")
    (folder / SEAL).unlink(missing_ok=True)
    sync_folder(folder)


def seal(folder: Path, step: int) -> None:
    """Make a checkpoint count, now that all its files are written.

    Raises:
        ValueError: the folder is that of another step, or empty.
        OSError: a file could not be made durable; the checkpoint does not count.
    """
    if step_of(folder) != step:
        raise ValueError(f"{folder} is not the checkpoint of step {step}")
    sizes = {}
    for path in _files(folder):
        sync_file(path)
        sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
    if not sizes:
        raise ValueError(f"{folder} is empty: there is nothing to seal")
    for inner in {path.parent for path in _files(folder)} | {folder, folder.parent}:
        sync_folder(inner)
    text = json.dumps({"format": FORMAT, "step": step, "files": sizes}, indent=1) + "\n"
    write_durably(folder / SEAL, text.encode())
    (folder / BEGUN).unlink(missing_ok=True)


def sealed(folder: Path) -> bool:
    """Whether the checkpoint counts: its seal is whole, and so is every file that it lists."""
    listed = _seal_of(folder)
    return listed is not None and all(
        type(size) is int and _size(folder / name) == size for name, size in listed.items()
    )


def newest_sealed(checkpoints: Path) -> Path | None:
    """The checkpoint to go on from; None where no one counts."""
    folders = sorted(_checkpoint_folders(checkpoints), key=step_of, reverse=True)
    return next((folder for folder in folders if sealed(folder)), None)


def discard_unsealed(checkpoints: Path) -> list[Path]:
    """Remove the checkpoints that we began and that do not count; return where they lay.

    A folder without any marker of ours may be another program's and stays, unless it is empty.
    """
    removed = [
        folder
        for folder in sorted(_checkpoint_folders(checkpoints), key=step_of)
        if not sealed(folder) and (_is_ours(folder) or not any(folder.iterdir()))
    ]
    for folder in removed:
        # Under another name first: a removal that is cut short leaves nothing that looks valid.
        os.rename(folder, folder.with_name(DISCARDED + folder.name))
    for remains in checkpoints.glob(f"{DISCARDED}global_step_*"):
        shutil.rmtree(remains)
    return removed


def _seal_of(folder: Path) -> dict[str, Any] | None:
    """Files and sizes that the seal lists; None where there is no valid seal."""
    try:
        marker = json.loads((folder / SEAL).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(marker, dict) or marker.get("format") != FORMAT:
        return None
    listed = marker.get("files")
    match = FOLDER.fullmatch(folder.name)
    if match is None or marker.get("step") != int(match[1]) or not isinstance(listed, dict):
        return None
    return listed or None


def _checkpoint_folders(checkpoints: Path) -> Iterator[Path]:
    for path in checkpoints.glob("global_step_*"):
        if FOLDER.fullmatch(path.name) and path.is_dir():
            yield path


def _is_ours(folder: Path) -> bool:
    return any((folder / name).exists() for name in OURS)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below, without our markers."""
    ours = {folder / name for name in OURS}
    for parent, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(parent, name)) not in ours)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
