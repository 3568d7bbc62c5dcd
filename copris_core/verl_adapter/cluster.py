"""The Ray cluster of one run: marked, guarded, and gone when the run ends."""

import contextlib
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NoReturn

from copris_core.verl_adapter.processes import end_all, keep_logs, marked, shared_memory_of
from copris_core.verl_adapter.warden import ENDING, Warden

EXIT_CODE: Final = 128 + signal.SIGTERM
"""What a shell reports of a process that SIGTERM ended."""

GRACE_S: Final = 15.0
"""Seconds in which a stopped process may end by itself."""


class Sigterm:
    """Ends the driver by an exception, so that a stopped run cleans up as an interrupted one does.

    Remembers that it came: Ray's waits turn any SystemExit into one of code 1.
    """

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.came = False

    def __call__(self, number: int, _: object) -> NoReturn:
        """Be the handler."""
        self.came = True
        sys.exit(EXIT_CODE)

    def heeded_by(self, runner: Any) -> Any:
        """The actor class ``runner``, made so that the driver goes on heeding the signal.

        verl makes the actor right after ray.init, which gives SIGTERM to a handler that aborts the
        process; it can be taken back only then, and only in the main thread.
        """

        def take_back_and(make: Any) -> Any:
            def made(*args: Any, **kwargs: Any) -> Any:
                signal.signal(signal.SIGTERM, self)
                return make(*args, **kwargs)

            return made

        return SimpleNamespace(
            remote=take_back_and(runner.remote), options=take_back_and(runner.options)
        )


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a run needs to know of its cluster before it is there."""

    folder: Path
    """Short-named folder for Ray's sockets."""
    sigterm: Sigterm
    """The handler of the signal."""


@contextlib.contextmanager
def ray_cluster_of_ours(run_folder: Path, *, lock: int) -> Iterator[Cluster]:
    """Shut the Ray cluster down that is started inside, with everything that it started.

    Args:
        run_folder: where Ray's logs go.
        lock: the descriptor that keeps other runs out of it until all has ended.
    """
    import ray

    ray_folder, mark, began_s = _new_folder(), uuid.uuid4().hex, time.time()
    warden, sigterm = Warden(mark, run_folder, ray_folder, lock=lock), Sigterm()
    before = signal.signal(signal.SIGTERM, sigterm)
    try:
        with marked(mark):
            yield Cluster(folder=ray_folder, sigterm=sigterm)
    except SystemExit as stop:
        raise SystemExit(EXIT_CODE if sigterm.came else stop.code) from None
    finally:
        warden.say(ENDING)
        segments = frozenset(shared_memory_of(mark))
        ray.shutdown()
        end_all(mark, grace_s=GRACE_S, since_s=began_s, segments=segments)
        keep_logs(ray_folder, run_folder)
        signal.signal(signal.SIGTERM, before)
        warden.dismiss()


def _new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="copris-"))
