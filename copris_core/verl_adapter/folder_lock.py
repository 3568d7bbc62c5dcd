"""One run at a time in a run folder."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from copris_core.verl_adapter.errors import ConfigError

LOCK_FILE: Final = "run.lock"

WAIT_S: Final = 60.0
"""A killed run's warden needs less to end what is left, and holds the lock meanwhile."""

LOOK_EVERY_S: Final = 0.2


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Keep every other run out of ``folder``; waits for the rest of a killed one to end.

    Yields:
        A file descriptor; the lock is free when every process that holds it has ended.

    Raises:
        ConfigError: a run is going on there.
    """
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(descriptor, folder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not _try(descriptor):
        holder = int(os.pread(descriptor, 32, 0) or 0)
        if psutil.pid_exists(holder) or time.monotonic() > deadline_s:
            raise ConfigError(
                f"run.dir={folder} is in use by process {holder}: wait until it has ended, or "
                "name another folder"
            )
        time.sleep(LOOK_EVERY_S)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
