r"""Reads the value that a sentence states: how a response without a mark ends.

"So she makes $18 every day." states 18, and "the pair is $(7, 6)$." states (7, 6). One value is
read and never a second one, so that naming several does not pay: of "5 or 6" nothing is read.
A response that stops in the middle of a sentence states nothing.
This file refuses to know marks, tasks and which value is right.
"""

import re

MAX_TAIL_CHARS = 1500  # of a response; what it states stands at its end
MAX_SENTENCES = 4  # looked at from the end: "I hope this helps!" states nothing
_EDGES = " ,;:!*`\"'$"
MAX_VALUE_CHARS = 60  # of a value in words; formulas may be longer

_THOUGHT = "</think>"
_DISPLAY = re.compile(
    r"\\\[(.*?)\\\]|\$\$(.*?)\$\$|\\begin\{align\*?\}(.*?)\\end\{align\*?\}", re.DOTALL
)
_INLINE = re.compile(r"\\\((.*?)\\\)|(?<!\\)\$((?:[^$\\]|\\.)*)\$", re.DOTALL)
_SENTENCE_END = re.compile(
    "(?<=[.!?\u3002\uff01\uff1f])(?<!\\\\!)(?:\\s+|(?<=[\u3002\uff01\uff1f]))|\n+"
)
_UNFINISHED = re.compile(
    r"""(?: [-+*/=,(\\{^&<>\u00d7]
      | \b(?:the|an?|of|to|and|or|with|by|at|from|for|in|on|per|is|are|was|be|will|would|can|has
        |have|had|which|that|so|if|as|than|then|we|he|she|they|every|trying) )\s*$""",
    re.VERBOSE,
)

_NUMBER = re.compile(
    r"""(?<![a-zA-Z0-9_.,/^{])
        (?: [-\u2212]?\s?\\?\$?\s?\\[dt]?frac\s*\{?[0-9]+\}?\s*\{?[0-9]+\}?
          | [-\u2212]?\\?\$?[-\u2212]?
            (?: [0-9]+[ ])?[0-9]+/[0-9]+(?![/0-9])
          | (?:[-\u2212](?=\\?\$?[0-9.]))?\\?[$\u20ac\u00a3]?
            (?: [0-9]{1,3}(?:(?:,|\{,\}|\\,)[0-9]{3})+(?![0-9]) | [0-9]+ )?(?:\.[0-9]+)?(?<=[0-9])
        )(?:\s?\\?%)?
        (?!(?:st|nd|rd|th)\b|[-\u2010][a-zA-Z]|[0-9])""",
    re.VERBOSE,
)
# The number behind these says over what the value holds: "540 meters in 3 days".
_BESIDE = re.compile(
    r"""\b(?: (?:in|for|over|after|within|during|every|across|among|between|on|out[ ]of)
          (?:[ ](?:all|an?|first|next|last|other|whole|entire|each|about|only|just))*
        | (?:the|all|those|these|his|her|their)(?:[ ](?:first|next|last|other|whole|entire))?
        | (?:second|minute|hour|day|week|month|year|dollar|cent)s?[ ]to[ ][a-z]{2,12}
          (?:[ ](?:an[ ]additional|an[ ]extra|another|all|all[ ]the|about|through|up))?
      )[ ]$""",
    re.VERBOSE,
)
_HENCE = re.compile(r"\s?[a-z]{0,8}\s(?:from now|ago|later)\b")
_MONEY = re.compile(r"^\s*[=+*/)]|[-=+*/(]\s*$")  # what stands between two prices is no formula
_WRAPPED_WORDS = re.compile(r"\\[a-z]+\s?\{[^{}]*\}")
_SIDE_BY_SIDE = re.compile(r"[\s,;]*(?:\b(?:and|or)\b)?[\s,;]*")
_CONCLUDES = re.compile(r"[\s*]*(?:Thus|Therefore|Hence|So|Consequently)\b")
_REASON = re.compile(r"\s(?:because|since|as there|as this|which is less|which is more)\s")
_RESULT = re.compile(
    r"(?:(?<![<>])=|\u2248|\brounds (?:up |down )?to|\brounded (?:up |down )?to)\s{0,4}(?:>>)?$"
)
# "5 or 6" and "5 apples or 6" guess; "8 + 9 or 17" and "80% of $400, or $320" say it again.
_GUESSES = re.compile(
    r"(?<![-+*/x\u00d7][ ])(?<![-+*/.0-9$,])\$?[0-9][0-9.,]{0,12}(?:[ ][a-z]{1,12})?(?<!,)"
    r"[ ](?:or|and/or|or maybe|or even)[ ]$"
)
_GIVES = re.compile(
    r"(?<![<>\\])=|\\approx|\u2248|\b(?:is|are|was|be|becomes?|equals?|gives?|yields?)\b:?"
)
_PROSE = re.compile(r"[a-zA-Z]{3,}\s+[a-zA-Z]{2,}")
_LONE_NAME = re.compile(
    r"\s*(?:[a-zA-Z](?:_\{?\w+\}?)?|[A-Z]{2,4}|\([a-z](?:,\s?[a-z])*\)|[a-z]\([a-z]\))\s*"
)


def last_sentence(text: str, *, words: bool = False) -> str | None:
    """The sentence at the end of a response that states something; None without one.

    That is the last one with a number or a formula in it. A response that was cut, one that still
    thinks and one that ends with a question state nothing.

    Args:
        text: a response.
        words: one that concludes in words counts too: "Thus, it is an ellipse."
    """
    if _THOUGHT in text:
        text = text.rpartition(_THOUGHT)[2]
    elif text.lstrip().startswith("<think>"):
        return None
    tail = _DISPLAY.sub(_on_one_line, text[-MAX_TAIL_CHARS:]).replace("**", "").rstrip()
    if not tail or _UNFINISHED.search(tail[-40:]):
        return None
    sentences = [each for each in _SENTENCE_END.split(tail) if each and each.strip(" *#-_`")]
    for sentence in reversed(sentences[-MAX_SENTENCES:]):
        if sentence.rstrip(" *").endswith("?"):
            return None
        concludes = words and _CONCLUDES.match(sentence)
        if concludes or _NUMBER.search(sentence) or _INLINE.search(sentence):
            return sentence.strip()
    return None


def number_in(sentence: str) -> str | None:
    """The number that a sentence states: its last result, or else the last that says how much.

    Worked examples: "he runs 3 * 60 = 180 meters with 2 dogs" and "he runs 180 meters in 3 days"
    state 180; "5 or 6" states nothing.
    """
    said = _REASON.split(sentence, maxsplit=1)[0]
    said = said if _NUMBER.search(said) else sentence
    found = list(_NUMBER.finditer(said))
    results = [
        each for each in found if _RESULT.search(said, max(0, each.start() - 20), each.start())
    ]
    if results:
        return results[-1][0].strip()
    own = [each for each in found if not _is_beside(said, each)] or found
    if not own:
        return None
    last = own[-1]
    if len(own) > 1 and _GUESSES.search(said, 0, last.start()):
        return None
    return last[0].strip()


def only_number(words: str) -> str | None:
    """The number in an answer in words, "She makes $18 every day"; None where there are more."""
    found = _NUMBER.findall(words)
    return found[0].strip() if len(found) == 1 and _PROSE.search(words) else None


def value_in(sentence: str) -> str | None:
    r"""The value that a sentence states, in LaTeX or words; None when it states none.

    Its last formula, with those side by side, unless that is a mere name such as ``$n$``; else the
    short words behind "is" or "="; else its number.
    """
    formulas = [found for found in _INLINE.finditer(sentence) if _is_formula(_inside(found))]
    telling = [each for each in formulas if not _LONE_NAME.fullmatch(_inside(each))]
    plain = _without(sentence, formulas)
    number = number_in(plain)
    if telling and (number is None or plain.rfind(number) < telling[-1].start()):
        return _together(sentence, telling)
    words = _behind_is(plain if number else sentence)
    if words and not _PROSE.search(words):
        return words
    return number or words or (_inside(formulas[-1]).strip() if formulas else None)


def _together(sentence: str, formulas: list[re.Match[str]]) -> str:
    """The last formula, and those before it that only "and", "or" or a comma part from it."""
    parts = [formulas.pop()]
    while formulas and _answer_together(sentence, formulas[-1], parts[0]):
        parts.insert(0, formulas.pop())
    return ", ".join(_trimmed(_inside(each)) for each in parts)


def _trimmed(value: str) -> str:
    """Without the punctuation of its sentence; an ellipsis is part of a value."""
    value = value.strip().lstrip(",;: ")
    return value if value.endswith("...") else value.rstrip(" .,;:")


def _answer_together(sentence: str, one: re.Match[str], other: re.Match[str]) -> bool:
    """Whether two formulas are parts of one answer; ", or" says the same in another way."""
    names = {_inside(each).rpartition("=")[0].strip() for each in (one, other)}
    between = (_inside(one)[-1:] + sentence[one.end() : other.start()]).replace(" ", "")
    return (
        len(names) == 1
        and ",or" not in between
        and _SIDE_BY_SIDE.fullmatch(sentence, one.end(), other.start()) is not None
    )


def _is_formula(inside: str) -> bool:
    prose = _PROSE.search(_WRAPPED_WORDS.sub("", inside))
    return not prose and not _MONEY.search(inside)


def _without(sentence: str, formulas: list[re.Match[str]]) -> str:
    for each in formulas:
        sentence = sentence[: each.start()] + " " * len(each[0]) + sentence[each.end() :]
    return sentence


def _behind_is(sentence: str) -> str | None:
    found = list(_GIVES.finditer(sentence))
    words = sentence[found[-1].end() :].lstrip(_EDGES).rstrip(_EDGES + ".") if found else ""
    return words if 0 < len(words) <= MAX_VALUE_CHARS else None


def _is_beside(sentence: str, number: re.Match[str]) -> bool:
    if "$" in number[0]:
        return bool(_HENCE.match(sentence, number.end()))
    before = sentence[max(0, number.start() - 40) : number.start()]
    return bool(_BESIDE.search(before.lower()) or _HENCE.match(sentence, number.end()))


def _inside(formula: re.Match[str]) -> str:
    return next(group for group in formula.groups() if group is not None)


def _on_one_line(display: re.Match[str]) -> str:
    """A displayed formula within its sentence; of aligned rows, the last."""
    inside = _inside(display)
    if display[3] is not None:
        rows = [row for row in inside.split("\\\\") if row.strip()]
        inside = rows[-1].replace("&", "") if rows else ""
    return f"${' '.join(inside.split())}$"
