r"""Decides whether a mathematical answer equals the known one.

In this order, the first that decides: equal canonical LaTeX; for lists, sets, points, intervals,
unions and matrices the same of their parts; exact numbers; words; values at a few points; last
math-verify, in a helper process with a time limit. Units and the base of a number may be left out,
since the question names them.
This file refuses to know where answers come from.
"""

import re
from collections.abc import Sequence
from enum import Enum
from fractions import Fraction

from copris_core.tasks.math_latex import (
    Number,
    canonical,
    exact,
    ungrouped,
    without_letter_unit,
    without_unit,
)
from copris_core.tasks.math_parts import Parts, comparable, parts_of
from copris_core.tasks.math_values import COMMANDS, agree
from copris_core.tasks.math_worker import equal_expressions
from copris_core.tasks.task import Verdict

MAX_ANSWER_CHARS = 400
MAX_PARTS = 40
MAX_DEPTH = 10  # of brackets; sympy's work grows with it
ROUNDING = Fraction(2, 1_000_000)  # relative: 0.333333 is 1/3, 0.3333 is not

_WORD = re.compile(r"\(?[a-zA-Z][a-zA-Z .'-]*\)?")
_ARTICLE = re.compile(r"^\s*(?:an?|the)\s+")
_LONG_WORD = re.compile(r"[a-zA-Z]{4}")
_RELATION = re.compile(r"[<>=]|\\(?:le|ge|ne|in)\b")
# One of several choices: (C) and C; an answer may repeat what stands there: (C) 5, C: 5.
_OPTION = re.compile(r"\(?([A-J])\)?")
_CHOSEN = re.compile(r"\(([A-J])\)|([A-J])(?:[.):]|$)")
_SET_BUILDER = re.compile(r"\\\{[a-z](?:\\mid(?![a-z]) ?|\||:)([^|]*)\\\}")
_ALIASES = {
    "\\mathbb{R}": "(-\\infty,\\infty)",
    "all real numbers": "(-\\infty,\\infty)",
    "\\varnothing": "\\emptyset",
    "\\{\\}": "\\emptyset",
}
_FUNCTION = re.compile(r"(?:y|[a-z]\([a-z]\))=")
_NAME = re.compile(
    r"(?:[a-zA-Z]+(?:_\{\w+\})?(?:\([a-z]\))?|\([a-zA-Z](?:,[a-zA-Z])+\)|\\[a-zA-Z]+)"
    r"(?:=|\\in(?![a-zA-Z]) ?)(?!.*=)"
)
_BASED = re.compile(r"([0-9]+)_\{([0-9]+|[a-z]+)\}")
_BASES = dict(
    enumerate(re.split(" ", "two three four five six seven eight nine ten eleven twelve"), 2)
)
# What is left to be worked out is not an answer, and what blows up is not worth a helper process.
_UNFINISHED = re.compile(r"\\(?:sum|prod|i*int|oint|lim|bigcup|bigcap|det|binom\{\d{4})")
_KNOWN_COMMANDS = COMMANDS.union(
    re.findall(
        r"\\[a-z]+",
        r"\le \ge \ne \in \infty \cup \cap \pm \mp \mathbb \setminus \lfloor \rfloor",
    )
)
_BLOWS_UP = re.compile(
    r"""\^\{[^{}]*[\^!{] | \^\s*\^ | \^(?:.|\{[^{}]*\})\s*\^ | \^\{?[-+]?[0-9]{5}
      | [a-zA-Z)}]\^\{[0-9]{3} | \}\}\^\{ | [0-9]{4}! | [!})]! | [0-9]{80}""",
    re.VERBOSE,
)
_UNSOLVED = re.compile(r"\||\^|\\(?:sin|cos|tan|cot|log|ln)\b")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_BROKEN = re.compile(r"\\frac(?!\{)|\\sqrt(?![\[{])|[\^_](?!\{)|\\$")
_PROSE = re.compile(r"(?<![a-zA-Z\\])(?!arc|sin|cos|tan|log|sqrt|frac)[a-zA-Z]{5,}")


class Match(Enum):
    """How an answer compares with the known one."""

    SAME = "correct"
    VALUE = "correct by value"
    PROVED = "correct by math-verify"
    OTHER = "wrong"
    UNREADABLE = "wrong: not an expression"
    BLOWS_UP = "wrong: too large to work out"
    TOO_SLOW = "took over 2 s"

    @property
    def right(self) -> bool:
        """Whether it earns the reward."""
        return self in (Match.SAME, Match.VALUE, Match.PROVED)


def judge(answer: str | None, gold: str) -> Verdict:
    """Score 1 when a final answer equals the known one, else 0; never raises or hangs.

    Args:
        answer: what the response marks, in LaTeX or plain text; None or empty: nothing.
        gold: the known answer, in LaTeX or plain text.

    Raises:
        ValueError: math-verify is needed and not installed.
    """
    if not answer or not answer.strip():
        return Verdict(score=0.0, reason="no answer in a box")
    if len(answer) > MAX_ANSWER_CHARS:
        return Verdict(score=0.0, reason="answer too long")
    literal = canonical(answer, units=True) == canonical(gold, units=True)
    match = Match.SAME if literal else compare(canonical(answer), canonical(gold))
    return Verdict(score=float(match.right), reason=match.value)


def compare(answer: str, gold: str) -> Match:
    """Compare two answers in canonical form.

    Raises:
        ValueError: math-verify is needed and not installed.
    """
    if answer == gold:
        return Match.SAME
    if not answer or not gold or max(_depth(answer), _depth(gold)) > MAX_DEPTH:
        return Match.OTHER
    answer, gold = _plainer(answer), _plainer(gold)
    if _OPTION.fullmatch(gold):
        return Match.SAME if _chosen(answer) == gold.strip("()") else Match.OTHER
    answer, gold = map(_plainer, _without_names(answer, gold))
    if answer == gold:
        return Match.SAME
    theirs, ours = parts_of(answer), parts_of(gold)
    if theirs is None and ours is None:
        return _compare_single(answer, gold)
    if theirs is None and ours and _RELATION.search(answer):  # 1 < x \le 2 for (1,2]
        return Match.OTHER if _UNSOLVED.search(answer) else _ask(answer, gold)
    if theirs and ours is None and _RELATION.search(gold):
        return _ask(answer, gold)
    return _compare_parts(theirs or Parts.single(answer), ours or Parts.single(gold))


def _plainer(text: str) -> str:
    r"""``x<5`` of ``\{x|x<5\}``, and one name of what has several."""
    built = _SET_BUILDER.fullmatch(text)
    text = built[1] if built else text
    return _ALIASES.get(text, text)


def _chosen(answer: str) -> str | None:
    """Which of several choices an answer names: C of ``(C)``, ``C: 5`` and ``x=C``."""
    found = _CHOSEN.match(answer.rpartition("=")[2]) or _CHOSEN.match(answer)
    return (found[1] or found[2]) if found else None


def _without_names(answer: str, gold: str) -> tuple[str, str]:
    r"""Drop ``x =`` and ``x \in`` where only one has it, or both have the same."""
    theirs, ours = _NAME.match(answer), _NAME.match(gold)
    if theirs and ours:
        same = theirs[0] == ours[0] or bool(
            _FUNCTION.fullmatch(theirs[0]) and _FUNCTION.fullmatch(ours[0])
        )
        return (answer[theirs.end() :], gold[ours.end() :]) if same else (answer, gold)
    if theirs and "=" not in gold:
        return ungrouped(answer[theirs.end() :]), gold
    if ours and "=" not in answer:
        return answer, ungrouped(gold[ours.end() :])
    chained = "=" in answer and not _RELATION.search(gold) and parts_of(answer) is None
    return (ungrouped(answer.rpartition("=")[2]) if chained else answer), gold


def _compare_single(answer: str, gold: str) -> Match:
    known = exact(gold)
    stated = exact(answer) or (_with_unit(answer) if known else None)
    if known and stated:
        return Match.SAME if _equal_numbers(stated, known) else Match.OTHER
    if _WORD.fullmatch(gold) and len(gold.strip("()")) > 1:
        if _bare_word(answer) == _bare_word(gold):
            return Match.SAME
        if _LONG_WORD.search(gold):
            return Match.OTHER  # "even" is no product of its letters
    if _BASED.fullmatch(gold) or _BASED.fullmatch(answer):
        return Match.SAME if _in_same_base(answer, gold) else Match.OTHER
    return _compare_expressions(without_unit(answer), without_unit(gold))


def _with_unit(answer: str) -> Number | None:
    return exact(without_unit(answer)) or exact(without_letter_unit(answer))


def _compare_expressions(answer: str, gold: str) -> Match:
    related = bool(_RELATION.search(answer))
    if related != bool(_RELATION.search(gold)):
        return Match.OTHER
    same = None if related else agree(answer, gold)
    if same is None:
        return _ask(answer, gold)
    return Match.VALUE if same else Match.OTHER


def _equal_numbers(stated: Number, known: Number) -> bool:
    """Whether two numbers agree; 50% is both 50 and 0.5 to one without a percent sign."""
    if stated.percent != known.percent:
        plain, marked = (known, stated) if stated.percent else (stated, known)
        return plain.value in (marked.value, marked.value / 100)
    if stated.value == known.value:
        return True
    # A fraction without an end may be stated as a decimal of six digits.
    rounded = stated.decimal and not known.decimal and not _ends(known.value)
    return rounded and abs(stated.value - known.value) <= ROUNDING * abs(known.value)


def _ends(value: Fraction) -> bool:
    """Whether a fraction has a finite decimal form."""
    below = value.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1


def _bare_word(text: str) -> str:
    return _ARTICLE.sub("", text.strip("()").casefold()).strip(" .")


def _in_same_base(answer: str, gold: str) -> bool:
    """Whether the digits agree, and the bases where both name one; else the question names it."""
    theirs, ours = _BASED.fullmatch(answer), _BASED.fullmatch(gold)
    digits = (theirs[1] if theirs else answer) == (ours[1] if ours else gold)
    return digits and (not theirs or not ours or _base(theirs[2]) == _base(ours[2]))


def _base(written: str) -> str:
    return next((str(base) for base, word in _BASES.items() if word == written), written)


def _compare_parts(theirs: Parts, ours: Parts) -> Match:
    if not comparable(theirs, ours) or not 0 < len(ours.items) <= MAX_PARTS:
        return Match.OTHER
    pair_up = _in_order if ours.ordered else _in_any_order
    return pair_up(theirs.items, ours.items)


def _in_order(theirs: Sequence[str], ours: Sequence[str]) -> Match:
    worst = Match.SAME
    for answer, gold in zip(theirs, ours, strict=True):
        found = compare(answer, gold)
        if not found.right:
            return found
        worst = worst if found is Match.SAME else found
    return worst


def _in_any_order(theirs: Sequence[str], ours: Sequence[str]) -> Match:
    """Give every known item its own equal among the stated; equality is taken for transitive."""
    left, worst = list(theirs), Match.SAME
    for gold in sorted(ours, key=lambda item: item not in left):  # the literal ones cost nothing
        if gold in left:
            left.remove(gold)
            continue
        matches = ((answer, compare(answer, gold)) for answer in left)
        answer, found = next(((a, m) for a, m in matches if m.right), ("", Match.OTHER))
        if not found.right:
            return found
        left.remove(answer)
        worst = worst if found is Match.SAME else found
    return worst


def _ask(answer: str, gold: str) -> Match:
    """Leave it to math-verify, unless a look at the answer is enough."""
    unreadable = not answer.isascii() or _PROSE.search(answer) or _BROKEN.search(answer)
    if unreadable or not _balanced(answer):
        return Match.UNREADABLE
    unknown = set(_COMMAND.findall(answer)) - _KNOWN_COMMANDS - set(_COMMAND.findall(gold))
    if unknown:
        return Match.UNREADABLE
    if any(shape.search(answer) and not shape.search(gold) for shape in (_BLOWS_UP, _UNFINISHED)):
        return Match.BLOWS_UP
    equal = equal_expressions(gold, answer)
    if equal is None:
        return Match.TOO_SLOW
    return Match.PROVED if equal else Match.OTHER


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    return deepest


def _balanced(text: str) -> bool:
    return text.count("{") == text.count("}") and text.count("(") + text.count("[") == text.count(
        ")"
    ) + text.count("]")
