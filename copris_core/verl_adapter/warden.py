"""The warden: a small process beside a run that ends what is left when the driver is killed.

It reads from a pipe whose other end the driver alone holds, so that it wakes however the driver
ends, a SIGKILL included. A run that has cleaned up after itself dismisses it.

    python -m copris_core.verl_adapter.warden MARK RUN_FOLDER RAY_FOLDER [ADDRESS]
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from copris_core.verl_adapter.failure import failure_of, read_failure, write_failure
from copris_core.verl_adapter.processes import end_all, keep_logs
from copris_core.verl_adapter.ray_address import sweep

ENDING: Final = b"e"
"""The driver has begun to clean up."""
DISMISSED: Final = b"d"
"""The driver has cleaned up."""

CLEANUP_S: Final = 45.0
"""How long a driver may take to clean up; Ray's shutdown waits for processes without a limit."""

ORPHANS_S: Final = 5.0
"""How long orphans may take to end by themselves; Ray's workers notice within two seconds."""


class Warden:
    """The driver's end of the pipe."""

    def __init__(
        self,
        mark: str,
        run_folder: Path,
        ray_folder: Path,
        *,
        lock: int,
        address: str | None = None,
    ) -> None:
        """Start the process.

        Args:
            mark: of the run.
            run_folder: where a killed driver's end is told.
            ray_folder: of the run's own Ray cluster.
            lock: a file descriptor that the process holds for as long as it runs.
            address: of the Ray cluster that the run joined instead.
        """
        words = (mark, str(run_folder), str(ray_folder), *([address] if address else []))
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
            pass_fds=(lock,),
        )

    def say(self, word: bytes) -> None:
        """``ENDING`` or ``DISMISSED``."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it was killed: nothing depends on it
            self._process.stdin.write(word)
            self._process.stdin.flush()

    def dismiss(self) -> None:
        """The run has cleaned up; wait until the warden is gone."""
        self.say(DISMISSED)
        self._process.wait()


def watch(mark: str, run_folder: Path, ray_folder: Path, address: str | None = None) -> None:
    """Wait for the driver to dismiss us; if it ends or stalls instead, clean up in its place."""
    began_s, word, timeout_s = time.time(), b"", None
    while word != DISMISSED:
        readable, _, _ = select.select([sys.stdin], [], [], timeout_s)
        previous, word = word, os.read(sys.stdin.fileno(), 1) if readable else b""
        if not word:
            was_killed = bool(readable) and previous != ENDING
            end_all(mark, grace_s=ORPHANS_S if was_killed else 0.0, since_s=began_s)
            if address is not None:
                sweep(address, mark, since_s=began_s)
            keep_logs(ray_folder, run_folder)
            if was_killed:
                _leave_word(run_folder)
            return
        timeout_s = CLEANUP_S


def _leave_word(run_folder: Path) -> None:
    if read_failure(run_folder) is None:
        failure = failure_of(run_folder, "the copris process itself was killed")
        sys.stderr.write(f"copris: {failure.line}\n")
        write_failure(run_folder, failure)


def main() -> None:
    """Run as a process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    mark, run_folder, ray_folder, *address = sys.argv[1:]
    watch(mark, Path(run_folder), Path(ray_folder), *address)


if __name__ == "__main__":
    main()
