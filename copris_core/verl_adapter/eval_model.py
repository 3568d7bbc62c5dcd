"""Finds the weights to evaluate: a folder, a hub id, or a checkpoint of one of our runs.

Of a run ``best`` means best by its own held-out validation, in metrics.jsonl, among the checkpoints
that were saved. Nothing here reads the result of an evaluation, so that none can choose weights.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from copris_core.checkpoint.seal import sealed, step_of
from copris_core.report.run_folder import Row, read_config, read_metrics
from copris_core.tasks.hub import is_offline
from copris_core.verl_adapter import hub_model
from copris_core.verl_adapter.door import PACKAGED
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.eval_merge import merged
from copris_core.verl_adapter.eval_settings import BEST, NEWEST
from copris_core.verl_adapter.failure import CHECKPOINTS

VALIDATION: Final = ("val/blended", "val/accuracy")
"""What ``best`` goes by: the first of these that every candidate has."""
WEIGHTS: Final = ("*.safetensors", "*.bin")
TAIL_BYTES: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class EvalModel:
    """Weights with their tokenizer."""

    path: Path
    """Folder in Hugging Face's layout."""
    name: str
    """What the user called it."""
    home: Path
    """Where results go unless the user says otherwise."""
    step: int | None
    """Training step of a run's checkpoint; None for any other model."""
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    """The task section of its run's config; empty for any other model."""

    def digest(self) -> str:
        """Tells these weights from others without reading all of them."""
        found = hashlib.sha256((self.path / "config.json").read_bytes())
        for path in weight_files(self.path):
            size = path.stat().st_size
            found.update(f"{path.name} {size} ".encode())
            with path.open("rb") as file:
                for start in (0, max(0, size // 2), max(0, size - TAIL_BYTES)):
                    file.seek(start)
                    found.update(file.read(TAIL_BYTES))
        return found.hexdigest()[:16]


def find_model(word: str, *, step: str) -> EvalModel:
    """Find, and for a run's checkpoint make, the folder that the engine loads.

    Args:
        word: what the user named.
        step: of a run: ``newest``, ``best`` or a number.

    Raises:
        ConfigError: there is no such model, or the run has no such checkpoint.
    """
    place = Path(word).expanduser()
    if (place / CHECKPOINTS).is_dir() or (place / "metrics.jsonl").is_file():
        return _of_run(place, step)
    if step != NEWEST:
        raise ConfigError(f"--step {step} is for run folders, and {word} is none: leave it out")
    folder = _folder(word, place)
    name = Path(word).name or folder.name
    _refuse_incomplete(folder, word)
    return EvalModel(path=folder, name=name, home=Path("runs/eval") / name, step=None)


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights of a model, by name."""
    return sorted({path for pattern in WEIGHTS for path in folder.glob(pattern)})


def saved_steps(run: Path) -> list[int]:
    """Training steps whose checkpoints count, in order."""
    folders = (run / CHECKPOINTS).glob("global_step_*")
    return sorted(step_of(folder) for folder in folders if folder.is_dir() and sealed(folder))


def best_step(rows: list[Row], saved: list[int]) -> int | None:
    """The saved step with the best held-out validation, the earliest of equals; None without one.

    Args:
        rows: of the run's metrics.jsonl.
        saved: steps with a checkpoint.
    """
    candidates = [row for row in rows if row["step"] in saved and VALIDATION[-1] in row]
    if not candidates:
        return None
    key = next(key for key in VALIDATION if all(row.get(key) is not None for row in candidates))
    best = max(candidates, key=lambda row: (row[key], -_step(row)))
    return _step(best)


def _step(row: Row) -> int:
    return int(row["step"] or 0)


def _of_run(run: Path, asked: str) -> EvalModel:
    saved = saved_steps(run)
    if not saved:
        raise ConfigError(
            f"{run} has no checkpoint to evaluate: train with trainer.save_freq=N, or give a model"
        )
    step = _chosen(run, asked, saved)
    home = run / "eval" / f"step_{step}"
    path = merged(run / CHECKPOINTS / f"global_step_{step}" / "actor", home / "model")
    return EvalModel(
        path=path,
        name=f"{run.absolute().name} step {step}",
        home=home,
        step=step,
        trained_on=read_config(run / "config.yaml").get("task") or {},
    )


def _chosen(run: Path, asked: str, saved: list[int]) -> int:
    if asked == NEWEST:
        return saved[-1]
    if asked == BEST:
        best = best_step(_rows(run), saved)
        if best is None:
            raise ConfigError(
                f"{run} has no validation of a step that it saved: train with trainer.test_freq=N "
                "and trainer.save_freq=N, or give --step a number"
            )
        return best
    if int(asked) not in saved:
        there = ", ".join(map(str, saved))
        raise ConfigError(f"--step {asked}: {run} saved step {there}; name one of them")
    return int(asked)


def _rows(run: Path) -> list[Row]:
    try:
        return read_metrics(run / "metrics.jsonl", on_torn=lambda said: None)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _folder(word: str, place: Path) -> Path:
    if word in PACKAGED and not place.exists():
        return Path(str(resources.files("copris_core") / "assets" / word))
    folder, hub_id = hub_model.find_model(word)
    if hub_id is not None:
        return _fetched(hub_id)
    if not folder.is_dir():
        raise ConfigError(
            f"{word}: no such folder; give a Hugging Face folder, a hub id such as Qwen/Qwen3-8B, "
            "or a run folder"
        )
    return folder


def _fetched(hub_id: str) -> Path:
    """The snapshot of a hub model that is not on this machine."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    mend = f"{hub_id} is not on this machine: give the folder of a copy of it"
    if is_offline():
        raise ConfigError(f"the hub does not answer, and {mend}")
    try:
        return Path(snapshot_download(hub_id, ignore_patterns=[*hub_model.LEFT_OUT]))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"the hub does not give {hub_id} ({reason}); {mend}") from error


def _refuse_incomplete(folder: Path, word: str) -> None:
    for what in _missing(folder):
        raise ConfigError(
            f"{word} has no {what}: give a Hugging Face folder with config.json, weights and "
            "tokenizer, or a run folder with checkpoints"
        )


def _missing(folder: Path) -> Iterator[str]:
    names = set(os.listdir(folder))
    if "config.json" not in names:
        yield "config.json"
    if not weight_files(folder):
        yield "weights (*.safetensors)"
    if not names & {"tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json"}:
        yield "tokenizer"
