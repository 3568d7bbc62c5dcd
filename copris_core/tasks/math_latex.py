r"""Writes a LaTeX answer in one canonical form, and reads the numbers among them exactly.

``\dfrac12``, ``\frac{1}{2}`` and ``\frac 1 2`` become one string; so do ``\$32,\!348`` and
``32348``. What is dropped never changes a value here: spacing, sizes of brackets, text wrappers,
units in ``\text{}``, money and degree signs. This file refuses to know what is compared with what.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_NUMBER_CHARS = 60  # a longer number is left as text
MAX_POWER_OF_TEN = 300

_UNICODE = str.maketrans(
    {
        "\u2212": "-",
        "\u2013": "-",
        "\u00d7": "\\times ",
        "\u00b7": "\\cdot ",
        "\u00f7": "/",
        "\u03c0": "\\pi ",
        "\u221e": "\\infty ",
        "\u221a": "\\sqrt ",
        "\u2264": "\\le ",
        "\u2265": "\\ge ",
        "\u222a": "\\cup ",
        "\u2208": "\\in ",
        "\u2248": "\\approx ",
        "\u2220": "\\angle ",
        "\u00b1": "\\pm ",
        "\u00b2": "^{2}",
        "\u00b3": "^{3}",
        "\u00b0": "",
        "\u20ac": "",
        "\u00a3": "",
        "\u00a0": " ",
        "\u202f": " ",
        "\u2009": " ",
    }
)
_TEXT = r"\\(?:text|textbf|textit|textrm|textnormal|mbox|mathrm|mathbf|mathit)\s*"

# In this order; each works on what the ones before it left.
_REWRITES = [
    (re.compile(pattern), put)
    for pattern, put in (
        (r"\\\\\s*\[[^\]]*\]", r"\\\\"),  # the space below a matrix row
        (r"\\?\$|\\(?:pounds|euro)\b|\*\*|(?<!\\)\\[()\[\]]", ""),
        (r"(?<!\\)\\!\s*", ""),
        (r"\{,\}\s*", ","),
        (r"(?<!\\)(?<=[0-9])\\[, ](?=[0-9]{3})", ","),  # 10\,080
        (r"(?<!\\)\\[,;:> ]|~|\\(?:q?quad|displaystyle|textstyle|limits|nolimits)\b", " "),
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\s*\.?", ""),
        (r"\\langle\b", "("),
        (r"\\rangle\b", ")"),
        (r"[(\[]\s*\\begin\{array\}\{[^{}]*\}", r"\\begin{pmatrix}"),
        (r"\\end\{array\}\s*[)\]]", r"\\end{pmatrix}"),
        (r"\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\(?:circ|degree)\b)|\\(?:degree|textdegree)\b", ""),
        (r"\\%|\\?\s*\b(?:percent|percentage)\b|" + _TEXT + r"\{\s*(?:\\?%|percent)\s*\}", "%"),
        (r"\\(?:leq|leqslant)\b", r"\\le "),
        (r"\\(?:geq|geqslant)\b", r"\\ge "),
        (r"^(\s*[a-zA-Z])\s*\\approx\b", r"\1="),
        (r"^\s*\\approx\b|(?<=\S)\s*\\approx\b.*$", ""),  # 3/7 \approx 0.43
        (r"\\lt\b", "<"),
        (r"\\gt\b", ">"),
        (r"\\(?:ne|neq)\b", r"\\ne "),
        (r"\\infin\b", r"\\infty "),
        (r"\\(?:times|ast)\b", r"\\cdot "),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\lbrace\b", r"\\{"),
        (r"\\rbrace\b", r"\\}"),
        (r"\\(?:[bB]oxed|fbox)\b", ""),
    )
]
# A unit stands behind a value: 5.4 \text{ cents}, 15\mbox{ cm}^2. One letter is a unit only if it
# is a usual one; "and", "or" and the like join two values and stay.
_UNIT = re.compile(
    r"(?<=[0-9a-zA-Z})%.])\s*"
    + _TEXT
    + r"""\{(?!\s*(?:and|or|if|for|where|when|is|in(?!\s*\.?\s*\})|to|mod|with)\b|\s*[a-zA-Z]\s*\})
          [a-zA-Z\s./^0-9-]*\}(?:\s*\^\s*\{?[-0-9]+\}?)?
        |(?<=[0-9})])\s*"""
    + _TEXT
    + r"\{\s*[mgshLJNVWKFC]\s*\}(?:\s*\^\s*\{?[-0-9]+\}?)?",
    re.VERBOSE,
)
_LEAD_WORDS = re.compile(r"^\s*" + _TEXT + r"\{[a-zA-Z\s:=,']*\}\s*(?=-?\.?[0-9]|-?\\[fs])")
_UNWRAP = re.compile(_TEXT + r"\{([^{}]*)\}")
_BARE = [
    (re.compile(pattern), put)
    for pattern, put in (
        (r"\\frac\s*([0-9a-zA-Z])", r"\\frac{\1}"),
        (r"\\frac\s*(\\(?!sqrt)[a-zA-Z]+)\s*(?=[{0-9])", r"\\frac{\1}"),
        (r"(\\frac\s*\{(?:[^{}]|\{[^{}]*\})*\})\s*([0-9a-zA-Z])", r"\1{\2}"),
        (r"\\sqrt\s*([0-9a-zA-Z])", r"\\sqrt{\1}"),
        (r"([\^_])\s*([0-9a-zA-Z])", r"\1{\2}"),
        (r"([\^_])\s*(-[0-9]|\\[a-zA-Z]+)", r"\1{\2}"),
        (r"\\d?frac\s*\{", r"\\frac{"),
        (r"(?<![0-9])\.([0-9])", r"0.\1"),
        (r"\+\s*\\infty\b", r"\\infty "),
        (r"\s+", " "),
        (r"(?<![0-9a-zA-Z]) | (?![0-9a-zA-Z])", ""),
    )
]
_THOUSANDS = re.compile(
    r"(?<![0-9,.])(?<![0-9,] )[0-9]{1,3}(?:(?:,[0-9]{3})+|(?: [0-9]{3})+)(?![0-9,])"
)
_BRACKETS = re.compile(r"[(\[]|\\\{|\\begin")
_WORDS = re.compile(r"(?<=[0-9})%])( ?)([a-zA-Z]{2,}(?:[ ./]+[a-zA-Z]+)*)[ .]*(?:\^\{[-0-9]+\})?$")
_NOT_UNITS = frozenset(
    re.split(
        " ", "or and to is pi if mod sin cos tan cot sec csc log ln exp sqrt frac in not maybe"
    )
)
_NAMED = re.compile(r"^[a-zA-Z](?:_\{\w+\})?(?:\([a-z]\))?(?:=|\\in(?![a-zA-Z]) ?)")
_UNIT_WORDS = re.compile(
    r"(?i)(?:second|minute|hour|day|week|month|year|inch|inche|foot|feet|yard|mile|meter|metre|gram|"
    r"liter|litre|pound|ounce|cent|dollar|degree|unit|time|way)s?"
)
_LETTER_UNIT = re.compile(r"(?<=[0-9])[mgshLJNWV](?:\^\{[-0-9]+\})?$")
_DECIMAL = r"[0-9]+(?:\.[0-9]*)?"
_NUMBER = re.compile(
    rf"""(?P<sign>[-+]?)
        (?: (?P<whole>[0-9]+)?[ ]?\\frac\{{(?P<top>-?{_DECIMAL})\}}\{{(?P<below>-?{_DECIMAL})\}}
          | (?:(?P<whole2>[0-9]+)[ ])?(?P<top2>{_DECIMAL})/(?P<below2>{_DECIMAL})
          | (?P<plain>{_DECIMAL})
            (?: (?:\\cdot[ ]?10\^\{{|[eE])(?P<power>[-+]?[0-9]{{1,3}})\}}? )?
        )
        [ ]?(?P<percent>%?)""",
    re.VERBOSE,
)
_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)\\overline\{([0-9]+)\}")  # 0.1\overline{6}


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number that an answer states exactly."""

    value: Fraction
    """Its value; 50 for ``50%``."""
    percent: bool
    """A percent sign follows."""
    decimal: bool
    """It is written with a decimal point, so it may be rounded."""


def canonical(latex: str, *, units: bool = False) -> str:
    r"""Write an answer in its canonical form; empty when nothing is left of it.

    Args:
        latex: an answer in LaTeX or plain text.
        units: keep the text behind a value, as in ``10:30\text{ a.m.}``.

    Worked example: ``$\left( 3,\ \dfrac\pi2 \right)$`` becomes ``(3,\frac{\pi}{2})``.
    """
    text = latex.translate(_UNICODE)
    for pattern, put in _REWRITES:
        text = pattern.sub(put, text)
    text = text if units else _LEAD_WORDS.sub("", _UNIT.sub("", text))
    text = _UNWRAP.sub(r" \1 ", _UNWRAP.sub(r" \1 ", text))
    if not _BRACKETS.search(text):  # (1,200) is a point
        text = _THOUSANDS.sub(lambda found: re.sub("[, ]", "", found[0]), text)
    for pattern, put in _BARE:
        text = pattern.sub(put, text)
    text = text.strip(" ,;:")
    return ungrouped(text if text.endswith("...") else text.rstrip(". *\\"))  # 1, 2, 3, ...


def without_unit(text: str) -> str:
    """Drop words behind a value in canonical form: ``18 eggs``, ``5cm^{2}``, but not ``3abcd``."""
    found = _WORDS.search(text)
    if found is None:
        return text
    joins = not _NOT_UNITS.isdisjoint(re.split(r"[ ./]+", found[2].lower()))
    if joins and found[2] != "in":  # 10 in is a length
        return text
    glued_to_value = not found[1] and len(found[2]) > 3 and not _UNIT_WORDS.fullmatch(found[2])
    return text if glued_to_value else text[: found.start()].strip()


def without_letter_unit(text: str) -> str:
    """Drop one letter behind digits that is a usual unit, ``5m`` or ``5m^{2}``; else as is."""
    return _LETTER_UNIT.sub("", text)


def exact(text: str) -> Number | None:
    r"""Read a canonical number: 72, -1.5, 5/2, \frac{5}{2}, 1\frac{4}{5}, 2 1/2, 3\cdot10^{4}, 5%.

    None for anything else, a zero below a fraction line included.
    """
    found = _NUMBER.fullmatch(text) if len(text) <= MAX_NUMBER_CHARS else None
    if found is None:
        return _repeating(text)
    below = Fraction(found["below"] or found["below2"] or 1)
    if not below:
        return None
    value = Fraction(found["top"] or found["top2"] or found["plain"]) / below
    value += Fraction(found["whole"] or found["whole2"] or 0)
    power = int(found["power"] or 0)
    if abs(power) > MAX_POWER_OF_TEN:
        return None
    value *= Fraction(10) ** power * (-1 if found["sign"] == "-" else 1)
    return Number(value=value, percent=bool(found["percent"]), decimal="." in text)


def vote_form(answer: str) -> str | None:
    r"""One text for answers that are equal at a glance, to count votes by; None for nothing.

    Numbers become their value in lowest terms: ``1,200`` and ``1200.00`` are "1200", ``\frac12``,
    ``\dfrac{1}{2}``, ``x=0.5`` and ``.5 \text{ cm}`` are "1/2". Anything else is canonical LaTeX
    without its unit.
    """
    text = _NAMED.sub("", canonical(answer))
    number = exact(text) or exact(without_unit(text))
    if number is None:
        word = without_unit(text)
        return (word.casefold() if word.replace(" ", "").isalpha() else word) or None
    return f"{number.value}%" if number.percent else str(number.value)


def _repeating(text: str) -> Number | None:
    found = _REPEATING.fullmatch(text) if len(text) <= MAX_NUMBER_CHARS else None
    if found is None:
        return None
    once = Fraction(int(found[1] + found[2] or 0), 10 ** len(found[2]))
    again = Fraction(int(found[3]), 10 ** len(found[2]) * (10 ** len(found[3]) - 1))
    return Number(value=once + again, percent=False, decimal=False)


def ungrouped(text: str) -> str:
    """Without LaTeX braces around the whole."""
    while text.startswith("{") and _closes_at(text) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _closes_at(text: str) -> int:
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return position
    return -1
