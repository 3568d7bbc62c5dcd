"""The "instruction" task: follow 1 to 3 verifiable constraints, as IFEval measures it.

A row is a request and its constraints in words. The score is the share of constraints that the
response follows (ProRL's continuous reward for instruction following), judged on what stands after
``</think>``. Rows are generated; validation rows may come from a file or dataset of IFEval's schema
instead; test rows are IFEval's own, which training never reads. What a constraint is, is in
``instruction_constraints.py``.
This file refuses to know models and verl.
"""

import json
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from copris_core.tasks.held_out import refuse_test_set
from copris_core.tasks.instruction_constraints import PARAMETERS, conflict, describe, follows
from copris_core.tasks.instruction_records import (
    Instruction,
    ground_truth_of,
    read_instructions,
    read_truth,
)
from copris_core.tasks.instruction_reference import compose
from copris_core.tasks.instruction_requests import draw_parameters, draw_request
from copris_core.tasks.task import Message, Row, Split, Verdict

NAME = "instruction"
IFEVAL = "google/IFEval"
HELD_OUT_ONE_IN = 5
THINK, END_OF_THINKING = "<think>", "</think>"
MAX_DRAWS_PER_ROW = 20_000  # before the settings are said to allow too few rows


def split_of(request: str, constraints: Sequence[str], parameters: Sequence[Any]) -> Split:
    """Split that owns a request with its constraints, in any order: one in five is held out."""
    asked = sorted(zip(constraints, map(_canonical, parameters), strict=True))
    digest = zlib.crc32(_canonical([request, asked]).encode())
    return "test" if digest % HELD_OUT_ONE_IN == 0 else "train"


def answer_of(text: str) -> str:
    """What stands after the last ``</think>``; nothing when a leading thought never ends."""
    if END_OF_THINKING in text:
        return text.rpartition(END_OF_THINKING)[2]
    return "" if text.lstrip().startswith(THINK) else text


@dataclass(frozen=True, kw_only=True)
class InstructionTask:
    """Instruction following with a seed, sizes and a choice of constraints."""

    rows: int = 8192
    """Training rows; rows may repeat."""
    val_rows: int = 200
    """Held-out rows, no prompt twice; at most so many of ``val_path``."""
    seed: int = 0
    """Decides which rows are drawn; never which split owns one."""
    constraints: Sequence[str] = ()
    """Ids to draw from; empty: all."""
    max_constraints: int = 3
    """Constraints of a row: 1 to so many; those that contradict each other never meet."""
    val_path: str | None = None
    """Local .jsonl or .parquet file of IFEval's schema, or a hub id; None: generated rows."""

    def __post_init__(self) -> None:
        """Raise ValueError for a size out of range, an unknown constraint or a test set."""
        refuse_test_set(
            self.val_path, key="task.val_path", mend="set task.val_path=null, for generated rows"
        )
        for name in ("rows", "val_rows", "max_constraints"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}: set it to 1 or more")
        unknown = [each for each in self.constraints if each not in PARAMETERS]
        if unknown:
            known = ", ".join(PARAMETERS)
            raise ValueError(f"task.constraints has {unknown[0]!r}: choose among {known}")

    @property
    def name(self) -> str:
        """Name in the registry."""
        return NAME

    def train_rows(self) -> list[Row]:
        """Rows of the training split; none has the prompt of a row of ``val_path``.

        Raises:
            ValueError: the settings allow too few rows, or lm-eval is not installed.
            TaskDataError: ``val_path`` is missing or malformed.
        """
        held_out = {each.prompt for each in self._from_file()} if self.val_path else set()
        drawn = self._drawn("train", unwanted=held_out)
        return [_row(next(drawn), "train", index) for index in range(self.rows)]

    def validation_rows(self) -> list[Row]:
        """Rows held out from training.

        Raises:
            ValueError: the settings allow too few rows, or lm-eval is not installed.
            TaskDataError: ``val_path`` is missing or malformed.
        """
        if self.val_path:
            held_out = self._from_file()
        else:
            drawn = self._drawn("test", unwanted=set(), distinct=True)
            held_out = [next(drawn) for _ in range(self.val_rows)]
        return [_row(each, "test", index) for index, each in enumerate(held_out)]

    def test_rows(self) -> list[Row]:
        """The 541 prompts of IFEval, which neither training nor validation reads.

        Raises:
            TaskDataError: the hub can't be reached.
        """
        return [_row(each, "test", i) for i, each in enumerate(read_instructions(IFEVAL))]

    def score(self, text: str, ground_truth: str) -> Verdict:
        """Score the share of constraints followed; an empty response follows none.

        Nor does one that is the prompt again and nothing else, although it has every keyword.
        """
        instruction = read_truth(ground_truth)
        answer = answer_of(text)
        if not answer.strip():
            return Verdict(score=0.0, reason="empty response")
        if _folded(answer) == _folded(instruction.prompt):
            return Verdict(score=0.0, reason="only repeats the prompt")
        asked = zip(instruction.constraints, instruction.parameters, strict=True)
        failed = [each for each, parameters in asked if not follows(each, answer, parameters)]
        share = 1 - len(failed) / len(instruction.constraints)
        reason = f"not followed: {', '.join(failed)}" if failed else "all followed"
        return Verdict(score=share, reason=reason)

    def reference_answer(self, row: Row) -> str | None:
        """A response that follows all of a generated row; None for a row from a file."""
        if row.facts["line"]:
            return None
        instruction = read_truth(row.ground_truth)
        return compose(dict(zip(instruction.constraints, instruction.parameters, strict=True)))

    def _from_file(self) -> list[Instruction]:
        return read_instructions(str(self.val_path))[: self.val_rows]

    def _drawn(
        self, split: Split, *, unwanted: set[str], distinct: bool = False
    ) -> Iterator[Instruction]:
        rng = random.Random(f"{NAME} {split} {self.seed}")
        seen = set(unwanted)
        while True:
            for _ in range(MAX_DRAWS_PER_ROW):
                instruction = self._draw(rng, split)
                if instruction is not None and instruction.prompt not in seen:
                    break
            else:
                raise ValueError(
                    f"task.constraints and task.max_constraints allow hardly more than "
                    f"{len(seen)} {split} rows: allow more constraints, or lower task.val_rows"
                )
            if distinct:
                seen.add(instruction.prompt)
            yield instruction

    def _draw(self, rng: random.Random, split: Split) -> Instruction | None:
        """One instruction, or None when the other split owns it."""
        constraints = self._draw_constraints(rng)
        question = "detectable_format:constrained_response" in constraints
        request = draw_request(rng, question=question)
        parameters = [draw_parameters(each, rng, request=request) for each in constraints]
        if split_of(request, constraints, parameters) != split:
            return None
        asked = [describe(*each) for each in zip(constraints, parameters, strict=True)]
        prompt = "\n".join([request, "", *asked])
        return Instruction(
            prompt=prompt, constraints=tuple(constraints), parameters=tuple(parameters)
        )

    def _draw_constraints(self, rng: random.Random) -> list[str]:
        known = list(self.constraints or PARAMETERS)
        wanted, chosen = rng.randint(1, self.max_constraints), list[str]()
        for each in rng.sample(known, len(known)):
            if len(chosen) == wanted:
                break
            if not any(conflict(each, other) for other in chosen):
                chosen.append(each)
        return chosen


def _row(instruction: Instruction, split: Split, index: int) -> Row:
    return Row(
        data_source=NAME,
        prompt=(Message(role="user", content=instruction.prompt),),
        ability="instruction",
        ground_truth=ground_truth_of(instruction),
        split=split,
        index=index,
        facts={
            "constraints": " ".join(instruction.constraints),
            "num_constraints": len(instruction.constraints),
            "line": instruction.line,
        },
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
