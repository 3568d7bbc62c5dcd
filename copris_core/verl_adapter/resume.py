"""The same command again: what a run folder holds decides whether a run starts, goes on or refuses.

========================================  ========================================================
the folder holds                          the same command
========================================  ========================================================
nothing                                   starts
a run that was cut off, with a checkpoint  goes on from its newest sealed checkpoint
a run that was cut off, without one       starts over; the rows so far are kept as abandoned
a run that reached its last step          refuses, unless asked for more steps
========================================  ========================================================

``plan`` decides and changes nothing; ``prepare`` carries out. What lies behind the checkpoint is
another past: rows of later steps move to ``*.abandoned.jsonl``, half-written checkpoints go.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from omegaconf import DictConfig, OmegaConf

from copris_core.checkpoint.seal import discard_unsealed, newest_sealed, step_of
from copris_core.report.config_leaves import PLACES
from copris_core.report.run_folder import read_config
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.failure import CHECKPOINTS, FAILURE_FILE
from copris_core.verl_adapter.reading import number

ROWS: Final = ("metrics.jsonl", "trajectories.jsonl", "resets.jsonl")
"""Files of the run folder with a row, or several, for each step."""

MAY_CHANGE: Final = (
    *PLACES,
    "platform.ray_address",
    "trainer.test_freq",
    "trainer.total_training_steps",
)
"""Keys, and beginnings of keys, that say where a run lies, how long it is and what it tells; every
other one says what is trained, and a run goes on with it unchanged."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a run begins."""

    checkpoint: Path | None
    """The sealed checkpoint it goes on from; None: at the beginning."""
    started_s: float
    """Unix time from which ``time_s`` counts, so that it goes on where it stopped."""
    overrides: Mapping[str, Any]
    """Dotted keys of verl's to set."""

    @property
    def step(self) -> int:
        """Training steps that are done."""
        return step_of(self.checkpoint) if self.checkpoint else 0


def plan(folder: Path, config: DictConfig, *, now_s: float) -> Start:
    """Decide how the run in ``folder`` begins.

    Args:
        folder: the run folder.
        config: the complete config of the command.
        now_s: Unix time.

    Raises:
        ConfigError: the folder holds a finished run, or one with another config.
    """
    if not _holds_a_run(folder):
        return Start(checkpoint=None, started_s=now_s, overrides=_from_the_start(config))
    if config.trainer.resume_mode == "disable":
        raise ConfigError(
            f"run.dir={folder} holds a run already: name another folder, or remove "
            "trainer.resume_mode=disable to continue it"
        )
    saved = read_config(folder / "config.yaml")
    _refuse_other_config(folder, saved, yaml.safe_load(OmegaConf.to_yaml(config, resolve=True)))
    checkpoint = newest_sealed(folder / CHECKPOINTS)
    _refuse_finished(
        folder, saved, checkpoint, asked=number(config, "trainer.total_training_steps")
    )
    if checkpoint is None:
        return Start(checkpoint=None, started_s=now_s, overrides=_from_the_start(config))
    kept = [row for row in _metrics(folder) if row["step"] <= step_of(checkpoint)]
    return Start(
        checkpoint=checkpoint,
        started_s=now_s - max((row["time_s"] for row in kept), default=0.0),
        overrides={
            "trainer.resume_mode": "resume_path",
            "trainer.resume_from_path": str(checkpoint),
            "trainer.val_before_train": _lacks_validation(kept, step_of(checkpoint), config),
        },
    )


def prepare(folder: Path, start: Start) -> None:
    """Make the folder what it was at the checkpoint; what came later is kept aside."""
    checkpoints = folder / CHECKPOINTS
    if checkpoints.is_dir():
        discard_unsealed(checkpoints)
    for name in ROWS:
        _abandon(folder / name, after=start.step if start.checkpoint else -1)
    for path in (folder / "summary.json", folder / FAILURE_FILE):
        path.unlink(missing_ok=True)


def _holds_a_run(folder: Path) -> bool:
    return (folder / "config.yaml").exists() or (folder / "metrics.jsonl").exists()


def _from_the_start(config: DictConfig) -> dict[str, Any]:
    """``auto`` would have verl look for itself, and take a checkpoint that is not whole."""
    return {"trainer.resume_mode": "disable"} if config.trainer.resume_mode == "auto" else {}


def _refuse_other_config(folder: Path, saved: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    before, now = dict(_leaves(saved)), dict(_leaves(asked))
    for key in sorted(before.keys() | now.keys()):
        was, wanted = before.get(key), now.get(key)
        if was != wanted and not key.startswith(MAY_CHANGE):
            raise ConfigError(
                f"run.dir={folder} holds a run with {key}={was}, the command says {wanted}: give "
                "it the same value, or name another folder"
            )


def _refuse_finished(
    folder: Path, saved: Mapping[str, Any], checkpoint: Path | None, *, asked: int
) -> None:
    reached = step_of(checkpoint) if checkpoint else 0
    if (folder / "summary.json").exists():
        done = saved["trainer"]["total_training_steps"]
        if asked <= done:
            raise ConfigError(
                f"run.dir={folder} holds a finished run of {done} steps: name another folder, or "
                f"go on with trainer.total_training_steps above {done}"
            )
        if checkpoint is None:
            raise ConfigError(
                f"run.dir={folder} holds a finished run without a checkpoint to go on from "
                "(trainer.save_freq): name another folder"
            )
    if asked < reached:
        raise ConfigError(
            f"run.dir={folder} holds a run that is past step {asked}: set "
            f"trainer.total_training_steps to {reached} or more, or name another folder"
        )


def _leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything that is no section; an empty section is a value."""
    for word, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{word}.")
        else:
            yield f"{prefix}{word}", value


def _lacks_validation(kept: list[dict[str, Any]], step: int, config: DictConfig) -> bool:
    """Whether the run was cut off between the checkpoint and the validation of its weights."""
    every, last = config.trainer.test_freq, config.trainer.total_training_steps
    is_due = every > 0 and (step % every == 0 or step == last)
    return is_due and not any(row["step"] == step and "val/accuracy" in row for row in kept)


def _metrics(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [row for line in lines if (row := _row(line)) is not None]


def _row(line: bytes) -> dict[str, Any] | None:
    """A line as an object; None for one that a kill cut off."""
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return row


def _abandon(path: Path, *, after: int) -> None:
    """Move the rows of later steps to a neighbour, then replace the file, whole or not at all.

    A kill between the two moves them again the next time: they are read by nobody.
    """
    if not path.exists():
        return
    aside = path.with_suffix(f".abandoned{path.suffix}")
    neighbour = path.with_name(f".{path.name}.part")
    with path.open("rb") as old, neighbour.open("wb") as kept, aside.open("ab") as abandoned:
        for line in old:
            row = _row(line)
            stays = row is not None and row["step"] <= after
            (kept if stays else abandoned).write(line.rstrip(b"\n") + b"\n")
        for file in (abandoned, kept):
            file.flush()
            os.fsync(file.fileno())
    os.replace(neighbour, path)
    if not aside.stat().st_size:
        aside.unlink()
