"""Short real runs that tell what this machine's engine costs, one after another.

Each is `copris train` in a process of its own, at another N', on a workload whose lengths are given
with the rows; `copris_core.simulator.calibrate` reads what they leave behind.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from copris_core.verl_adapter.bench_methods import (
    EVERY_RUN,
    WORKLOADS,
    batch_overrides,
    method_overrides,
)
from copris_core.verl_adapter.errors import TrainingError

CONCURRENCIES: Final = (8, 32, 64, 128)
"""N' of the runs: how a step's cost grows with the batch."""

WORKLOAD: Final = "longtail"
METHOD: Final = "copris"
PROMPTS: Final = {8: 4, 32: 4, 64: 8, 128: 8}
"""B by N': two sizes of update, to tell what a token of it costs."""

GROUP_SIZE: Final = 8

STEPS: Final = 8
"""Training steps of each run, the warm-up included."""

LIMIT_S: Final = 600
"""Seconds after which a run counts as hanging; a step takes some seconds, the start a minute."""

LOG_FILE: Final = "calibration.log"


def calibration_runs(
    out: Path,
    *,
    overrides: Sequence[str] = (),
    concurrencies: Sequence[int] = CONCURRENCIES,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Train at each N'; about a minute and a half a run on two cores.

    Args:
        out: the runs go to ``<out>/n<N'>``; a run that is there and finished is not done again.
        overrides: of ``copris train``, the same for all, such as another platform.
        concurrencies: N' of the runs.
        say: is told what happens.

    Returns:
        The run folders.

    Raises:
        TrainingError: a run died or hung; the message says where its log is.
    """
    folders = []
    for number, concurrency in enumerate(concurrencies, start=1):
        folder = out / f"n{concurrency}"
        folders.append(folder)
        if (folder / "summary.json").is_file():
            say(f"calibration {number}/{len(concurrencies)}: N'={concurrency} is there already")
            continue
        say(f"calibration {number}/{len(concurrencies)}: N'={concurrency}")
        _train(folder, [*train_words(concurrency, folder), *overrides])
    return folders


def train_words(concurrency: int, folder: Path) -> list[str]:
    """The words behind ``copris`` that start one run."""
    return [
        "train",
        *WORKLOADS[WORKLOAD],
        *method_overrides(METHOD, concurrency=concurrency),
        *batch_overrides(PROMPTS.get(concurrency, max(PROMPTS.values())), GROUP_SIZE),
        *EVERY_RUN,
        f"trainer.total_training_steps={STEPS}",
        f"run.dir={folder}",
    ]


def _train(folder: Path, words: Sequence[str]) -> None:
    log = folder.with_name(f"{folder.name}.{LOG_FILE}")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "copris_core.cli", *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TrainingError(f"calibration hung for {LIMIT_S} s: see {log}") from error
    if done.returncode:
        raise TrainingError(f"calibration died with exit code {done.returncode}: see {log}")
