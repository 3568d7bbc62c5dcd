"""The helper process: compares two LaTeX expressions by math-verify, one request a line.

It is started by ``math_worker.py``. A comparison that takes too long ends this process: the
kernel's timer does it, which also stops big-number arithmetic that no Python signal handler can.
This file refuses to know who asks, and is imported by nobody else.
"""

import json
import logging
import os
import resource
import signal
import sys

MAX_MEMORY_BYTES = 3 << 30
READY = b"ready\n"


def serve() -> None:
    """Answer each line ``[gold, answer, CPU seconds]`` by ``1`` or ``0`` until the input ends."""
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no reply
    _limit()
    equal("\\frac{1}{2}", "0.5")  # so that no request pays for the imports
    os.write(replies, READY)
    for line in sys.stdin.buffer:
        gold, answer, seconds = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        reply = b"1\n" if equal(gold, answer) else b"0\n"
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(replies, reply)


def equal(gold: str, answer: str) -> bool:
    """Whether math-verify takes two expressions for equal; no, when it can't read one of them."""
    from math_verify import LatexExtractionConfig, parse, verify

    def read(latex: str) -> list[object]:
        how = [LatexExtractionConfig()]
        return list(parse(f"${latex}$", how, fallback_mode="no_fallback", parsing_timeout=None))

    try:
        return bool(
            verify(read(gold), read(answer), timeout_seconds=None, allow_set_relation_comp=True)
        )
    except Exception:  # whatever sympy trips over is no answer
        return False


def _limit() -> None:
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MAX_MEMORY_BYTES if hard < 0 else min(hard, MAX_MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
