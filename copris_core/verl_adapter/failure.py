"""Why a run ended before its last step: one line for the user, one file in the run folder.

Whoever notices first leaves word: the watchdog beside the trainer, the driver, or the warden that
outlives both.
"""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from copris_core.checkpoint.seal import newest_sealed, step_of
from copris_core.report.run_folder import read_json, write_json
from copris_core.verl_adapter.phase import read_phase

FAILURE_FILE: Final = "failure.json"
CHECKPOINTS: Final = "checkpoints"

ROLES: Final = {
    "TaskRunnerV1": "the trainer process",
    "Router": "the router actor",
    "GateWorkerLoop": "an agent-loop worker",
    "LeanWorkerLoop": "an agent-loop worker",
    "vLLMHttpServer": "an engine's server",
    "GateServer": "an engine's server",
    "WorkerDict": "a training worker",
    "RewardLoopWorker": "a reward worker",
    "TransferQueueController": "TransferQueue's controller",
    "SimpleStorageUnit": "TransferQueue's storage",
}
"""Ray's class name of an actor -> what it is to a user."""

CAUSES: Final = (
    (
        r"No space left on device|Disk quota exceeded|PytorchStreamWriter|enforce fail at inline_c",
        "the disk is full",
        "free some space",
    ),
    (
        r"CUDA out of memory|OutOfMemoryError|killed due to memory pressure|MemoryError",
        "out of memory",
        "lower actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu, or free some memory",
    ),
    (
        r"EADDRINUSE|[Aa]ddress already in use",
        "another process took a port that was free a moment ago",
        "nothing is to be mended",
    ),
    (r"EngineDeadError|EngineCore encountered an issue", "an engine process died", ""),
)
"""(pattern in what Ray tells, what it means, what the user must do first), the first match wins."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run ended before its last step."""

    what: str
    """Who died, or what went wrong, in words."""
    cause: str
    """What the one who noticed was told; empty when nothing was."""
    phase: str | None
    """What the run was doing; None before it said anything."""
    step: int | None
    """Training step; None before the first."""
    mend: str
    """What the user does next."""

    @property
    def line(self) -> str:
        """All of it in one line."""
        doing = f" while {self.phase}" if self.phase else ""
        place = f" in step {self.step}" if self.step is not None else ""
        told = f" ({self.cause})" if self.cause else ""
        return f"{self.what}{doing}{place}{told}; {self.mend}"


def failure_of(folder: Path, what: str, *, cause: str = "", first: str = "") -> Failure:
    """Say what happened to the run in ``folder``, and how to go on.

    Args:
        folder: the run folder; its phase and its checkpoints are read.
        what: who died, or what went wrong.
        cause: what the one who noticed was told.
        first: what the user must do before going on.
    """
    phase = read_phase(folder)
    return Failure(
        what=what,
        cause=_one_line(cause),
        phase=phase.text if phase else None,
        step=phase.step if phase else None,
        mend=f"{first}, then " * bool(first) + how_to_go_on(folder),
    )


def how_to_go_on(folder: Path) -> str:
    """What to type to continue the run in ``folder``, and where it would go on."""
    sealed = newest_sealed(folder / CHECKPOINTS)
    where = (
        f"it goes on from step {step_of(sealed)}"
        if sealed
        else "it starts over, for no checkpoint was saved (trainer.save_freq=N saves)"
    )
    return f"run the same command again with run.dir={folder}: {where}"


def classify(folder: Path, error: BaseException) -> Failure:
    """What an error of verl or Ray means to the user."""
    told = re.sub(r"\x1b\[\d+m", "", str(error))
    for pattern, what, first in CAUSES:
        if re.search(pattern, told):
            return failure_of(folder, what, cause=_cause(told), first=first)
    dead = re.findall(r"class_name: (\w+)", told)
    if dead:
        return failure_of(folder, f"{ROLES.get(dead[-1], dead[-1])} died", cause=why_it_died(told))
    cause = _cause(told) or type(error).__name__
    return failure_of(folder, "the run failed", cause=cause, first="mend the cause")


def why_it_died(told: str) -> str:
    """Ray's death notice in short."""
    if "Worker exit type: SYSTEM_ERROR" in told:
        return "its process ended without a word: killed, or out of memory"
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def write_failure(folder: Path, failure: Failure) -> None:
    """Leave word, whole or not at all."""
    write_json(folder / FAILURE_FILE, asdict(failure))


def read_failure(folder: Path) -> Failure | None:
    """The word that was left; None if nothing is known to have failed."""
    path = folder / FAILURE_FILE
    return Failure(**read_json(path)) if path.exists() else None


def _cause(told: str) -> str:
    """Without the stack of actors: the last line that names an exception, the innermost one."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit)\b.*: ", line)]
    return (named or lines[:1] or [""])[-1]


def _one_line(text: str) -> str:
    return " ".join(text.split())
