"""Starts, feeds, bounds and ends the processes in which untrusted code runs.

The walls, and who builds them:

- no file (reading or writing), socket, process, thread or signal: a seccomp allow-list that
  ``code_runner`` installs before the code runs. It binds root too, and needs no privilege. There is
  no weaker mode: where the kernel has no seccomp nothing runs, and the verdict says so
- CPU seconds, address space, no core: resource limits, which the filter forbids to raise
- wall seconds and bytes of output: here; whoever passes them is killed
- secrets: an empty environment, and no file descriptor but three pipes
- leftovers: no process can be started in there, so ending the one ends all; it also dies with the
  thread that started it. No folder is made, so none is left

Safe in threads: it uses neither signals nor a pre-exec function. This file refuses to know tests.
"""

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

RUNNER = Path(__file__).with_name("code_runner.py")
# Imports are looked for in the standard library, then in the runner's folder, and nowhere once the
# runner runs. It is imported, not run, because Python then keeps it compiled.
BOOT = (
    "import sys; sys.path[0:1] = []; sys.path.append(sys.argv[1]); "
    "runner = __import__(sys.argv[2]); sys.path.pop(); runner.main()"
)
START_S = 30.0  # a busy machine may start an interpreter slowly; that is not the response's time
END_S = 1.0  # to see how a process ended that has closed its output
CHUNK_BYTES = 1 << 16

# More at once would spend each other's wall seconds.
_SLOTS = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))


class StoppedError(Exception):
    """The process is gone or had to go; the message says why in a few words."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one response may use."""

    wall_s: float = 5.0
    """Seconds from the first line of the code to the last answer; also its CPU seconds."""
    memory_mb: int = 512
    """MiB of address space, some 40 of them the interpreter's."""
    output_bytes: int = 1 << 20
    """Bytes printed and returned, together."""

    @property
    def cpu_s(self) -> int:
        """CPU seconds, whole: the kernel counts no finer. One more, for the start."""
        return math.ceil(self.wall_s) + 1


class Sandbox:
    """One locked process, as a context manager; leaving it kills what is left."""

    def __init__(self, *, role: str, code: str, entry: str, setup: str, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self._heard = b""
        self._job = {
            "role": role,
            "code": code,
            "entry": entry,
            "setup": setup,
            "cpu_s": limits.cpu_s,
            "memory_mb": limits.memory_mb,
        }

    def __enter__(self) -> "Sandbox":
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-s", "-X", "utf8", "-c", BOOT, str(RUNNER.parent), RUNNER.stem],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,  # what it answers
            stderr=subprocess.PIPE,  # what it prints
            bufsize=0,
            cwd="/",
            # A fixed seed, so that the order of a set is no reason for another score.
            env={"PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdin = self._process.stdin.fileno()
        self._stdout = self._process.stdout.fileno()
        self._poll = select.poll()
        for pipe in (self._process.stdout, self._process.stderr):
            self._poll.register(pipe, select.POLLIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def start(self) -> None:
        """Hand over the code and wait until the doors are closed; its time starts to run.

        Raises:
            StoppedError: the code does not compile, the process ended, or the machine lacks the
                walls, so that nothing was run.
        """
        self._deadline = time.monotonic() + START_S
        self.say(self._job)
        message = self.hear()
        self._deadline = time.monotonic() + self._limits.wall_s
        if "no_wall" in message:
            raise StoppedError(f"no sandbox: {message['no_wall']}")
        if "ready" not in message:
            raise StoppedError(str(message.get("failed", "wrote over its answers")))

    def load(self) -> None:
        """Wait until a solver's code has run and its function stands.

        Raises:
            StoppedError: it did not.
        """
        message = self.hear()
        if "loaded" not in message:
            raise StoppedError(str(message.get("failed", "wrote over its answers")))

    def say(self, message: dict[str, Any]) -> None:
        """Send one message.

        Raises:
            StoppedError: the process is gone, or does not read in time.
        """
        line = json.dumps(message).encode() + b"\n"
        room = select.poll()
        room.register(self._stdin, select.POLLOUT)
        while line:
            if not room.poll(self._left_ms()):
                raise StoppedError(self._late())
            try:
                line = line[
                    os.write(self._stdin, line[: select.PIPE_BUF]) :
                ]  # so much never blocks
            except BrokenPipeError as error:
                raise StoppedError(self._end()) from error

    def hear(self) -> dict[str, Any]:
        """Wait for one message.

        Raises:
            StoppedError: it took too long, wrote too much, ended, or wrote something else.
        """
        while b"\n" not in self._heard:
            self._read()
        line, _, self._heard = self._heard.partition(b"\n")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise StoppedError("wrote over its answers")
        return message

    def _read(self) -> None:
        ready = self._poll.poll(self._left_ms())
        if not ready:
            raise StoppedError(self._late())
        for pipe, _ in ready:
            chunk = os.read(pipe, CHUNK_BYTES)
            self._bytes += len(chunk)
            if self._bytes > self._limits.output_bytes:
                raise StoppedError("too much output")
            if pipe == self._stdout:
                self._heard += chunk
            if not chunk:
                self._poll.unregister(pipe)
                if pipe == self._stdout:
                    raise StoppedError(self._end())

    def _left_ms(self) -> float:
        return max(0.0, self._deadline - time.monotonic()) * 1000

    def _late(self) -> str:
        return f"took over {self._limits.wall_s:g} s"

    def _end(self) -> str:
        """How a process ended that answers no more."""
        try:
            code = self._process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            return "closed its output"
        if code in (-signal.SIGXCPU, -signal.SIGKILL):  # at the limit the kernel sends either
            return f"took over {self._limits.cpu_s} s of CPU"
        return "exited early" if code >= 0 else f"crashed by signal {-code}"

    def _kill(self) -> None:
        if self._process.poll() is None:  # not reaped, so the number is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def slots() -> threading.BoundedSemaphore:
    """The sandboxes that this process may run at once; hold one while judging."""
    return _SLOTS
