"""What the engine processes of a run did, iteration by iteration: RUN/engine/steps-<pid>.csv.

One file an engine process, one line an iteration (one execution of the model). Refuses to know
which training step an iteration belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PATTERN = "engine/steps-*.csv"
HEADER = "begin_s,seconds,running,prefill_tokens,decode_tokens"
NUM_COLUMNS = HEADER.count(",") + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class EngineSteps:
    """Iterations of all engines of a run, by the time they began; N of them."""

    engine_N: Ints
    """Number of the engine process, from 0."""
    begin_s_N: Floats
    """Unix time at which the iteration began."""
    seconds_N: Floats
    """Seconds of execution and sampling; what follows until the next one is not in it."""
    running_N: Ints
    """Requests scheduled in it."""
    prefill_tokens_N: Ints
    """Prompt tokens computed in it, those of continued responses among them."""
    decode_tokens_N: Ints
    """Tokens sampled in it."""

    @property
    def num_engines(self) -> int:
        """Engine processes that ran anything."""
        return len(np.unique(self.engine_N))

    def of_engine(self, engine: int) -> EngineSteps:
        """The iterations of one process."""
        return self.where(self.engine_N == engine)

    def where(self, chosen_N: NDArray[np.bool_]) -> EngineSteps:
        """The chosen iterations, in the same order."""
        return EngineSteps(
            engine_N=self.engine_N[chosen_N],
            begin_s_N=self.begin_s_N[chosen_N],
            seconds_N=self.seconds_N[chosen_N],
            running_N=self.running_N[chosen_N],
            prefill_tokens_N=self.prefill_tokens_N[chosen_N],
            decode_tokens_N=self.decode_tokens_N[chosen_N],
        )


def read_engine_steps(run: Path) -> EngineSteps | None:
    """Read the logs of all engine processes of the run folder ``run``; None where there is none.

    A last line without its newline was cut off by a kill and is left out: what is left of a number
    may still look like one.

    Raises:
        ValueError: a file is no such log; names file and line.
    """
    tables = [table for path in sorted(run.glob(PATTERN)) if len(table := _read_table(path))]
    if not tables:
        return None
    engine_N = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    table_NC = np.concatenate(tables)
    order_N = np.argsort(table_NC[:, 0], kind="stable")
    begin_s_N, seconds_N, *counts = table_NC[order_N].T
    running_N, prefill_tokens_N, decode_tokens_N = (each.astype(np.int64) for each in counts)
    return EngineSteps(
        engine_N=engine_N[order_N],
        begin_s_N=begin_s_N,
        seconds_N=seconds_N,
        running_N=running_N,
        prefill_tokens_N=prefill_tokens_N,
        decode_tokens_N=decode_tokens_N,
    )


def _read_table(path: Path) -> Floats:
    """[lines, NUM_COLUMNS] of one file; a file whose header was cut off has no lines."""
    header, *lines = path.read_text().split("\n")[:-1] or [HEADER]
    if header.strip() != HEADER:
        raise ValueError(f"{path} line 1 is not {HEADER!r}: this is no engine log")
    cells = [line.split(",") for line in lines]
    if not cells:
        return np.empty((0, NUM_COLUMNS))
    try:
        table_NC = np.array(cells, np.float64)
    except ValueError:
        raise ValueError(_first_fault(path, lines)) from None
    if table_NC.shape[1] != NUM_COLUMNS or not bool((table_NC >= 0).all()):
        raise ValueError(_first_fault(path, lines))
    return table_NC


def _first_fault(path: Path, lines: Sequence[str]) -> str:
    number = next(i for i, line in enumerate(lines, start=2) if not _is_sound(line))
    return f"{path} line {number} is not five numbers of 0 or more: mend or delete that line"


def _is_sound(line: str) -> bool:
    try:
        values = [float(word) for word in line.split(",")]
    except ValueError:
        return False
    return len(values) == NUM_COLUMNS and all(value >= 0 for value in values)
