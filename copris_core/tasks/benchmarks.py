"""What ``copris eval`` measures a model on: test sets by name, local files, and every task.

Training never reads these rows: it chooses by rows held out from its own data. This file refuses to
know models and how a response is sampled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from copris_core.own_code import nearest
from copris_core.tasks.file_rows import read_rows
from copris_core.tasks.gsm8k import Gsm8kTask
from copris_core.tasks.math_records import read_math_records
from copris_core.tasks.math_task import MathTask
from copris_core.tasks.records import read_records
from copris_core.tasks.registry import TASKS, get_task, task_for
from copris_core.tasks.task import Message, Row, Split, TaskDataError

Style = Literal["gsm8k", "math"]


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """A published test set of mathematical problems."""

    __test__ = False  # not a class of tests, whatever pytest makes of its name

    style: Style
    """The task whose prompt it is asked with and whose verifier judges it."""
    hub_id: str
    """Where its rows are fetched from."""
    splits: tuple[Split, ...] = ("test",)
    """The first of these that the hub has; aime_2024 calls its only one "train"."""
    max_tokens: int
    """Longest response unless the user says otherwise."""


# The published sets as most reproductions load them; rows in brackets. Response limits: the long
# ones are those of DeepSeek-R1's evaluation (arXiv 2501.12948, section 3: 32,768 tokens).
TEST_SETS: Final = {
    # 1,319; Cobbe et al. 2021, arXiv 2110.14168.
    "gsm8k": TestSet(style="gsm8k", hub_id="openai/gsm8k", max_tokens=2048),
    # 500 of MATH with subject and level; Lightman et al. 2023, arXiv 2305.20050.
    "math500": TestSet(style="math", hub_id="HuggingFaceH4/MATH-500", max_tokens=8192),
    # 30 each; American Invitational Mathematics Examination.
    "aime24": TestSet(
        style="math", hub_id="HuggingFaceH4/aime_2024", splits=("train",), max_tokens=32768
    ),
    "aime25": TestSet(style="math", hub_id="math-ai/aime25", max_tokens=32768),
    # 40; American Mathematics Competitions 2023.
    "amc23": TestSet(style="math", hub_id="math-ai/amc23", max_tokens=32768),
    # 272; Lewkowycz et al. 2022, arXiv 2206.14858.
    "minerva": TestSet(style="math", hub_id="math-ai/minervamath", max_tokens=8192),
    # 674, text only, English; He et al. 2024, arXiv 2402.14008.
    "olympiadbench": TestSet(style="math", hub_id="math-ai/olympiadbench", max_tokens=32768),
}

FILE_ONLY: Final = ("math", "file", "custom")
"""Tasks that have no rows to be evaluated on until the user names some."""

MIX: Final = "mix"
"""What it mixes is known from the run alone that was trained on it."""

NO_BENCHMARK: Final = ("forced",)
"""Tasks whose verifier judges nothing."""

WORDS: Final = ("system_text", "answer_format")
"""Settings of a task that say how its questions are asked."""

DEFAULT_MAX_TOKENS: Final = 1024
LEVEL_FACTS: Final = ("level", "num_constraints")
SUBJECT_FACTS: Final = ("subject", "dataset", "family")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One thing to measure."""

    name: str
    """``math500``, ``days``; a file's rows go by the name they were given with."""
    place: str | None
    """The file, or the class of a custom task; None: the published rows, or the task's own."""

    @property
    def max_tokens(self) -> int:
        """Longest response unless the user says otherwise."""
        known = TEST_SETS.get(self.name)
        return known.max_tokens if known else DEFAULT_MAX_TOKENS

    @property
    def source(self) -> str:
        """Where the rows come from, for the record."""
        if self.place is not None:
            return self.place
        return TEST_SETS[self.name].hub_id if self.name in TEST_SETS else f"task {self.name}"

    def rows(self, trained_on: Mapping[str, Any] | None = None) -> list[Row]:
        """Its rows, the same every time.

        Args:
            trained_on: the task section of the model's own run; what it says of prompts of the
                same style holds here too.

        Raises:
            TaskDataError: a file is missing or malformed, or the hub can't be reached.
            ValueError: what the task needs is not installed.
        """
        if self.name not in TEST_SETS and self.name != "math":
            return self._rows_of_task(trained_on or {})
        known = TEST_SETS.get(self.name)
        place = self.place or (known.hub_id if known else "")
        style: Style = known.style if known else "math"
        told = trained_on or {}
        words = {key: told[key] for key in WORDS if told.get("name") == style and key in told}
        read = _gsm8k_rows if style == "gsm8k" else _math_rows
        try:
            return read(place, known.splits if known else ("test",), words)
        except TaskDataError as error:
            if self.place is not None:
                raise TaskDataError(_without_key(error)) from error
            raise TaskDataError(
                f"{_without_key(error)}; or give its rows as a file: --task {self.name}=FILE"
            ) from error

    def _rows_of_task(self, trained_on: Mapping[str, Any]) -> list[Row]:
        if self.name == "file":
            return _file_rows(self.place or "")
        settings = {"cls": self.place} if self.name == "custom" else {}
        if self.name == MIX:
            if trained_on.get("name") != MIX:
                raise ValueError(
                    "only a run that was trained on one has it; name its parts instead"
                )
            settings = {key: value for key, value in trained_on.items() if key != "name"}
        task = get_task(self.name, **settings)
        test_rows = getattr(task, "test_rows", task.validation_rows)
        rows: list[Row] = test_rows()
        return rows


def benchmarks(words: str) -> list[Benchmark]:
    """Read ``gsm8k,math500=FILE,days``: names, some with the file that holds their rows.

    Raises:
        ValueError: an unknown name, one that is named twice, or a file where none is read.
    """
    found = [_benchmark(word.strip()) for word in words.split(",") if word.strip()]
    names = [each.name for each in found]
    if not found:
        raise ValueError(f"--task names nothing: use {', '.join(sorted(TEST_SETS))} or a task")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--task names {name} twice: evaluate each file into its own --out")
    return found


def subject_and_level(row: Row) -> tuple[str, str]:
    """What a row is about and how hard it is, as far as it says; else empty."""
    subject = next((str(row.facts[key]) for key in SUBJECT_FACTS if row.facts.get(key)), "")
    level = next((row.facts[key] for key in LEVEL_FACTS if row.facts.get(key)), "")
    return subject, "" if level == -1 else str(level)


def _benchmark(word: str) -> Benchmark:
    name, equals, place = word.partition("=")
    known = sorted((TEST_SETS.keys() | TASKS.keys()) - set(NO_BENCHMARK))
    if name not in known:
        raise ValueError(f"--task {name} is unknown: {nearest(name, known)}")
    reads_file = name in TEST_SETS or name in FILE_ONLY
    if equals and not (place and reads_file):
        mend = "name the file after =" if reads_file else f"leave {equals}{place} out"
        raise ValueError(f"--task {word}: {mend}; rows of your own: file=FILE or math=FILE")
    if name in FILE_ONLY and not place:
        what = "my_tasks.py:Class" if name == "custom" else "FILE"
        raise ValueError(f"--task {name} needs its rows: --task {name}={what}")
    return Benchmark(name=name, place=place or None)


def _file_rows(place: str) -> list[Row]:
    """Rows in verl's schema, each judged by the task that it names.

    Raises:
        TaskDataError: malformed, or no task of ours judges a row; a file can't load code.
    """
    read = read_rows(Path(place).expanduser(), split="test")
    for each in read:
        if ":" in each.row.data_source:
            raise TaskDataError(
                f"{each.place}: data_source {each.row.data_source!r} is code that nobody asked "
                f"for: evaluate it by --task custom={each.row.data_source}"
            )
        try:
            task_for(each.row.data_source)
        except ValueError as error:
            raise TaskDataError(f"{each.place}: {error}") from error
    return [each.row for each in read]


def _gsm8k_rows(place: str, splits: Sequence[Split], words: Mapping[str, Any]) -> list[Row]:
    task = Gsm8kTask(**words)
    return [
        _row(task, record.question, record.truth, index=index, subject="", level=0)
        for index, record in enumerate(read_records(place, split=splits[0]))
    ]


def _math_rows(place: str, splits: Sequence[Split], words: Mapping[str, Any]) -> list[Row]:
    task = MathTask(**words)
    records, _ = read_math_records(place, splits=tuple(splits))
    return [
        _row(
            task,
            record.question,
            record.truth,
            index=index,
            subject=record.subject,
            level=record.level,
            messages=record.messages,
        )
        for index, record in enumerate(records)
    ]


def _row(
    task: Gsm8kTask | MathTask,
    question: str,
    truth: str,
    *,
    index: int,
    subject: str,
    level: int,
    messages: tuple[Message, ...] = (),
) -> Row:
    """Asked as training asks: with the task's own words about the answer's form."""
    system = (Message(role="system", content=task.system_text),) if task.system_text else ()
    asked = Message(role="user", content=f"{question} {task.answer_format}".strip())
    return Row(
        data_source=task.name,
        prompt=messages or (*system, asked),
        ability="math",
        ground_truth=truth,
        split="test",
        index=index,
        facts={"subject": subject, "level": level},
    )


def _without_key(error: TaskDataError) -> str:
    """What is wrong, without the key of a training run that would mend it there."""
    return str(error).removesuffix("; or set task.path to a local file")
