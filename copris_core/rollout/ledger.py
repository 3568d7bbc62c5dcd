"""The ledger: one line for whatever happens to a prompt or a response, in a file that only grows.

    {"seq": 7, "version": 12, "uid": "5f0c", "index": 3, "tokens": 81, "event": "finished"}

A restart goes back to a checkpoint: it appends ``resumed_run`` with the position (``from_seq``)
that the checkpoint had noted. What was written from there on belongs to an abandoned timeline; it
stays in the file, and readers do not count it. One process writes; others collect ``Fact`` tuples
and hand them over. `copris_core.report.audit` reads.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from copris_core.rollout.events import Event, Fact, LedgerEvent, check_fact

LEDGER_FILE = "ledger.jsonl"
"""Name of the ledger within a run folder."""

TAIL_BYTES = 1 << 16
"""First bite when looking for the last line; a line with a long ``live`` takes more bites."""


class Ledger:
    """The only writer of one ledger. Every call writes whole lines or nothing."""

    def __init__(self, path: Path) -> None:
        """Go on behind the last whole line of ``path``; a line torn by a kill is cut off.

        Raises:
            ValueError: the last whole line is no ledger line.
        """
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        last = _cut_torn_line(path)
        self._next_seq = 0 if last is None else last.seq + 1

    @property
    def position(self) -> int:
        """Number of the next line: what a checkpoint notes, and a restart goes back to."""
        return self._next_seq

    def append(self, facts: Iterable[Fact]) -> None:
        """Write one line for each fact, in order.

        Raises:
            ValueError: a fact lacks what its event must say; nothing is written then.
            OSError: the disk is full or gone; what was written of these lines is taken back.
        """
        facts = list(facts)
        for fact in facts:
            check_fact(fact)
        events = [LedgerEvent(seq=i, fact=fact) for i, fact in enumerate(facts, self._next_seq)]
        lines = [json.dumps(event.to_json(), allow_nan=False) + "\n" for event in events]
        if lines:
            _append_bytes(self._path, "".join(lines).encode())
            self._next_seq += len(lines)

    def sync(self) -> None:
        """Make sure that every line so far outlives the machine; call it before a checkpoint."""
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    def resume(self, from_seq: int, *, version: int, live: tuple[str, ...] | None = None) -> None:
        """Note a restart from the checkpoint that had noted ``from_seq``.

        Args:
            from_seq: position in the checkpoint; 0 for a restart without one.
            version: policy version of the restored weights.
            live: every prompt that the restored gate holds.

        Raises:
            ValueError: the checkpoint knows lines that this ledger has not.
        """
        if not 0 <= from_seq <= self._next_seq:
            raise ValueError(
                f"{self._path} ends at line {self._next_seq}, the checkpoint was saved at line "
                f"{from_seq}: resume in the run folder that wrote the checkpoint"
            )
        self.append([Fact(Event.RESUMED_RUN, version, from_seq=from_seq, live=live)])


@dataclass(frozen=True, slots=True)
class SavedLedger:
    """A ledger on disk, read line by line as often as asked for."""

    path: Path
    """The file."""

    def __iter__(self) -> Iterator[LedgerEvent]:
        """Every whole line, in order; a last line torn by a kill is left out.

        Raises:
            ValueError: the file is missing, a line is malformed, or the numbers do not rise.
        """
        if not self.path.is_file():
            raise ValueError(f"no ledger at {self.path}: give the folder of a run that has started")
        seq = -1
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                event = _parse(line, where=f"{self.path} line {number}")
                if event.seq <= seq:
                    raise ValueError(f"{self.path} line {number}: {event.seq} follows {seq}")
                seq = event.seq
                yield event


def _append_bytes(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise


def _cut_torn_line(path: Path) -> LedgerEvent | None:
    """Make the file end in a newline, or be empty; return its last line."""
    with path.open("r+b") as file:
        size, tail = file.seek(0, os.SEEK_END), b""
        while len(tail) < size and tail.count(b"\n") < 2:
            length = min(size, 2 * len(tail) or TAIL_BYTES)
            tail = os.pread(file.fileno(), length, size - length)
        whole, newline, torn = tail.rpartition(b"\n")
        os.ftruncate(file.fileno(), size - len(torn))
    if not newline:
        return None
    return _parse(whole.rpartition(b"\n")[2], where=f"{path}, last line")


def _parse(line: bytes, *, where: str) -> LedgerEvent:
    try:
        return LedgerEvent.from_json(json.loads(line))
    except ValueError as error:
        raise ValueError(f"{where} is no ledger line ({error}): mend or delete it") from error
