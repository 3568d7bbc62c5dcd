"""Asks a helper process whether two expressions are equal, so that no comparison can hang us.

math-verify limits its time by signals, which fail in threads; rewards run in threads. So one
helper process per process does the work: started at the first question, ended by the kernel when a
question takes too long, started again at the next one. It gets no environment of ours and ends
when we do. This file refuses to know tasks and verdicts.
"""

import atexit
import importlib.util
import json
import os
import select
import subprocess
import sys
import threading
import time
from functools import lru_cache

from copris_core.tasks.math_helper import READY

START_SECONDS = 120.0  # importing sympy on a busy machine
CPU_SECONDS = 2.0  # for one comparison; usual ones take 0.02 s, a first inequality 0.3 s
REPLY_SECONDS = 20.0  # wall clock; the helper's own limit is CPU time and far shorter
PROGRAM = "from copris_core.tasks.math_helper import serve; serve()"


class NoReplyError(RuntimeError):
    """The helper ended, or did not reply in time."""


class Helper:
    """One helper process, one question at a time; threads wait for their turn."""

    def __init__(self, *, cpu_seconds: float = CPU_SECONDS) -> None:
        self._cpu_seconds = cpu_seconds
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, gold: str, answer: str) -> bool | None:
        """Whether two canonical LaTeX expressions are equal; None when that took too long.

        Raises:
            ValueError: math-verify is not installed.
        """
        with self._turn:
            process = self._process or self._start()
            self._process = process
            try:
                question = json.dumps([gold, answer, self._cpu_seconds])
                _send(process, question.encode() + b"\n")
                return _receive(process, REPLY_SECONDS) == b"1\n"
            except (OSError, NoReplyError):
                self._stop()
                return None

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._turn:
            self._stop()

    def _start(self) -> subprocess.Popen[bytes]:
        if importlib.util.find_spec("math_verify") is None:
            raise ValueError("math-verify is missing: pip install 'copris[cpu]'")
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
        self._process = process
        try:
            if _receive(process, START_SECONDS) == READY:
                return process
        except (OSError, NoReplyError):
            pass
        self._stop()
        raise ValueError("math-verify's helper process does not start: try `import math_verify`")

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def _environment() -> dict[str, str]:
    """What Python needs to start, and nothing of ours; the same hashes in every run."""
    paths = [os.path.abspath(path) for path in sys.path]
    kept = {key: os.environ[key] for key in ("LD_LIBRARY_PATH",) if key in os.environ}
    return {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0", "LC_ALL": "C", **kept}


def _send(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(line)  # unbuffered: closing after a failure has nothing left to send


def _receive(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """One line of the helper.

    Raises:
        NoReplyError: it ended, or the time is over.
    """
    assert process.stdout is not None
    source, line, ends = process.stdout.fileno(), b"", time.monotonic() + seconds
    poll = select.poll()  # select() fails beyond 1024 open files
    poll.register(source, select.POLLIN)
    while not line.endswith(b"\n"):
        wait = ends - time.monotonic()
        if wait <= 0 or not poll.poll(wait * 1000):
            raise NoReplyError("no reply in time")
        piece = os.read(source, 4096)
        if not piece:
            raise NoReplyError("the helper ended")
        line += piece
    return line


_HELPER = Helper()


@lru_cache(maxsize=8192)
def equal_expressions(gold: str, answer: str) -> bool | None:
    """Whether two canonical LaTeX expressions are equal; None when that took too long.

    From any thread. Asked again, it remembers: a group of responses often ends alike.

    Raises:
        ValueError: math-verify is not installed.
    """
    return _HELPER.ask(gold, answer)


def _forget() -> None:
    """In a forked child: the helper is the parent's, and its lock may be held."""
    global _HELPER
    _HELPER = Helper()


atexit.register(lambda: _HELPER.close())
os.register_at_fork(after_in_child=_forget)
