"""Leave nothing behind: no process, no shared memory, however a run ends.

Every process of a run inherits the run's mark in its environment, so that it is found even when
whoever started it is gone: an engine whose server was killed is nobody's child.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

MARK = "COPRIS_RUN"
"""Environment variable that every process of a run inherits; its value tells runs apart."""

KEEPS_ENVIRONMENT = "SPT_NOENV"
"""Set, Ray's process titles leave the environment readable: setproctitle writes over it else."""

SHARED_MEMORY = ("/dev/shm/psm_", "/dev/shm/verl_weights_")
"""What vLLM's queues and verl's weight buckets are called on Linux."""

WEIGHT_BUCKETS = "verl_weights_*"
"""verl maps such a segment as it makes it and until it removes it: unmapped, it is forgotten."""

KILL_WAIT_S = 20.0
"""How long killed processes may take to be gone; a process in the kernel dies when it returns."""


def environment_with(mark: str) -> dict[str, str]:
    """Variables of a process that carries ``mark``."""
    return {MARK: mark, KEEPS_ENVIRONMENT: "1"}


@contextlib.contextmanager
def marked(mark: str) -> Iterator[None]:
    """Processes that are started inside carry ``mark``; this one does not."""
    set_here = environment_with(mark)
    before = {name: os.environ.get(name) for name in set_here}
    os.environ.update(set_here)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def processes_of(mark: str) -> list[psutil.Process]:
    """All living processes that carry ``mark``, orphans included."""
    return [process for process in psutil.process_iter() if _carries(process, mark)]


def _carries(process: psutil.Process, mark: str) -> bool:
    with contextlib.suppress(psutil.Error):
        if process.environ().get(MARK) == mark:
            return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False  # another user's, or it ended while we looked


def shared_memory_of(mark: str) -> set[Path]:
    """The segments of vLLM and verl that processes with ``mark`` map now."""
    return set().union(*(_mapped_by(process) for process in processes_of(mark)))


def end_all(
    mark: str, *, grace_s: float, since_s: float, segments: frozenset[Path] = frozenset()
) -> int:
    """End every process that carries ``mark``, and remove the shared memory that they leave.

    verl and vLLM leave shared memory behind when their processes are stopped from outside.

    Args:
        mark: whose processes.
        grace_s: seconds in which they may end by themselves.
        since_s: Unix time at which the first of them was started.
        segments: shared memory that they were seen to map before.

    Returns:
        How many are still there.
    """
    mapped = shared_memory_of(mark)
    psutil.wait_procs(processes_of(mark), timeout=grace_s)
    left = _kill_all(mark)
    for segment in segments | mapped | _forgotten_buckets(since_s):
        segment.unlink(missing_ok=True)
    return left


def _forgotten_buckets(since_s: float) -> set[Path]:
    """Weight buckets made since then whose maker is dead: it may have died before we looked."""
    found = {path for path in Path("/dev/shm").glob(WEIGHT_BUCKETS) if _is_ours(path, since_s)}
    if not found:
        return set()
    return found.difference(*(_mapped_by(process) for process in psutil.process_iter()))


def _is_ours(path: Path, since_s: float) -> bool:
    with contextlib.suppress(FileNotFoundError):
        status = path.stat()
        return status.st_uid == os.getuid() and status.st_ctime >= since_s
    return False


def _kill_all(mark: str) -> int:
    """Kill until none is found: one may have started another while it was looked for."""
    deadline_s = time.monotonic() + KILL_WAIT_S
    while (alive := processes_of(mark)) and time.monotonic() < deadline_s:
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=1.0)
    return len(alive)


def _mapped_by(process: psutil.Process) -> set[Path]:
    with contextlib.suppress(psutil.Error):
        maps = process.memory_maps()
        return {Path(each.path) for each in maps if each.path.startswith(SHARED_MEMORY)}
    return set()  # it ended while we looked


def keep_logs(ray_folder: Path, run_folder: Path) -> None:
    """Move Ray's logs to the run folder and remove what else Ray left."""
    for logs in ray_folder.glob("session_2*/logs"):
        with contextlib.suppress(OSError, shutil.Error):  # a full disk must not keep us here
            shutil.copytree(logs, run_folder / "logs", dirs_exist_ok=True, symlinks=True)
    shutil.rmtree(ray_folder, ignore_errors=True)
