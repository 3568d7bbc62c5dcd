"""The "code" task: write a function, judged by running it against tests in a sandbox.

Training rows come from a generator (``code_problems``, ``code_functions_*``) or a local file;
validation rows from the generator's held-out functions or a local file; test rows are HumanEval's,
which training never reads. A question that is held out is never trained on. This file refuses to
know how code is run (``code_verdict``).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from copris_core.tasks import (
    code_functions_algorithms,
    code_functions_lists,
    code_functions_numbers,
    code_functions_records,
    code_functions_strings,
)
from copris_core.tasks.code_files import HUMANEVAL, CodeRecord, read_code_file, read_humaneval
from copris_core.tasks.code_problems import (
    CodeProblem,
    Family,
    Params,
    draw_problem,
    split_of,
)
from copris_core.tasks.code_runner import counts, encode, statements_of
from copris_core.tasks.code_verdict import Truth, judged
from copris_core.tasks.held_out import refuse_test_set
from copris_core.tasks.task import Message, Row, Split, TaskDataError, Verdict

NAME = "code"
GENERATED = "generated"
NUM_EXAMPLES = 2
ANSWER_FORMAT = "Answer with one ```python block that holds the whole function."
FAMILIES: tuple[Family, ...] = tuple(
    each
    for file in (
        code_functions_numbers,
        code_functions_strings,
        code_functions_lists,
        code_functions_records,
        code_functions_algorithms,
    )
    for each in vars(file).values()
    if isinstance(each, Family)
)


@dataclass(frozen=True, kw_only=True)
class CodeTask:
    """The "code" task with its sources, sizes and limits."""

    path: str = GENERATED
    """What to train on: "generated", or a local .jsonl file (``code_files``)."""
    validation: str = GENERATED
    """What to validate on: "generated" or a local .jsonl file."""
    rows: int = 4096
    """Training rows; of a file, the first so many."""
    val_rows: int = 200
    """Held-out rows, at most so many; 1..2000."""
    seed: int = 0
    """Decides which functions and tests are drawn; never which split owns a function."""
    num_tests: int = 10
    """Tests of a generated row; 4..20."""
    wall_s: float = 5.0
    """Seconds that a response may take, all its tests together (ProRL, arXiv 2505.24864)."""
    memory_mb: int = 512
    """MiB of address space that a response may use."""
    partial_credit: bool = True
    """Score the share of tests passed (ProRL); false: 1 for all of them, else 0."""
    answer_format: str = ANSWER_FORMAT
    """Appended to every question, after an empty line; empty: nothing."""

    def __post_init__(self) -> None:
        """Raise ValueError for a setting out of range, or a test set to validate on."""
        generated = f"set task.validation={GENERATED}"
        refuse_test_set(self.validation, key="task.validation", mend=generated)
        if self.rows < 1:
            raise ValueError(f"task.rows is {self.rows}: set it to 1 or more")
        if not 1 <= self.val_rows <= 2000:
            raise ValueError(f"task.val_rows is {self.val_rows}: set it to 1..2000")
        if not 4 <= self.num_tests <= 20:
            raise ValueError(f"task.num_tests is {self.num_tests}: set it to 4..20")
        if not 0 < self.wall_s <= 60:
            raise ValueError(f"task.wall_s is {self.wall_s}: set it to over 0 and at most 60")
        if self.memory_mb < 128:
            raise ValueError(f"task.memory_mb is {self.memory_mb}: set it to 128 or more")

    @property
    def name(self) -> str:
        """Name in the registry."""
        return NAME

    def train_rows(self) -> list[Row]:
        """Rows to train on.

        Raises:
            TaskDataError: a file is missing or malformed, or nothing is left to train on.
        """
        if self.path == GENERATED:
            rng = random.Random(f"{NAME} train {self.seed}")
            problems = _endless(rng)
            return [self._generated(next(problems), "train", i) for i in range(self.rows)]
        asked = {row.prompt for row in self.validation_rows()}
        rows = [self._given(record, "train", 0) for record in read_code_file(self.path)]
        kept = [row for row in rows if row.prompt not in asked][: self.rows]
        if not kept:
            raise TaskDataError(
                f"{self.path}: all {len(rows)} rows are held out for validation: "
                "give another task.validation"
            )
        return [replace(row, index=i) for i, row in enumerate(kept)]

    def validation_rows(self) -> list[Row]:
        """Rows held out from training.

        Raises:
            TaskDataError: a file is missing or malformed.
        """
        if self.validation == GENERATED:
            problems = _held_out(random.Random(f"{NAME} test {self.seed}"))
            return [self._generated(next(problems), "test", i) for i in range(self.val_rows)]
        records = read_code_file(self.validation)
        return [self._given(each, "test", i) for i, each in enumerate(records[: self.val_rows])]

    def test_rows(self) -> list[Row]:
        """The 164 problems of HumanEval, which neither training nor validation reads.

        Raises:
            ValueError: its package is not installed.
        """
        return [self._given(each, "test", i) for i, each in enumerate(read_humaneval())]

    def score(self, text: str, ground_truth: str) -> Verdict:
        """Score the share of the row's tests that the response's code passes."""
        return judged(text, Truth.read(ground_truth))

    def reference_answer(self, row: Row) -> str | None:
        """The reference of a generated function, which scores 1; None for a row of a file."""
        for family in FAMILIES:
            if family.name == row.facts["family"]:
                points = {shown(params): params for params in family.points()}
                return f"```python\n{family.solution(points[str(row.facts['params'])])}\n```"
        return None

    def _generated(self, drawn: "_Drawn", split: Split, index: int) -> Row:
        problem = draw_problem(
            random.Random(drawn.seed),
            drawn.family,
            drawn.params,
            num_examples=NUM_EXAMPLES,
            num_tests=self.num_tests,
        )
        facts: dict[str, int | str] = {
            "family": drawn.family.name,
            "params": shown(drawn.params),
            "tests": self.num_tests,
        }
        return self._row(problem.question, truth_of(problem), facts, split, index)

    def _given(self, record: CodeRecord, split: Split, index: int) -> Row:
        truth, question = record.truth, record.prompt
        if truth.setup:
            question = f"Complete this Python function.\n\n```python\n{question.strip()}\n```"
        tests = len(truth.tests) or sum(map(counts, statements_of(truth.asserts)))
        family = HUMANEVAL if record.place.startswith("HumanEval/") else "file"
        facts: dict[str, int | str] = {"family": family, "params": record.place, "tests": tests}
        return self._row(question, truth, facts, split, index)

    def _row(
        self, question: str, truth: Truth, facts: dict[str, int | str], split: Split, index: int
    ) -> Row:
        bound = replace(
            truth,
            wall_s=self.wall_s,
            memory_mb=self.memory_mb,
            partial_credit=self.partial_credit,
        )
        content = f"{question}\n\n{self.answer_format}".strip()
        return Row(
            data_source=NAME,
            prompt=(Message(role="user", content=content),),
            ability="code",
            ground_truth=bound.text(),
            split=split,
            index=index,
            facts=facts,
        )


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """A function to ask for."""

    family: Family
    """Its family."""
    params: Params
    """Its parameters."""
    seed: int
    """Decides its tests."""


def shown(params: Params) -> str:
    """Parameters as they stand in a row's facts; no two of a family look alike."""
    return ", ".join(f"{name}={value}" for name, value in params.items())


def truth_of(problem: CodeProblem) -> Truth:
    """The hidden tests of a generated problem, with the limits at their defaults."""
    tests = tuple((encode(list(each.arguments)), encode(each.value)) for each in problem.tests)
    return Truth(entry=problem.family.name, tests=tests)


def _points(split: Split) -> dict[str, list[tuple[Family, Params]]]:
    """The functions of a split, by family; families that have none there are left out."""
    found: dict[str, list[tuple[Family, Params]]] = {}
    for family in FAMILIES:
        for params in family.points():
            if split_of(family.name, params) == split:
                found.setdefault(family.name, []).append((family, params))
    return found


def _endless(rng: random.Random) -> Iterator[_Drawn]:
    """Functions to train on: each family equally often, however many parameters it has."""
    points = list(_points("train").values())
    while True:
        family, params = rng.choice(rng.choice(points))
        yield _Drawn(family=family, params=params, seed=rng.getrandbits(32))


def _held_out(rng: random.Random) -> Iterator[_Drawn]:
    """Functions to validate on: every one once, in a mixed order, then again with other tests."""
    points = [point for some in _points("test").values() for point in some]
    while True:
        for family, params in rng.sample(points, len(points)):
            yield _Drawn(family=family, params=params, seed=rng.getrandbits(32))
