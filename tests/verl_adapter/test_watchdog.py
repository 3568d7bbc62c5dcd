"""Somebody's death and a hang end the process; slowness does not."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from copris_core.verl_adapter.phase import Phase
from copris_core.verl_adapter.watchdog import EXIT_CODE, Watchdog, WatchedActor

pytestmark = pytest.mark.verl


class Scripted:
    """Answers each look with the next word; None: it lives."""

    def __init__(self, *words: str | None) -> None:
        self.words = list(words)

    def death(self) -> str | None:
        return self.words.pop(0)


def _phase(text: str, since_s: float = 0.0) -> Phase:
    return Phase(text=text, step=1, since_s=since_s)


def test_a_death_is_told_with_its_name_and_cause():
    watchdog = Watchdog(
        lambda: {"engine 0": Scripted(None), "engine 1": Scripted("gone")}, limits_s={}
    )
    assert watchdog.look(None, 0.0) == ("engine 1 died", "gone")


def test_the_living_are_left_alone():
    engine = Scripted(None, None, "gone")
    watchdog = Watchdog(lambda: {"engine 0": engine}, limits_s={})
    assert [watchdog.look(_phase("updating"), now_s) for now_s in (0.0, 1e6)] == [None, None]
    assert watchdog.look(_phase("updating"), 1e6) == ("engine 0 died", "gone")


def test_those_who_come_later_are_looked_at_as_well():
    there: dict[str, Scripted] = {}
    watchdog = Watchdog(lambda: there, limits_s={})
    assert watchdog.look(None, 0.0) is None
    there["worker 0"] = Scripted("gone")
    assert watchdog.look(None, 0.0) == ("worker 0 died", "gone")


@pytest.mark.parametrize(
    ("now_s", "found"),
    [(700.0, None), (700.1, ("the run hung", "no end of syncing weights within 600 s"))],
)
def test_a_phase_hangs_only_beyond_its_limit(now_s, found):
    watchdog = Watchdog(dict, limits_s={"syncing weights": 600.0})
    assert watchdog.look(_phase("syncing weights", since_s=100.0), now_s) == found


def test_a_phase_without_a_limit_never_hangs():
    watchdog = Watchdog(dict, limits_s={"syncing weights": 600.0})
    assert watchdog.look(_phase("generating"), 1e9) is None


@pytest.mark.parametrize(
    ("answer", "what", "cause"),
    [
        ("return 'gone'", "engine 0 died", "gone"),
        ("raise KeyError('who')", "the watchdog failed", "KeyError('who')"),
    ],
)
def test_a_death_ends_a_process_whose_main_thread_waits_for_ever(tmp_path, answer, what, cause):
    script = """
import sys, threading
from pathlib import Path
from copris_core.verl_adapter import watchdog
from copris_core.verl_adapter.phase import write_phase

class Dead:
    def death(self): ANSWER

folder = Path(sys.argv[1])
write_phase(folder, "syncing weights", step=4)
watchdog.LOOK_EVERY_S = 0.1
dog = watchdog.Watchdog(lambda: {"engine 0": Dead()}, limits_s={})
threading.Thread(target=watchdog._watch, args=(dog, folder, threading.Event())).start()
threading.Event().wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", script.replace("ANSWER", answer), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == EXIT_CODE
    told = json.loads((tmp_path / "failure.json").read_text())
    assert (told["what"], told["cause"]) == (what, cause)
    assert (told["phase"], told["step"]) == ("syncing weights", 4)
    assert f"copris: {what} while syncing weights in step 4 ({cause}); run the" in done.stderr


@pytest.fixture(scope="module")
def ray_of_two():
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def _first_death(watched: WatchedActor, within_s: float) -> str | None:
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        if (cause := watched.death()) is not None:
            return cause
        time.sleep(0.1)
    return None


def test_a_busy_actor_lives_and_a_killed_one_is_found_at_once(ray_of_two):
    class Sleeper:
        def pid(self) -> int:
            return os.getpid()

        def sleep(self) -> None:
            time.sleep(60)

    actor = ray_of_two.remote(Sleeper).remote()
    pid = ray_of_two.get(actor.pid.remote())
    watched = WatchedActor(actor.__ray_ready__.remote)
    assert _first_death(watched, within_s=1.0) is None
    actor.sleep.remote()
    assert _first_death(watched, within_s=1.0) is None
    os.kill(pid, signal.SIGKILL)
    assert _first_death(watched, within_s=10.0) == (
        "its process ended without a word: killed, or out of memory"
    )


def test_a_server_whose_engine_is_gone_counts_as_dead(ray_of_two):
    from copris_core.verl_adapter.watchdog import _has_an_engine

    class Server:
        def __init__(self) -> None:
            self.has_engine = True

        async def lose_engine(self) -> None:
            self.has_engine = False

        async def check_alive(self) -> None:
            if not self.has_engine:
                raise RuntimeError("the engine process is gone")

    server = ray_of_two.remote(Server).remote()
    watched = WatchedActor(lambda: _has_an_engine(server))
    assert _first_death(watched, within_s=2.0) is None
    server.lose_engine.remote()
    assert "the engine process is gone" in (_first_death(watched, within_s=10.0) or "")


def test_the_actors_of_a_trainer_are_found_as_they_are_made():
    from copris_core.verl_adapter.watchdog import _Actors

    class Handle:
        __ray_ready__ = check_alive = SimpleNamespace(remote=None)

    trainer = SimpleNamespace(actor_rollout_wg=SimpleNamespace(workers=[Handle(), Handle()]))
    actors = _Actors(trainer)
    first = actors()
    assert list(first) == ["training worker 0", "training worker 1"]
    trainer.llm_server_manager = SimpleNamespace(
        server_handles=[Handle()], global_load_balancer=Handle()
    )
    trainer.reward_loop_manager = SimpleNamespace(reward_loop_workers=[Handle()])
    trainer.agent_loop_manager = SimpleNamespace(agent_loop_workers=[Handle()])
    assert set(actors()) == {*first, "engine 0", "router actor 0", "reward worker 0",
                             "agent-loop worker 0"}  # fmt: skip
    assert actors()["training worker 0"] is first["training worker 0"]  # it keeps its question


@pytest.mark.parametrize(("answer", "code"), [("'gone'", EXIT_CODE), ("None", 3)])
def test_an_error_of_the_trainer_waits_for_the_death_behind_it(tmp_path, answer, code):
    script = """
import sys
from types import SimpleNamespace
from copris_core.verl_adapter import watchdog

watchdog._Actors = lambda trainer: lambda: {"engine 0": trainer}
watchdog.LOOK_EVERY_S, watchdog.AFTERMATH_S = 0.2, 0.6
run = SimpleNamespace(dir=sys.argv[1], weight_sync_timeout_s=600)
trainer = SimpleNamespace(config=SimpleNamespace(run=run), death=lambda: ANSWER)
try:
    with watchdog.watched(trainer):
        raise RuntimeError("8 groups failed")
except RuntimeError:
    sys.exit(3)
"""
    command = [sys.executable, "-c", script.replace("ANSWER", answer), str(tmp_path)]
    assert subprocess.run(command, timeout=60).returncode == code
    assert (tmp_path / "failure.json").exists() is (code == EXIT_CODE)
