"""Files that are there whole or not at all, also after the machine has died."""

import os
from pathlib import Path


def neighbour_of(name: str) -> str:
    """Name under which a file is written before it takes its own."""
    return f".{name}.part"


def write_durably(path: Path, content: bytes) -> None:
    """Write ``path`` through a neighbour; when this returns, the file outlives the machine.

    Raises:
        OSError: the disk is full or gone; ``path`` is as it was.
    """
    neighbour = path.with_name(neighbour_of(path.name))
    try:
        with neighbour.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(neighbour, path)
    finally:
        neighbour.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make sure that the content of a file outlives the machine."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder outlive the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
