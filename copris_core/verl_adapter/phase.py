"""One line about what a run is doing now, left in its folder for whoever watches."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from copris_core.report.run_folder import read_json, write_json

PHASE_FILE = "phase.json"

STOPPING: Final = "stopping"
"""The gate is closed; the engines abort what runs."""
SAVING: Final = "saving"
"""A checkpoint is being written."""
SYNCING: Final = "syncing weights"
"""The engines take the trainer's weights."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What a run was doing when it last said so."""

    text: str
    """In words."""
    step: int | None
    """Training step it belongs to; None before the first."""
    since_s: float
    """Unix time at which it began."""


def write_phase(folder: Path, text: str, *, step: int | None = None) -> None:
    """Leave word, whole or not at all; ``step`` is the training step it belongs to."""
    phase = Phase(text=text, step=step, since_s=time.time())
    write_json(folder / PHASE_FILE, asdict(phase))


def read_phase(folder: Path) -> Phase | None:
    """The latest word; None before the first."""
    path = folder / PHASE_FILE
    return Phase(**read_json(path)) if path.exists() else None
