"""The folder of one evaluation: samples are appended as they are judged, a restart reads them back.

    eval.json        what was asked for; the folder is continued only by the same
    samples.jsonl    one judged response a line, sorted once all are there

A kill at any moment leaves whole lines and at most one torn one, which is left out.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from copris_core.checkpoint.durable import write_durably
from copris_core.evaluation.eval_sample import EvalSample
from copris_core.report.run_folder import write_json
from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.eval_prompts import Prompt

SETTINGS_FILE: Final = "eval.json"
SAMPLES_FILE: Final = "samples.jsonl"
LOCK_FILE: Final = "eval.lock"


class EvalFolder:
    """Where samples go; use it inside ``locked``."""

    def __init__(self, path: Path, prompts: Sequence[Prompt], *, n: int) -> None:
        """Read nothing yet.

        Args:
            path: the folder.
            prompts: all of them, in the order of the final file.
            n: samples of each.
        """
        self.path = path
        self._order = {each.uid: place for place, each in enumerate(prompts)}
        self._n = n
        self._done: dict[ResponseKey, EvalSample] = {}

    @property
    def samples_path(self) -> Path:
        """The judged responses."""
        return self.path / SAMPLES_FILE

    @property
    def num_done(self) -> int:
        """Samples that are there."""
        return len(self._done)

    @property
    def samples(self) -> list[EvalSample]:
        """All that are there, in the order of the prompts."""
        return sorted(self._done.values(), key=lambda each: (self._order[each.uid], each.index))

    def missing(self) -> dict[str, list[int]]:
        """By prompt, in data order, the sample indices that are not there."""
        found = {
            uid: [i for i in range(self._n) if ResponseKey(uid, i) not in self._done]
            for uid in self._order
        }
        return {uid: indices for uid, indices in found.items() if indices}

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Take the folder up: check that it is of the same settings, and read what is there.

        Raises:
            ConfigError: it holds the samples of other settings, or a line that is no sample.
        """
        known = _read_settings(self.path)
        if known is None:
            if self.samples_path.exists():
                raise ConfigError(
                    f"{self.path} holds {SAMPLES_FILE} without {SETTINGS_FILE}: name another "
                    "folder by --out"
                )
            write_json(self.path / SETTINGS_FILE, dict(settings))
        else:
            _refuse_others(self.path, known, settings)
        for sample in self._read():
            self._done[ResponseKey(sample.uid, sample.index)] = sample
        self._write_whole()  # without a torn line, which an appended one would complete

    def add(self, sample: EvalSample) -> None:
        """Append one; it is there when this returns, whatever then becomes of this process."""
        with self.samples_path.open("ab") as file:
            file.write(_line(sample))
        self._done[ResponseKey(sample.uid, sample.index)] = sample

    def finish(self) -> None:
        """Sort the file, now that every sample is there."""
        self._write_whole()

    def _write_whole(self) -> None:
        write_durably(self.samples_path, b"".join(map(_line, self.samples)))

    def _read(self) -> Iterator[EvalSample]:
        lines = self.samples_path.read_bytes().split(b"\n") if self.samples_path.exists() else []
        for number, line in enumerate(lines, start=1):
            if not line:
                continue
            try:
                sample = EvalSample.from_json(json.loads(line))
                if sample.uid not in self._order or sample.index >= self._n:
                    raise ValueError("a sample of another evaluation: name another folder by --out")
            except ValueError as error:
                if number == len(lines):  # no newline after it: a kill cut it off
                    return
                raise ConfigError(f"{self.samples_path} line {number}: {error}") from error
            yield sample


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and keep every other evaluation out of it.

    Raises:
        ConfigError: one is going on there, or it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}; name another folder by --out") from error
    try:
        _take(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"another evaluation writes to {folder}: wait until it has ended, or name another "
            "folder by --out"
        ) from error


def _line(sample: EvalSample) -> bytes:
    return json.dumps(sample.to_json(), ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _read_settings(folder: Path) -> dict[str, Any] | None:
    try:
        known: dict[str, Any] = json.loads((folder / SETTINGS_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigError(
            f"{folder / SETTINGS_FILE} is not whole ({error}): name another folder by --out"
        ) from error
    return known


def _refuse_others(folder: Path, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    for key in sorted(known.keys() | asked.keys()):
        if known.get(key) != asked.get(key):
            raise ConfigError(
                f"{folder} holds an evaluation with {key} {known.get(key)}, this one has "
                f"{asked.get(key)}: name another folder by --out"
            )
