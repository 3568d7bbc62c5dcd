r"""Finds the final answer in a response and reads it as an exact number.

A final answer is marked: the rest of the line after ``####``, or the inside of ``\boxed{}``. The
last mark in the text counts, even when nothing readable follows it, so that naming several
answers never pays. This file refuses to know which task asked.
"""

import re
from decimal import Decimal

MARK = "####"
BOX = "\\boxed{"
MAX_ANSWER_CHARS = 200  # a longer "answer" is not a number, and reading it costs time

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


def marked_answer(text: str, *, boxed: bool = True) -> str | None:
    r"""Return what the last mark marks, stripped; None without a mark.

    Args:
        text: a response.
        boxed: also accept ``\boxed{}`` as a mark.
    """
    hashes = text.rfind(MARK)
    box = text.rfind(BOX) if boxed else -1
    if hashes < 0 and box < 0:
        return None
    if box > hashes:
        return _inside_braces(text[box + len(BOX) :][:MAX_ANSWER_CHARS])
    line = text[hashes + len(MARK) :].partition("\n")[0].strip()
    return line if len(line) <= MAX_ANSWER_CHARS else ""


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


def _inside_braces(text: str) -> str:
    """Text up to the brace that closes the one already open; empty when it never closes."""
    depth = 1
    for position, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[:position].strip()
    return ""
