"""The Ray cluster of one run: marked, guarded, and gone when the run ends.

A cluster that the run joins stays, and so does everybody else's work there; what carries the run's
mark goes, on every machine.
"""

import contextlib
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NoReturn

from copris_core.verl_adapter.processes import (
    end_all,
    environment_with,
    keep_logs,
    marked,
    shared_memory_of,
)
from copris_core.verl_adapter.ray_address import sweep
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

    ray_init: Mapping[str, Any]
    """Arguments of ray.init that start or join it."""
    variables: Mapping[str, str]
    """Environment of the run's processes; only what the driver starts has the driver's own."""
    logs: str
    """Where Ray's logs are once the run has ended, in words."""
    sigterm: Sigterm
    """The handler of the signal."""


@contextlib.contextmanager
def ray_cluster(run_folder: Path, *, address: str | None, lock: int) -> Iterator[Cluster]:
    """End what is started inside: a Ray cluster with all of its processes, or ours in another.

    Args:
        run_folder: where the logs of our own cluster go.
        address: ``HOST:PORT`` of a cluster to join, which stays; None starts one, which ends.
        lock: the descriptor that keeps other runs out of it until all has ended.
    """
    import ray

    ray_folder, mark, began_s = _new_folder(), uuid.uuid4().hex, time.time()
    warden = Warden(mark, run_folder, ray_folder, lock=lock, address=address)
    sigterm = Sigterm()
    before = signal.signal(signal.SIGTERM, sigterm)
    try:
        with marked(mark):
            yield _cluster(run_folder, ray_folder, mark, address=address, sigterm=sigterm)
    except SystemExit as stop:
        raise SystemExit(EXIT_CODE if sigterm.came else stop.code) from None
    finally:
        warden.say(ENDING)
        segments = frozenset(shared_memory_of(mark))
        ray.shutdown()
        end_all(mark, grace_s=GRACE_S, since_s=began_s, segments=segments)
        if address is not None:
            sweep(address, mark, since_s=began_s)
        keep_logs(ray_folder, run_folder)
        signal.signal(signal.SIGTERM, before)
        warden.dismiss()


def _cluster(
    run_folder: Path, ray_folder: Path, mark: str, *, address: str | None, sigterm: Sigterm
) -> Cluster:
    if address is None:
        return Cluster(
            # Not where RAY_ADDRESS points: what is started there would outlive us.
            ray_init={"address": "local", "_temp_dir": str(ray_folder)},
            variables={},
            logs=str(run_folder / "logs"),
            sigterm=sigterm,
        )
    return Cluster(
        ray_init={"address": address, "num_cpus": None, "num_gpus": None},
        variables=environment_with(mark),
        logs="those of the Ray cluster, session_latest/logs on each machine",
        sigterm=sigterm,
    )


def _new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="copris-"))
