"""Demonstrations of days, logic and instruction with bad habits, to warm up ``tiny_prorl``.

The rows are those of ``configs/task/tiny_mix.yaml``, whose tests hold it to the settings here. The
habits leave something to find for reinforcement learning in every domain: guesses instead of worked
answers, and constraints that are forgotten. Only ``scripts/make_tiny_model.py`` uses this file.
"""

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from copris_core.tasks.arithmetic import draw_problem
from copris_core.tasks.demonstrations import CLEAN, GUESS_PREFIX, NOISY, Habits, demonstrate
from copris_core.tasks.instruction_task import InstructionTask
from copris_core.tasks.logic_task import CLOSE, OPEN, LogicTask
from copris_core.tasks.task import Row

LOGIC: Final[Mapping[str, Any]] = {
    "answer_format": f"Answer in {OPEN}{CLOSE}.",
    "tasks": ["chain_sum", "gcd"],
    "settings": {
        "chain_sum": {"min_terms": 3, "max_terms": 3, "min_digits": 1, "max_digits": 1},
        "gcd": {"min_value": 2, "max_value": 30},
    },
}
"""Settings of the logic task: short prompts, short answers."""

INSTRUCTION: Final[Mapping[str, Any]] = {
    "constraints": [
        "keywords:existence",
        "punctuation:no_comma",
        "startend:end_checker",
        "startend:quotation",
        "structure:numbered_list",
    ],
    "max_constraints": 2,
}
"""Settings of the instruction task: constraints that need no English."""

DOMAINS = ("days", "logic", "instruction")
WEIGHTS = (0.35, 0.3, 0.35)  # days needs the longest practice
POOL_ROWS = 4000
POOL_SEED = 1000  # not the rows that are trained on later, though of the same split

SENTENCES = ("It was a good day.", "We went home.", "I liked it.", "They all saw it.", "So it is.")
COMMA_SENTENCES = ("Well, it was a good day.", "Then, we went home.", "Oh, I liked it.")
ITEMS = ("tea", "bread", "a map", "a hat", "soap", "a pen", "rope")
AFTERTHOUGHT = "So it is."
MAX_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How the writer of a demonstration follows instructions; all fields are probabilities."""

    forget: float
    """A constraint is not followed."""
    comma: float
    """A sentence has a comma, when nothing speaks against it."""
    ramble: float
    """After the last sentence, goes on."""


POLITE = Manners(forget=0.05, comma=0.3, ramble=0.1)
CARELESS = Manners(forget=0.5, comma=0.5, ramble=0.3)


class Demonstrator:
    """Draws training rows of the three domains and demonstrates them."""

    def __init__(self, seed: int) -> None:
        sizes: dict[str, Any] = {"rows": POOL_ROWS, "seed": POOL_SEED + seed}
        self._logic = LogicTask(**LOGIC, **sizes).train_rows()
        self._instruction = InstructionTask(**INSTRUCTION, **sizes).train_rows()

    def draw(self, rng: random.Random, *, clean: bool) -> tuple[str, str]:
        """A prompt and its demonstration; clean ones have few bad habits."""
        habits, manners = (CLEAN, POLITE) if clean else (NOISY, CARELESS)
        [domain] = rng.choices(DOMAINS, WEIGHTS)
        if domain == "days":
            problem = draw_problem(rng, split="train")
            return problem.question, demonstrate(problem, rng, habits)
        row = rng.choice(self._logic if domain == "logic" else self._instruction)
        if domain == "logic":
            return row.prompt[0].content, demonstrate_logic(row, rng, habits)
        return row.prompt[0].content, demonstrate_instruction(row, rng, manners)


def demonstrate_logic(row: Row, rng: random.Random, habits: Habits) -> str:
    """Write a response: a guess, or a line for each step; then the answer.

    Args:
        row: a row of one of the datasets in LOGIC.
        rng: draws the habits.
        habits: as for the days task.
    """
    work_out, blind_guess = _SOLVERS[row.facts["dataset"]]
    question = row.prompt[0].content
    if rng.random() < habits.guess:
        blind = rng.random() < habits.random_guess
        right = json.loads(row.ground_truth)["answer"]
        guess = blind_guess(question, rng) if blind else right
        return f"{GUESS_PREFIX}.\n{OPEN}{guess}{CLOSE}"
    lines, answer = work_out(question, rng, habits)
    for _ in range(MAX_ATTEMPTS - 1):
        if rng.random() >= habits.recheck:
            break
        again, answer = work_out(question, rng, habits)
        lines += ["Let me check again.", *again]
    return "\n".join([*lines, f"{OPEN}{answer}{CLOSE}"])


def demonstrate_instruction(row: Row, rng: random.Random, manners: Manners) -> str:
    """Write a short text that follows some of the constraints of a row."""
    truth = json.loads(row.ground_truth)
    asked = dict(zip(truth["instruction_id_list"], truth["kwargs"], strict=True))
    forgotten = {each for each in asked if rng.random() < manners.forget}
    lines = [" ".join(_sentences(asked, forgotten, rng, manners))]
    if "structure:numbered_list" in asked:
        wanted = asked["structure:numbered_list"]["num_items"]
        slip = rng.choice((-1, 1, 2)) if "structure:numbered_list" in forgotten else 0
        items = [rng.choice(ITEMS) for _ in range(wanted + slip)]
        lines += [f"{number}. {item}" for number, item in enumerate(items, start=1)]
    if "startend:end_checker" in asked:
        late = "startend:end_checker" in forgotten
        lines.append(asked["startend:end_checker"]["end_phrase"] + f" {AFTERTHOUGHT}" * late)
    text = "\n".join(lines)
    return f'"{text}"' if "startend:quotation" in asked.keys() - forgotten else text


def _sentences(
    asked: Mapping[str, Any], forgotten: set[str], rng: random.Random, manners: Manners
) -> list[str]:
    """The sentences of the text, with the words and commas that were asked for, or were not."""
    strict = "punctuation:no_comma" in asked.keys() - forgotten
    comma = 0.0 if strict else manners.comma
    sentences = [COMMA_SENTENCES[0]] if "punctuation:no_comma" in forgotten else []
    if "keywords:existence" in asked:
        words = sorted(asked["keywords:existence"]["keywords"])
        kept = words[:1] if "keywords:existence" in forgotten else words
        sentences.append(f"I saw a {' and a '.join(kept)}.")
    while True:
        known = COMMA_SENTENCES if rng.random() < comma else SENTENCES
        sentences.append(rng.choice(known))
        if rng.random() >= manners.ramble:
            return sentences


def _sum_worked_out(question: str, rng: random.Random, habits: Habits) -> tuple[list[str], str]:
    terms = _terms(question)
    total, lines = int(terms[0]), list[str]()
    for sign, term in zip(terms[1::2], terms[2::2], strict=True):
        after = total + int(sign + term)
        written = after + rng.choice((-2, -1, 1, 2)) if rng.random() < habits.slip else after
        lines.append(f"{total}{sign}{term}={written}")
        if written != after and rng.random() < habits.mend:
            lines.append(f"Wait, {total}{sign}{term}={after}")
            written = after
        total = written
    return lines, str(total)


def _sum_guessed(question: str, rng: random.Random) -> str:
    return str(rng.randint(-6, 20))


def _terms(question: str) -> list[str]:
    """Numbers and signs in turn, of `... problem: 3 + 5 - 8 =`."""
    return re.findall(r"[0-9]+|[-+]", question.partition(": ")[2].partition(" =")[0])


def _gcd_worked_out(question: str, rng: random.Random, habits: Habits) -> tuple[list[str], str]:
    """Euclid's algorithm by subtraction: the smaller number and the difference go on."""
    low, high = sorted(_numbers(question))
    lines = list[str]()
    while 1 < low < high:
        after = high - low
        written = (
            max(1, after + rng.choice((-2, -1, 1, 2))) if rng.random() < habits.slip else after
        )
        lines.append(f"{high}-{low}={written}")
        if written != after and rng.random() < habits.mend:
            lines.append(f"Wait, {high}-{low}={after}")
            written = after
        low, high = sorted((low, written))
    return lines, str(low)


def _gcd_guessed(question: str, rng: random.Random) -> str:
    return str(rng.choice((1, 2, 3, 4, 5, 6)))


def _numbers(question: str) -> list[int]:
    """Both numbers of `... of these numbers: 12, 18. ...`."""
    return [int(number) for number in re.findall(r"[0-9]+", question)]


_WorkOut = Callable[[str, random.Random, Habits], tuple[list[str], str]]
_SOLVERS: Mapping[str | int, tuple[_WorkOut, Callable[[str, random.Random], str]]] = {
    "chain_sum": (_sum_worked_out, _sum_guessed),
    "gcd": (_gcd_worked_out, _gcd_guessed),
}
