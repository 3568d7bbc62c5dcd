"""Leave nothing behind: no process, no Ray session, no shared memory, however a run ends."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import psutil

SHARED_MEMORY = ("/dev/shm/psm_", "/dev/shm/verl_weights_")
"""What vLLM's queues and verl's weight buckets are called on Linux."""

GRACE_S = 15.0
"""Seconds in which a stopped process may end by itself."""


@contextlib.contextmanager
def ray_cluster_of_ours() -> Iterator[None]:
    """Shut the Ray cluster down that was started inside, with everything that it started.

    verl and vLLM leave shared memory behind when their processes are stopped from outside; what
    our own processes map is removed with them.
    """
    import ray

    stop = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, stop)
        ours = psutil.Process().children(recursive=True)
        buckets = set().union(*(_shared_memory_of(process) for process in ours))
        ray.shutdown()
        _end(ours)
        for bucket in buckets:
            bucket.unlink(missing_ok=True)


def _exit(number: int, _: object) -> NoReturn:
    """End by an exception, so that a stopped run cleans up as an interrupted one does."""
    sys.exit(128 + number)


def _shared_memory_of(process: psutil.Process) -> set[Path]:
    with contextlib.suppress(psutil.Error):
        maps = process.memory_maps()
        return {Path(each.path) for each in maps if each.path.startswith(SHARED_MEMORY)}
    return set()  # it ended while we looked


def _end(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
