"""The Ray cluster of one run: marked, guarded, and gone when the run ends."""

import contextlib
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NoReturn

from copris_core.verl_adapter.processes import end_all, keep_logs, marked
from copris_core.verl_adapter.warden import ENDING, Warden

GRACE_S: Final = 15.0
"""Seconds in which a stopped process may end by itself."""


@contextlib.contextmanager
def ray_cluster_of_ours(run_folder: Path, *, lock: int) -> Iterator[Path]:
    """Shut the Ray cluster down that is started inside, with everything that it started.

    Args:
        run_folder: where Ray's logs go.
        lock: the descriptor that keeps other runs out of it until all has ended.

    Yields:
        A short-named folder for Ray's sockets.
    """
    import ray

    ray_folder, mark = Path(tempfile.mkdtemp(prefix="copris-")), uuid.uuid4().hex
    began_s = time.time()
    warden = Warden(mark, run_folder, ray_folder, lock=lock)
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        with marked(mark):
            yield ray_folder
    finally:
        warden.say(ENDING)
        ray.shutdown()
        end_all(mark, grace_s=GRACE_S, since_s=began_s)
        keep_logs(ray_folder, run_folder)
        signal.signal(signal.SIGTERM, before)
        warden.dismiss()


def heeding_sigterm(runner: Any) -> Any:
    """The actor class ``runner``, made so that SIGTERM ends the driver as Ctrl-C does.

    verl makes the actor right after ray.init, which gives SIGTERM to a handler that aborts the
    process; it can be taken back only then, and only in the main thread.
    """

    def take_back_and(make: Any) -> Any:
        def made(*args: Any, **kwargs: Any) -> Any:
            signal.signal(signal.SIGTERM, _exit)
            return make(*args, **kwargs)

        return made

    return SimpleNamespace(
        remote=take_back_and(runner.remote), options=take_back_and(runner.options)
    )


def _exit(number: int, _: object) -> NoReturn:
    """End by an exception, so that a stopped run cleans up as an interrupted one does."""
    sys.exit(128 + number)
