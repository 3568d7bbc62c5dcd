r"""Finds the final answer in a response and reads it as an exact number.

A final answer is marked: the rest of the line after ``####``, the inside of ``\boxed{}`` or of
``<answer></answer>``. The last mark in the text counts, even when nothing readable follows it, so
that naming several answers never pays: boxes side by side are one list. Only a response without a
mark is read for "the answer is ..." and "A: ..."; how one without either ends, ``closing.py``
reads. This file refuses to know which task asked.
"""

import re
from decimal import Decimal

from copris_core.tasks.closing import value_in

MARK = "####"
BOX = "\\boxed{"
MAX_ANSWER_CHARS = 200  # a longer "answer" is not a number, and reading it costs time
MAX_HEADINGS = 20  # looked at from the end
MAX_BOXES_CHARS = 2000  # boxes side by side lie within so many

_BOXES = ("\\boxed", "\\fbox")
_TAG = "<answer>"
# "#### Step 2: check" is markdown, not an answer.
_HEADING = re.compile(
    r"""[\s*\#]*(?: [0-9]{1,2}[.)]\s+[a-zA-Z*] | .*:[\s*]*$
      | (?i:step|part|case|solution|conclusion|answer|final|verification|explanation)\b )""",
    re.VERBOSE,
)
# In words, the last of these counts; no part of it can match in two ways, so it takes linear time.
_SPOKEN = re.compile(
    r"""(?i:\b(?:ans(?:wer)?|option|choice)\b (?:[ ]\([^()\n]{1,40}\))?
            (?:[ ]{1,2}(?:is|would[ ]be|becomes)\b | [ *]{0,4}[:=\uff1a]) )
        [ :*\uff1a]{0,8}
      | \u7b54\u6848 [ *]{0,4}[\u662f\u4e3a:\uff1a] [ :*\uff1a]{0,8}
      | (?m:^)[ *]{0,8}A[ *]{0,4}:[ *]{0,8}""",
    re.VERBOSE,
)
# It outdoes a box before it, which then held a step; "the final answer is correct" does not.
_FINAL = re.compile(r"(?i:final answer is)[ :*]{0,8}(?=\$|\\\(|-?[0-9])")
_FIRST_LINE = re.compile(r"\s{0,8}([^\n]{0,400})")
_IN_DOLLARS = re.compile(
    r"""\$\$?( (?: [^$a-zA-Z\\] | \\(?:[a-zA-Z]+|[^a-zA-Z]) | (?<![a-zA-Z])[a-zA-Z]{1,2}(?![a-zA-Z])
        )+ )\$""",
    re.VERBOSE,
)
# Words, and not an answer that stands alone.
_SENTENCE = re.compile(r"[a-zA-Z]+\s+[a-zA-Z]{2,}\s+\S|[A-Z][a-z]+\s+\$[^$]*\$\s+[a-z]+\s+\S")
_OPTION = re.compile(r"(?i:option|choice|therefore|thus|simply|approximately|about)[\s:,]+")
# Between boxes that answer together: $\boxed{-2}$ and $\boxed{1}$.
_JOINT = re.compile(
    r"""(?: [\s$,;*] | \\(?:q?quad\b|[,;:! ()\[\]]) | \\text\{\s{0,9}(?:and|or)?\s{0,9}\}
      | \b(?:and|or)\b | [a-zA-Z]\s{0,3}= )*""",
    re.VERBOSE,
)
# A model that was only pretrained writes on after its answer: the next turn, or the next question.
_NEXT_TURN = re.compile(r"<\|(?:im_start|im_end|endoftext|eot_id|end_of_text)\|>|</s>")
_NEXT_QUESTION = re.compile(
    r"\n[ #*]{0,8}(?:Question|Problem|Q|Human|User|Instruction)[ 0-9]{0,4}[*]{0,2}:"
)
MAX_NEXT = 20  # questions looked at from the start
CLOSE_CHARS = 150  # an answer in so many before the next question ends the response

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

    In this order: the last of ``\boxed{}``, ``####`` and ``<answer>``, where a ``####`` that is a
    markdown heading is none and boxes side by side are a list, unless "the final answer is" with a
    value comes after them; the last of "answer is", "answer:"
    and a line's "A:", up to the end of the sentence. What follows in another turn or as the next
    question is not read.

    Args:
        text: a response.
        most: characters; a longer answer counts as empty.

    Returns:
        None when nothing names an answer; empty when the last mark marks nothing readable.
    """
    text = own_part(text)
    hashes, box, tag = _last_hashes(text), _last_box(text), text.rfind(_TAG)
    if max(hashes, box, tag) < 0 or _FINAL.search(text, max(hashes, box, tag)):
        return spoken_answer(text)
    if tag > max(hashes, box):
        return _in_tag(text[tag + len(_TAG) :], most)
    return _marked_at(text, hashes, box, most) if hashes > box else _boxes_at(text, box, most)


def own_part(text: str) -> str:
    """A response without what a model goes on with after its answer: another turn or question."""
    turn = _NEXT_TURN.search(text, 1)
    text = text[: turn.start()] if turn else text
    thought = text.rfind("</think>")  # within a thought, the question is only asked again
    for count, question in enumerate(_NEXT_QUESTION.finditer(text, max(thought, 0))):
        before = text[max(0, question.start() - CLOSE_CHARS) : question.start()]
        if _has_mark(before):
            return text[: question.start()]
        if count == MAX_NEXT:
            break
    return text


def spoken_answer(text: str) -> str | None:
    """Return what follows the last "answer is", "answer:" or "A:", stripped; None without one."""
    start = max((found.end() for found in _SPOKEN.finditer(text)), default=None)
    if start is None:
        return None
    line = _FIRST_LINE.match(text, start)
    said = _OPTION.sub("", line[1], count=1) if line else ""
    formula = _IN_DOLLARS.match(said)
    if formula and not formula[1].rstrip().endswith(("=", "+", "*", "-")):  # $3 + $4 = $7
        return formula[1].strip()
    sentence = re.split("\\.(?:\\s|$)|\u3002", said)[0].strip(" *`\"'")
    return (value_in(sentence) or sentence) if _SENTENCE.match(sentence) else sentence


def marked_answer(text: str, *, boxed: bool = True, most: int = MAX_ANSWER_CHARS) -> str | None:
    r"""Return what the last ``####`` or box marks, stripped; None without a mark.

    Args:
        text: a response.
        boxed: also accept ``\boxed{}`` as a mark.
        most: characters; a longer answer counts as empty.
    """
    hashes = text.rfind(MARK)
    box = _last_box(text) if boxed else -1
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


def _last_box(text: str) -> int:
    return max(text.rfind(box) for box in _BOXES)


def _has_mark(text: str) -> bool:
    return MARK in text or _last_box(text) >= 0 or _SPOKEN.search(text) is not None


def _marked_at(text: str, hashes: int, box: int, most: int) -> str:
    if box > hashes:
        return _in_box(text, box, most)[0]
    line = text[hashes + len(MARK) :].partition("\n")[0].strip()
    return line if len(line) <= most else ""


def _in_tag(text: str, most: int) -> str:
    inside = text.partition("</answer>")[0].strip()
    inside = spoken_answer(inside) or inside
    return inside if len(inside) <= most else ""


def _boxes_at(text: str, last: int, most: int) -> str:
    """What the last box and those side by side with it hold; the same thing twice counts once."""
    inside = _in_box(text, last, most)[0]
    boxes, start = [inside], last
    while inside:
        before = _last_box(text[max(0, last - MAX_BOXES_CHARS) : start])
        if before < 0:
            break
        before += max(0, last - MAX_BOXES_CHARS)
        other, end = _in_box(text, before, most)
        restated = re.search(r",[\s$]*or\b", text[end:start])  # "15.975, or 639/40" is one answer
        if not other or restated or not _JOINT.fullmatch(text, end, start):
            break
        boxes, start = [other, *boxes], before
    together = ", ".join(dict.fromkeys(boxes))
    return together if len(together) <= most else ""


def _in_box(text: str, box: int, most: int) -> tuple[str, int]:
    r"""What a box holds and where it ends; ``\boxed 5`` holds the rest of its formula."""
    start = box + len(_BOXES[0] if text.startswith(_BOXES[0], box) else _BOXES[1])
    start += len(text[start : start + 9]) - len(text[start : start + 9].lstrip())
    if text[start : start + 1] == "{":
        inside = _inside_braces(text[start + 1 : start + 1 + most])
        return inside.strip(), start + 2 + len(inside)
    inside = re.split(r"[$\n]", text[start : start + most], maxsplit=1)[0]
    return inside.strip(" ."), start + len(inside)


def _inside_braces(text: str) -> str:
    """Text up to the brace that closes the one already open; empty when it never closes."""
    depth = 1
    for position, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[:position]
    return ""
