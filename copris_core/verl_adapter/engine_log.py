"""A line for every iteration of the inference engine (run.engine_log): where its time went.

Written by the process that executes the model, stock trainers' included, so that all methods of a
comparison are looked at alike. Costs a few microseconds an iteration.
"""

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

VARIABLE: Final = "COPRIS_ENGINE_LOG"
"""Environment variable with the folder to write to; unset: nothing is written."""

FOLDER: Final = "engine"
"""Name of that folder within a run's."""

HEADER: Final = "begin_s,seconds,running,prefill_tokens,decode_tokens"
FLUSH_EVERY_S: Final = 0.5


class EngineLog:
    """Writes ``steps-<pid>.csv``: see ``report/engine_steps.py`` for what its columns mean."""

    def __init__(self, file: TextIO) -> None:
        """``file``: opened for writing."""
        self._file = file
        self._file.write(HEADER + "\n")
        self._pending: tuple[float, int, int, int] | None = None
        self._flushed_s = 0.0

    def begin(self, scheduled: Any) -> None:
        """The model is about to be executed for what vLLM's scheduler chose."""
        prefill, unsampled = 0, 0
        for request in scheduled.scheduled_new_reqs:
            count = scheduled.num_scheduled_tokens[request.req_id]
            prefill += count
            unsampled += request.num_computed_tokens + count < len(request.prompt_token_ids)
        running = len(scheduled.num_scheduled_tokens)
        # A request known before gets one token, or one more piece of a long prompt.
        old = scheduled.total_num_scheduled_tokens - prefill
        pieces = old - (running - len(scheduled.scheduled_new_reqs))
        self._pending = (time.time(), running, prefill + pieces, running - unsampled)

    def end(self) -> None:
        """Its tokens are sampled."""
        if self._pending is None or not self._pending[1]:
            return
        begin_s, running, prefill, decoded = self._pending
        now_s, self._pending = time.time(), None
        self._file.write(f"{begin_s:.6f},{now_s - begin_s:.6f},{running},{prefill},{decoded}\n")
        if now_s - self._flushed_s > FLUSH_EVERY_S:
            self._file.flush()
            self._flushed_s = now_s


def observe(worker_class: type) -> None:
    """Log every iteration that workers of this class execute, if the environment asks for it.

    Each method is wrapped once, where it is defined.
    """
    folder = os.environ.get(VARIABLE)
    if folder is None or getattr(worker_class, "_is_logged", False):
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    log = EngineLog((Path(folder) / f"steps-{os.getpid()}.csv").open("w"))
    worker: Any = worker_class
    worker.execute_model = _before(worker.execute_model, log.begin)
    worker.sample_tokens = _after(worker.sample_tokens, log.end)
    worker._is_logged = True


def _before(method: Callable[..., Any], tell: Callable[[Any], None]) -> Callable[..., Any]:
    @functools.wraps(method)
    def told(self: Any, scheduled: Any, *rest: Any, **named: Any) -> Any:
        tell(scheduled)
        return method(self, scheduled, *rest, **named)

    return told


def _after(method: Callable[..., Any], tell: Callable[[], None]) -> Callable[..., Any]:
    @functools.wraps(method)
    def told(*given: Any, **named: Any) -> Any:
        result = method(*given, **named)
        tell()
        return result

    return told
