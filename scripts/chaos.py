"""Kills a real training at seeded moments, resumes it with the same command, audits the outcome.

    python scripts/chaos.py --kills 3 [--seed 0] [--run FOLDER] [--reference FOLDER] [key=value ...]

Exit code 1 if a kill was not followed by an end within a minute with one line that says how to go
on, if anything was left behind, if the last start did not finish, or if the audit finds a loss.
"""

import argparse
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from copris_core.evaluation.intervals import rate_difference  # noqa: E402

MARK = "COPRIS_CHAOS"
"""Environment variable that every process of the run inherits."""

TARGETS = {
    "driver": r"copris_core\.cli train",
    "trainer process": r"ray::TaskRunner",
    "agent-loop worker": r"ray::GateWorkerLoop",
    "engine server": r"ray::(GateServer|vLLMHttpServer)",
    "engine core": r"VLLM::EngineCore",
    "router": r"ray::Router",
}
"""Who is killed -> what its command line looks like."""

MOMENTS = {
    "generating": 0.4,
    "stopping": 0.01,
    "updating": 0.4,
    "syncing weights": 0.03,
    "saving": 0.1,
}
"""Phase in which a kill comes -> latest seconds after the phase began."""

STEPS_BETWEEN = (1, 3)
"""A kill comes so many steps after the run has begun to train: one checkpoint or more."""

STEPS_PER_KILL = 3
"""Room in the run for each kill, repeated steps not counted."""

END_LIMIT_S = 60.0
"""A killed run must have ended by then, with everything it started."""

START_LIMIT_S = 240.0
"""Longest wait for the moment of a kill; a start of the stack takes 50 to 90 s on two cores."""

POLL_S = 0.003
"""Some phases last a few hundredths of a second."""

SMALL = (
    "experiment=copris",
    "data.train_batch_size=4",
    "actor_rollout_ref.rollout.n=8",
    "strategy.concurrency=32",
    "trainer.val_before_train=false",
    "trainer.save_freq=1",
    "trainer.max_actor_ckpt_to_keep=2",
)
SHARED_MEMORY = ("psm_*", "verl_weights_*")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One kill, as drawn."""

    target: str
    """Key of ``TARGETS``."""
    moment: str
    """Key of ``MOMENTS``."""
    after_steps: int
    """Training steps between the start and the kill."""
    delay_s: float
    """Seconds after the phase was seen to begin."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill, as it went."""

    target: str
    """Who was killed."""
    phase: str
    """What the run was doing."""
    step: int | None
    """In which training step."""
    end_s: float
    """Seconds from the kill until the command and every process of the run had ended."""
    code: int
    """Exit code of the command."""
    message: str
    """The last line it said to the user."""
    left: tuple[str, ...]
    """What was still there: processes, shared memory, folders."""

    @property
    def is_clean(self) -> bool:
        """Whether it ended in time, with one line that says how to go on, and left nothing."""
        code = -signal.SIGKILL if self.target == "driver" else 1
        says_how = "run the same command again" in self.message
        return self.end_s <= END_LIMIT_S and self.code == code and says_how and not self.left


class Run:
    """One start of the command; everything that it starts carries a mark of its own."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        """Start it in a session of its own; what it says goes to a file beside the folder."""
        self.mark = uuid.uuid4().hex
        self.folder = folder
        self._log = folder.with_name(f"{folder.name}.log").open("ab+")
        self._said_before = self._log.seek(0, os.SEEK_END)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "copris_core.cli", "train", *words, f"run.dir={folder}"],
            cwd=ROOT,
            env={**os.environ, MARK: self.mark},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def processes(self) -> list[psutil.Process]:
        """Every living process of this start."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def pids_of(self, target: str) -> list[int]:
        """Processes of a target."""
        if target == "driver":
            return [self.process.pid]
        pattern = re.compile(TARGETS[target])
        return [each.pid for each in self.processes() if pattern.search(_title(each))]

    def said(self) -> list[str]:
        """Lines that this start said."""
        self._log.seek(self._said_before)
        return self._log.read().decode(errors="replace").splitlines()

    def message(self) -> str:
        """The last line to the user."""
        lines = [line for line in self.said() if line.startswith("copris: ")]
        return lines[-1] if lines else ""

    def wait_until_gone(self, limit_s: float) -> float:
        """Seconds until the command and all its processes had ended; ends them at the limit."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < limit_s:
            if self.process.poll() is not None and not self.processes():
                break
            time.sleep(0.1)
        return time.monotonic() - began_s

    def end(self) -> None:
        """Kill whatever is left of this start, the command included."""
        for process in self.processes():
            process.kill()
        self.process.wait()
        self._log.close()

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            marked = process.environ().get(MARK) == self.mark
            return marked and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def plans(number: int, seed: int) -> Iterator[Plan]:
    """Kills that go round all targets in a drawn order, each at a drawn moment."""
    rng = random.Random(seed)
    rounds: list[str] = []
    for _ in range(number):
        rounds = rounds or rng.sample(list(TARGETS), len(TARGETS))
        moment = rng.choice(list(MOMENTS))
        yield Plan(
            target=rounds.pop(),
            moment=moment,
            after_steps=rng.randint(*STEPS_BETWEEN),
            delay_s=rng.uniform(0.0, MOMENTS[moment]),
        )


def phase_of(folder: Path) -> dict[str, Any]:
    """What the run says that it is doing; empty before it says anything."""
    try:
        return json.loads((folder / "phase.json").read_text())
    except FileNotFoundError:
        return {}


def wait_for_step(run: Run, after_steps: int) -> bool:
    """Wait until the run has trained so many steps since its start; False if it never does."""
    first, started_s = None, time.time()
    while run.process.poll() is None and time.time() - started_s < START_LIMIT_S:
        phase = phase_of(run.folder)
        step = phase.get("step")
        if step is not None and phase["since_s"] > started_s:
            first = step if first is None else first
            if step >= first + after_steps:
                return True
        time.sleep(0.1)
    return False


def wait_for_moment(run: Run, plan: Plan) -> bool:
    """Wait until the phase of the plan begins, and its delay; False if it never begins."""
    from_s = time.time()
    while run.process.poll() is None and time.time() - from_s < START_LIMIT_S:
        phase = phase_of(run.folder)
        if phase["text"] == plan.moment and phase["since_s"] > from_s:
            time.sleep(plan.delay_s)
            return True
        time.sleep(POLL_S)
    return False


def kill(run: Run, plan: Plan) -> Kill | None:
    """Carry a plan out; None if its moment never came."""
    if not wait_for_step(run, plan.after_steps):
        return None
    shared_before, pids = shared_memory(), run.pids_of(plan.target)  # slow beside some phases
    if not pids or not wait_for_moment(run, plan):
        return None
    phase = phase_of(run.folder)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    end_s = run.wait_until_gone(2 * END_LIMIT_S)
    code = run.process.poll()
    return Kill(
        target=plan.target,
        phase=phase["text"],
        step=phase["step"],
        end_s=end_s,
        code=code if code is not None else 0,
        message=run.message(),
        left=tuple(leftovers(run, shared_before)),
    )


def shared_memory() -> set[Path]:
    """Segments that runs of verl and vLLM make."""
    return {path for pattern in SHARED_MEMORY for path in Path("/dev/shm").glob(pattern)}


def leftovers(run: Run, shared_before: set[Path]) -> Iterator[str]:
    """Processes, shared memory that nobody uses, and Ray's folder."""
    for process in run.processes():
        yield f"process {_title(process)[:60]}"
    new = shared_memory() - shared_before
    mapped = {each.path for process in psutil.process_iter() for each in _maps(process)}
    yield from (str(path) for path in new if str(path) not in mapped and path.exists())
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    ray_folder = Path(config["ray_kwargs"]["ray_init"]["_temp_dir"])
    if ray_folder.exists():
        yield f"folder {ray_folder.name}"


def _maps(process: psutil.Process) -> list[Any]:
    try:
        return process.memory_maps()
    except (psutil.Error, OSError):
        return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def torment(words: Sequence[str], folder: Path, drawn: Sequence[Plan]) -> tuple[list[Kill], int]:
    """Kill, start again, ..., then let it finish; the kills and the last start's exit code."""
    kills: list[Kill] = []
    for plan in drawn:
        run = Run(words, folder)
        try:
            done = kill(run, plan)
        finally:
            run.end()
        if done is None:
            print(f"no moment for {plan}: {run.process.returncode}", flush=True)
            break
        kills.append(done)
        print(row_of(len(kills), done), flush=True)
    last = Run(words, folder)
    try:
        code = last.process.wait()
        last.wait_until_gone(END_LIMIT_S)
    finally:
        last.end()
    return kills, code


def row_of(number: int, each: Kill) -> str:
    """One line of the table."""
    left = ", ".join(each.left) or "nothing left"
    verdict = "ok " if each.is_clean else "BAD"
    return (
        f"{number:3} {verdict} {each.target:18} {each.phase:16} step {each.step!s:4} "
        f"end {each.end_s:5.1f} s  exit {each.code:4}  {left}\n        {each.message}"
    )


def agrees(folder: Path, reference: Path) -> bool:
    """Whether the final accuracies differ by no more than chance; says so."""
    found = [json.loads((each / "summary.json").read_text()) for each in (folder, reference)]
    (rate, n), (base, m) = ((x["accuracy"]["after"], x["accuracy"]["n"]) for x in found)
    difference = rate_difference(rate, n, baseline=base, baseline_n=m)
    print(f"accuracy {rate:.3f}, undisturbed {base:.3f}: {difference}")
    return not difference.excludes(0.0)


def audited(folder: Path) -> bool:
    """Whether ``copris audit`` finds nothing lost and nothing twice."""
    command = [sys.executable, "-m", "copris_core.cli", "audit", str(folder)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="run folder; default: a new temporary one")
    parser.add_argument("--reference", type=Path, help="an undisturbed run to compare with")
    parser.add_argument("--json", type=Path, help="where to write the kills")
    given, words = parser.parse_known_args(arguments)
    folder = (given.run or Path(tempfile.mkdtemp(prefix="chaos-")) / "run").absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    steps = STEPS_PER_KILL * (given.kills + 1)
    words = [*SMALL, f"trainer.total_training_steps={steps}", *words]
    drawn = list(itertools.islice(plans(given.kills, given.seed), given.kills))
    print(f"run folder {folder}", flush=True)
    kills, code = torment(words, folder, drawn)
    print(f"the last start ended with exit code {code}", flush=True)
    if given.json:
        given.json.write_text(json.dumps({"kills": [asdict(x) for x in kills], "code": code}))
    good = len(kills) == given.kills and all(each.is_clean for each in kills) and code == 0
    good = audited(folder) and good
    if given.reference and code == 0:
        good = agrees(folder, given.reference) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
