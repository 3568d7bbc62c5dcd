"""The door to reasoning-gym: which of its datasets are used, how puzzles are drawn and judged.

Its verifiers were written for friendly answers. What an unfriendly one could do to them (run code,
hang, or be taken for right) is listed in REFUSED or held off in ``judge``. This file refuses to
know prompts and responses.
"""

import functools
import importlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from copris_core.own_code import nearest
from copris_core.tasks.task import Split, TaskDataError

HELD_OUT_ONE_IN = 5
BATCH = 500
SEEDS_PER_SPLIT = 2**30
DRAWS_PER_ROW = 100  # a dataset that gives less than one usable question in so many has run dry
LONGEST = 1000  # characters that an answer may have on top of four times the right one's

DEFAULT_TASKS: Final = (
    *("ab", "acre", "aiw", "binary_alternation", "caesar_cipher", "circuit_logic"),
    *("color_cube_rotation", "course_schedule", "cryptarithm", "family_relationships", "jugs"),
    *("kakurasu", "knights_knaves", "largest_island", "letter_counting", "manipulate_matrix"),
    *("maze", "mini_sudoku", "number_filtering", "palindrome_generation", "path_star"),
    *("rotate_matrix", "self_reference", "shortest_path", "string_manipulation", "survo"),
    *("syllogism", "word_sequence_reversal"),
)
"""Quick to draw and to judge, the same in every process, more than 200 different questions."""

_RUNS = "its verifier runs the response as Python"
_UNSTABLE = "it draws other rows in every process"
_OPEN = "its rows come without an answer"
_TUPLES = "its verifier compares tuples, which JSON does not keep"
_SLOW = "a row can take seconds to draw"

REFUSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("binary_matrix", "n_queens", "spiral_matrix", "string_insertion"), _RUNS),
    **dict.fromkeys(("countdown", "puzzle24", "polynomial_multiplication"), _RUNS),
    **dict.fromkeys(("intermediate_integration", "simple_integration"), _RUNS),
    **dict.fromkeys(("isomorphic_strings", "list_functions", "ransom_note"), _UNSTABLE),
    **dict.fromkeys(("codeio", "word_ladder"), _UNSTABLE),
    **dict.fromkeys(("boxnet", "graph_color", "propositional_logic"), _OPEN),
    **dict.fromkeys(("rubiks_cube", "rush_hour"), _OPEN),
    **dict.fromkeys(("arc_agi", "rearc"), _TUPLES),
    **dict.fromkeys(("knight_swap", "number_sequence"), _SLOW),
    "coin_flip": "its verifier hangs on an answer such as 1e1000000000",
    "complex_arithmetic": "its verifier takes NaN for right",
    "composite": "it only mixes others: name those instead",
    "game_of_life_halting": "its verifier takes any text for right",
    "time_intervals": "its rows depend on the day they are drawn",
    "word_sorting": "its verifier takes more words than asked for right",
}
"""Datasets of reasoning-gym that are not used, each with the reason."""

_NOT_FINITE = re.compile(r"(?<![a-z])(?:nan|inf|infinity)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Puzzle:
    """One question of one dataset."""

    dataset: str
    """Name in reasoning-gym."""
    question: str
    """The question in words."""
    answer: str
    """An answer that scores 1."""
    truth: str
    """JSON: dataset, its settings, and the part of the entry that its verifier needs."""


def check_name(dataset: str) -> None:
    """Raise ValueError, with the mend, for a dataset that does not exist or is not used."""
    if dataset in DEFAULT_TASKS:  # known without importing reasoning-gym
        return
    if dataset in REFUSED:
        raise ValueError(f"task.tasks names {dataset!r}, which is left out: {REFUSED[dataset]}")
    known = _factory().DATASETS.keys() - REFUSED.keys()
    if dataset not in known:
        raise ValueError(f"task.tasks names {dataset!r}: {nearest(dataset, known)}")


def split_of(question: str) -> Split:
    """Split that owns a question: one in five is held out, whatever the seed or white space."""
    digest = zlib.crc32(" ".join(question.split()).encode())
    return "test" if digest % HELD_OUT_ONE_IN == 0 else "train"


def take_puzzles(
    dataset: str, settings: Mapping[str, Any], *, split: Split, seed: int, count: int
) -> list[Puzzle]:
    """Draw puzzles of one split; held-out questions do not repeat, questions to train on may.

    Raises:
        TaskDataError: the dataset has too few questions, does not accept its settings, or does not
            accept its own answers.
    """
    taken: list[Puzzle] = []
    asked: set[str] = set()
    entries = _entries(dataset, settings, split=split, seed=seed)
    for _ in range(DRAWS_PER_ROW * count):
        if len(taken) == count:
            break
        entry = next(entries)
        question = str(entry["question"])
        if split_of(question) == split and not (split == "test" and question in asked):
            asked.add(question)
            taken.append(_puzzle(dataset, settings, entry))
    if len(taken) < count:
        raise TaskDataError(
            f"task.tasks: {dataset} has only {len(taken)} of {count} {split} questions: "
            "ask for fewer rows, or give it less weight or harder settings"
        )
    return taken


def judge(answer: str, truth: str) -> float:
    """Score an answer in [0, 1] by the verifier of its dataset; whatever it trips over scores 0.

    Several verifiers pay a part for an answer that holds the right one among other things, or
    that has the right form.
    """
    known = json.loads(truth)
    right = known["answer"]
    if len(answer) > LONGEST + 4 * len(right):
        return 0.0
    # NaN is not above any tolerance and equals itself in a list, so it can pass for right.
    if _NOT_FINITE.search(answer) and not _NOT_FINITE.search(right):
        return 0.0
    verifier = _verifier(known["dataset"], json.dumps(known["settings"], sort_keys=True))
    entry = {"question": "", "answer": right, "metadata": known["metadata"]}
    try:
        score = float(verifier.score_answer(answer, entry))
    except Exception:  # any kind: verifiers parse the response with little care
        return 0.0
    return score if 0.0 <= score <= 1.0 else 0.0


def _entries(
    dataset: str, settings: Mapping[str, Any], *, split: Split, seed: int
) -> Iterator[Mapping[str, Any]]:
    """Endless entries. Entry i of a dataset has the seed s + i, so splits have seeds apart."""
    begin = SEEDS_PER_SPLIT if split == "test" else 0
    batch = 0
    while True:
        digest = zlib.crc32(f"{dataset} {seed} {batch}".encode())
        source = _open(dataset, settings, begin + digest % (SEEDS_PER_SPLIT - BATCH))
        for index in range(BATCH):
            yield source[index]
        batch += 1


def _puzzle(dataset: str, settings: Mapping[str, Any], entry: Mapping[str, Any]) -> Puzzle:
    try:
        truth = _truth(dataset, settings, entry)
        accepted = judge(str(entry["answer"]).strip(), truth) == 1.0
    except TypeError:  # not JSON
        accepted = False
    if not accepted:
        raise TaskDataError(
            f"task.tasks: {dataset} does not accept its own answer {str(entry['answer'])[:40]!r} "
            "once it has been stored: leave it out"
        )
    return Puzzle(
        dataset=dataset,
        question=str(entry["question"]),
        answer=str(entry["answer"]).strip(),
        truth=truth,
    )


def _truth(dataset: str, settings: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    kind, inherited = _factory().DATASETS[dataset][0], _factory().ProceduralDataset.score_answer
    # The verifier that is inherited only looks at the answer.
    metadata = {} if kind.score_answer is inherited else entry["metadata"]
    known = {"dataset": dataset, "settings": settings, "metadata": metadata}
    return json.dumps({**known, "answer": entry["answer"]}, sort_keys=True)


@functools.lru_cache(maxsize=256)
def _verifier(dataset: str, settings: str) -> Any:
    return _open(dataset, json.loads(settings), 0)


def _open(dataset: str, settings: Mapping[str, Any], seed: int) -> Any:
    try:
        return _factory().create_dataset(dataset, **settings, seed=seed, size=BATCH)
    except (TypeError, ValueError, AssertionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise TaskDataError(f"task.settings.{dataset}: {reason}; mend it") from error


def _factory() -> Any:
    try:
        importlib.import_module("reasoning_gym")  # registers every dataset
        return importlib.import_module("reasoning_gym.factory")
    except ModuleNotFoundError as error:
        raise ValueError("reasoning-gym is missing: pip install 'copris[cpu]'") from error
