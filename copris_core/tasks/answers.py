r"""Finds the final answer in a response and reads it as an exact number.

A final answer is marked: the rest of the line after ``####``, or the inside of ``\boxed{}``. The
last mark in the text counts, even when nothing readable follows it, so that naming several
answers never pays. Only a response without a mark is read for "the answer is ..." and "A: ...".
This file refuses to know which task asked.
"""

import re
from decimal import Decimal

MARK = "####"
BOX = "\\boxed{"
MAX_ANSWER_CHARS = 200  # a longer "answer" is not a number, and reading it costs time
MAX_HEADINGS = 20  # looked at from the end

# "#### Step 2: check" is markdown, not an answer.
_HEADING = re.compile(
    r"""[\s*\#]*(?: [0-9]{1,2}[.)]\s+[a-zA-Z*] | .*:[\s*]*$
      | (?i:step|part|case|solution|conclusion|answer|final|verification|explanation)\b )""",
    re.VERBOSE,
)
# In words, the last of these counts; no part of it can match in two ways, so it takes linear time.
_SPOKEN = re.compile(
    r"""(?i:\banswer (?:[ ]{1,2}is\b | [ *]{0,4}[:=]) )[ :*]{0,8}
      | (?m:^)[ *]{0,8}A[ *]{0,4}:[ *]{0,8}""",
    re.VERBOSE,
)
_FIRST_LINE = re.compile(r"\s{0,8}([^\n]{0,400})")
_IN_DOLLARS = re.compile(
    r"""\$\$?( (?: [^$a-zA-Z\\] | \\(?:[a-zA-Z]+|[^a-zA-Z]) | (?<![a-zA-Z])[a-zA-Z]{1,2}(?![a-zA-Z])
        )+ )\$""",
    re.VERBOSE,
)

# Digits are ASCII: str.isdigit and \d would let other scripts' digits through.
_NUMBER = re.compile(
    r"""[\s$€£*(]*                                # what may stand before: money, markdown
        (?P<sign>[-+\u2212]?)[\s$€£]*
        (?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]*)
        (?P<fraction>\.[0-9]+)?
        (?!\s*[/^+=<>:])                          # the start of a sum is not its result
        (?P<rest>.*)""",
    re.VERBOSE | re.DOTALL,
)


def final_answer(text: str, *, most: int = MAX_ANSWER_CHARS) -> str | None:
    r"""Return a response's final answer, stripped: its last mark, or else its last words for one.

    In this order: the last of ``\boxed{}`` and ``####``, where a ``####`` that is a markdown
    heading is none; the last of "answer is", "answer:" and a line's "A:", up to the end of the
    sentence.

    Args:
        text: a response.
        most: characters; a longer answer counts as empty.

    Returns:
        None when nothing names an answer; empty when the last mark marks nothing readable.
    """
    hashes, box = _last_hashes(text), text.rfind(BOX)
    return spoken_answer(text) if hashes < 0 and box < 0 else _marked_at(text, hashes, box, most)


def spoken_answer(text: str) -> str | None:
    """Return what follows the last "answer is", "answer:" or "A:", stripped; None without one."""
    start = max((found.end() for found in _SPOKEN.finditer(text)), default=None)
    if start is None:
        return None
    line = _FIRST_LINE.match(text, start)
    said = line[1] if line else ""
    formula = _IN_DOLLARS.match(said)
    return formula[1].strip() if formula else re.split(r"\.(?:\s|$)", said)[0].strip(" *`\"'")


def marked_answer(text: str, *, boxed: bool = True, most: int = MAX_ANSWER_CHARS) -> str | None:
    r"""Return what the last mark marks, stripped; None without a mark.

    Args:
        text: a response.
        boxed: also accept ``\boxed{}`` as a mark.
        most: characters; a longer answer counts as empty.
    """
    hashes = text.rfind(MARK)
    box = text.rfind(BOX) if boxed else -1
    return None if hashes < 0 and box < 0 else _marked_at(text, hashes, box, most)


def exact_number(answer: str) -> Decimal | None:
    """Read an answer such as ``$1,200.50 dollars.`` as a number.

    Commas, a money sign, a trailing unit, percent sign or period are allowed. Anything with a
    second number in it (``5 or 6``, ``5/2``, ``1e3``) is not an exact number: None.
    """
    found = _NUMBER.fullmatch(answer)
    if found is None:
        return None
    digits = found["whole"].replace(",", "") + (found["fraction"] or "")
    if not digits or any(character.isnumeric() for character in found["rest"]):
        return None
    sign = "-" if found["sign"] in ("-", "\u2212") else ""
    return Decimal(sign + digits)


def _last_hashes(text: str) -> int:
    """Position of the last ``####`` that is no heading; -1 without one."""
    end = len(text)
    for _ in range(MAX_HEADINGS):
        hashes = text.rfind(MARK, 0, end)
        start = hashes + len(MARK)
        line = text[start : start + MAX_ANSWER_CHARS].partition("\n")[0]
        if hashes < 0 or not _HEADING.match(line):
            return hashes
        end = hashes
    return -1


def _marked_at(text: str, hashes: int, box: int, most: int) -> str:
    if box > hashes:
        return _inside_braces(text[box + len(BOX) :][:most])
    line = text[hashes + len(MARK) :].partition("\n")[0].strip()
    return line if len(line) <= most else ""


def _inside_braces(text: str) -> str:
    """Text up to the brace that closes the one already open; empty when it never closes."""
    depth = 1
    for position, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[:position].strip()
    return ""
