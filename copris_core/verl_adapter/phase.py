"""One line about what a run is doing now, left in its folder for whoever watches."""

from pathlib import Path
from typing import Any

from copris_core.report.run_folder import read_json, write_json

PHASE_FILE = "phase.json"


def write_phase(folder: Path, text: str, *, step: int | None = None) -> None:
    """Leave word, whole or not at all; ``step`` is the training step it belongs to."""
    write_json(folder / PHASE_FILE, {"text": text, "step": step})


def read_phase(folder: Path) -> dict[str, Any] | None:
    """The latest word as ``{"text": ..., "step": ...}``; None before the first."""
    path = folder / PHASE_FILE
    return read_json(path) if path.exists() else None
