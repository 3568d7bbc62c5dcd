"""The watchdog: a thread beside the trainer that ends a run in which somebody died, or that hangs.

Several waits of verl have no end: for weights that a dead engine never takes, for a batch that a
dead worker never stores. The watchdog asks every actor whether it lives and looks at how long the
present phase has lasted; what it finds wrong it writes to the run folder, and ends the process.
"""

import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import ray

from copris_core.verl_adapter.failure import Failure, failure_of, why_it_died, write_failure
from copris_core.verl_adapter.phase import STOPPING, SYNCING, Phase, read_phase

LOOK_EVERY_S: Final = 2.0
"""A look costs one message per actor."""

STOP_TIMEOUT_S: Final = 120.0
"""Limit of the stop: the router waits 60 s for its drain, and sleeping the engines is quick."""

AFTERMATH_S: Final = LOOK_EVERY_S + 1.0
"""An error of the trainer waits so long for the watchdog to name the death that is behind it."""

EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h; Ray tells it in the trainer's death notice."""


class Watched(Protocol):
    """Something that can die."""

    def death(self) -> str | None:
        """What is known of its death; None while it lives or has not answered yet."""


class WatchedActor:
    """An actor with at most one unanswered question; a busy actor just answers late."""

    def __init__(self, ask: Callable[[], ray.ObjectRef]) -> None:
        """``ask`` sends the question: any method that raises if something is wrong."""
        self._ask = ask
        self._answer: ray.ObjectRef | None = None

    def death(self) -> str | None:
        """Look for the answer without waiting; Ray answers for a dead actor at once."""
        if self._answer is None:
            self._answer = self._ask()
        answered, _ = ray.wait([self._answer], timeout=0)
        if not answered:
            return None
        answer, self._answer = self._answer, None
        try:
            ray.get(answer)
        except ray.exceptions.ActorUnavailableError:
            return None  # the connection broke; if it died, the next answer says so
        except ray.exceptions.RayError as error:
            return why_it_died(str(error))
        return None


class Watchdog:
    """Finds who died and which phase lasts too long; knows neither Ray nor a clock."""

    def __init__(
        self,
        watched: Callable[[], Mapping[str, Watched]],
        *,
        limits_s: Mapping[str, float],
    ) -> None:
        """Say what to look at.

        Args:
            watched: who is there now, by name; those already seen keep their question.
            limits_s: phase -> seconds after which it counts as hanging.
        """
        self._watched = watched
        self._limits_s = limits_s

    def look(self, phase: Phase | None, now_s: float) -> tuple[str, str] | None:
        """What is wrong and what is known of its cause; None if all is well.

        Args:
            phase: what the run is doing.
            now_s: Unix time.
        """
        for name, each in self._watched().items():
            cause = each.death()
            if cause is not None:
                return f"{name} died", cause
        limit_s = self._limits_s.get(phase.text) if phase else None
        if phase and limit_s is not None and now_s - phase.since_s > limit_s:
            return "the run hung", f"no end of {phase.text} within {limit_s:.0f} s"
        return None


class _Actors:
    """The actors of a trainer, as far as it has made them."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._known: dict[Any, WatchedActor] = {}

    def __call__(self) -> dict[str, WatchedActor]:
        named = _handles(vars(self._trainer))
        return {
            name: self._known.setdefault(handle, WatchedActor(ask))
            for name, (handle, ask) in named.items()
        }


def _handles(made: Mapping[str, Any]) -> dict[str, tuple[Any, Callable[[], ray.ObjectRef]]]:
    """Name -> (actor, what to ask it), from the attributes that a trainer has so far."""
    found: dict[str, tuple[Any, Callable[[], ray.ObjectRef]]] = {}

    def add(name: str, handles: list[Any], ask: Callable[[Any], ray.ObjectRef] = _is_there) -> None:
        for i, handle in enumerate(handles):
            found[f"{name} {i}"] = (handle, functools.partial(ask, handle))

    if group := made.get("actor_rollout_wg"):
        add("training worker", group.workers)
    if servers := made.get("llm_server_manager"):
        add("engine", servers.server_handles, _has_an_engine)
        add("router actor", [servers.global_load_balancer])
    if rewards := made.get("reward_loop_manager"):
        add("reward worker", rewards.reward_loop_workers)
    if loops := made.get("agent_loop_manager"):
        add("agent-loop worker", loops.agent_loop_workers)
    add("TransferQueue controller", _queue_controllers())
    add("TransferQueue storage", _queue_storages())
    return found


def _is_there(actor: Any) -> ray.ObjectRef:
    return actor.__ray_ready__.remote()


def _has_an_engine(server: Any) -> ray.ObjectRef:
    """The engine is a process of its own, and its server outlives it."""
    return server.check_alive.remote()


def _queue_controllers() -> list[Any]:
    from transfer_queue import interface

    return [interface._TQ_CONTROLLER] if interface._TQ_CONTROLLER else []


def _queue_storages() -> list[Any]:
    from transfer_queue import interface

    return list((interface._TQ_STORAGE or {}).get("SimpleStorage", {}).values())


@contextlib.contextmanager
def watched(trainer: Any) -> Iterator[None]:
    """Watch the actors of ``trainer`` and its phases for the time inside.

    Not beyond: verl ends its actors itself when the training has returned or raised.
    """
    folder = Path(trainer.config.run.dir)
    limits_s = {SYNCING: trainer.config.run.weight_sync_timeout_s, STOPPING: STOP_TIMEOUT_S}
    watchdog, over = Watchdog(_Actors(trainer), limits_s=limits_s), threading.Event()
    thread = threading.Thread(target=_watch, args=(watchdog, folder, over), daemon=True)
    thread.start()
    try:
        yield
    except Exception:
        time.sleep(AFTERMATH_S)  # the watchdog may know better
        raise
    finally:
        over.set()
        thread.join()


def _watch(watchdog: Watchdog, folder: Path, over: threading.Event) -> None:
    while not over.wait(LOOK_EVERY_S):
        try:
            wrong = watchdog.look(read_phase(folder), time.time())
        except Exception as error:  # a run that nobody watches may hang unseen
            wrong = "the watchdog failed", repr(error)
        if wrong and not over.is_set():
            what, cause = wrong
            _end(folder, failure_of(folder, what, cause=cause))


def _end(folder: Path, failure: Failure) -> None:
    """End this process, whatever its main thread waits for; the driver reads why."""
    try:
        write_failure(folder, failure)
    finally:
        sys.stderr.write(f"copris: {failure.line}\n")
        sys.stderr.flush()
        os._exit(EXIT_CODE)
