r"""Reads a marked answer such as ``3.0\times10^{8}\,\mathrm{m/s}`` and compares it with the truth.

The rules. The last ``\boxed{}``, ``####`` or ``Answer:`` counts. It holds one number (plain,
with thousands commas, or scientific; no fractions, no comma as the decimal point) and its unit;
what stands outside the mark is not read.
Any unit of the right dimension is right. A missing unit scores 0, unless the quantity has no
dimension: then a bare number is in the unit asked for. This file refuses to know any problem.
"""

import json
import math
import re
from dataclasses import asdict, dataclass

from copris_core.tasks.answers import MAX_ANSWER_CHARS, marked_answer
from copris_core.tasks.stem_units import NONE, unit_of, unit_readings
from copris_core.tasks.task import Verdict

ANSWER_WORDS = ("Answer:", "answer:", "ANSWER:")


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a right answer is."""

    value: float
    """The answer, in ``unit``."""
    unit: str
    """The unit asked for; "" is a pure number."""
    rtol: float
    """Relative error allowed."""
    atol: float
    """Absolute error allowed, in ``unit``; the greater of the two counts."""

    def dump(self) -> str:
        """As JSON, the same text for the same truth."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def load(text: str) -> "Truth":
        """Inverse of ``dump``."""
        return Truth(**json.loads(text))

    def allows(self, number: float) -> bool:
        """Whether a number in ``unit`` is near enough."""
        return abs(number - self.value) <= max(self.rtol * abs(self.value), self.atol)


def judge(text: str, truth: Truth) -> Verdict:
    """Score 1 for a number within the tolerance, with a unit of the right dimension; else 0."""
    answer = final_answer(text)
    if answer is None:
        return _wrong("no marked answer")
    read = read_number(plain(answer))
    if isinstance(read, str):
        return _wrong(read)
    number, unit_text = read
    asked = unit_of(truth.unit)
    if not unit_text:
        return _compare(number, truth) if asked.dims == NONE else _wrong("unit missing")
    readings = unit_readings(unit_text)
    if not readings:
        return _wrong(f"unit not understood: {unit_text[:40]}")
    fitting = [unit for unit in readings if unit.dims == asked.dims]
    if not fitting:
        return _wrong(f"wrong dimension: {unit_text[:40]}")
    return _compare(asked.from_si(fitting[0].to_si(number)), truth)


def final_answer(text: str) -> str | None:
    """What the last mark marks, as the response wrote it; None without a mark."""
    word, place = max(
        ((word, text.rfind(word)) for word in ANSWER_WORDS), key=lambda found: found[1]
    )
    after = text[place + len(word) :] if place >= 0 else text
    marked = marked_answer(after)
    if marked is not None or place < 0:
        return marked
    line = after.lstrip(" *\t\n").partition("\n")[0].strip(" *\t")
    return line if len(line) <= MAX_ANSWER_CHARS else ""


def _wrong(reason: str) -> Verdict:
    return Verdict(score=0.0, reason=reason)


def _compare(number: float, truth: Truth) -> Verdict:
    if not math.isfinite(number):
        return _wrong("number too large")
    if truth.allows(number):
        return Verdict(score=1.0, reason="correct")
    if truth.allows(-number):
        return _wrong("wrong sign")
    ratio = number / truth.value if truth.value else 0.0
    if 0 < ratio < math.inf and truth.allows(number / 10.0 ** round(math.log10(ratio))):
        return _wrong("wrong power of ten")
    return _wrong("wrong number")


_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2012\u2013\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00d7\u00b7\u22c5\u2219\u2022", "*"),
        **dict.fromkeys("\u00a0\u2009\u202f\u2002\u2003", " "),
        **dict.fromkeys("\u00b5\u03bc", "\u00b5"),
        **dict.fromkeys("\u2126\u03a9", "\u03a9"),
        **dict.fromkeys("\u00ba\u02da", "\u00b0"),
        "\u2103": "\u00b0C",
        "\u2248": "~",
        "\u2243": "~",
    }
)
# LaTeX, in order; every pattern is linear in a text of 200 characters.
_REWRITES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        ("[⁰¹²³⁴-⁹⁺⁻]+", lambda found: f"^({found[0].translate(_SUPERSCRIPTS)})"),
        (r"\{,\}", ","),
        (r"(?<=[0-9])\\[,!](?=[0-9]{3}(?![0-9]))", ""),
        (r"\\(?:times|cdot|ast)(?![a-zA-Z])", "*"),
        (r"\\(?:approx|simeq|sim)(?![a-zA-Z])", "~"),
        (r"\\(?:circ|degree|textdegree)(?![a-zA-Z])", "\u00b0"),
        (r"\\mu(?![a-zA-Z])", "\u00b5"),
        (r"\\Omega(?![a-zA-Z])", "\u03a9"),
        (r"\\(?:left|right|displaystyle|bf|rm)(?![a-zA-Z])|\$|\\!", ""),
        (r"\\[,;: ]|\\q?quad(?![a-zA-Z])|~(?=[A-Za-z\\])", " "),
        (r"\\%", "%"),
        (r"\^\s*\{([^{}]*)\}", r"^(\1)"),
        (r"\\(?:text|text[a-z]{2}|math[a-z]{2}|operatorname|unit|mbox)\s*\{([^{}]*)\}", r" \1 "),
        (r"\\(?:text|text[a-z]{2}|math[a-z]{2}|operatorname|unit|mbox)(?![a-zA-Z])", " "),
        (r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"(\1)/(\2)"),
        (r"[{}]", " "),
        (r"\*\*", "^"),
        (r"\s*\^\s*", "^"),
        (r"\^\s*\(?\s*\u00b0\s*\)?", "\u00b0"),
        (r"\u00b0\s*C(?![a-zA-Z])|[Dd]eg(?:rees?)?\.?\s+(?:C(?![a-zA-Z])|[Cc]elsius)", " degC "),
        (r"\u00b0", " deg "),
        (r"\u00b5\s*", "u"),
        (r"(?<![a-zA-Z])([kmM]?)\s*\u03a9", r" \1ohm "),
    )
)
_NUMBER = re.compile(
    r"""\s*(?P<sign>[-+]?)\s*
        (?: 10\s*\^\s*\(?\s*(?P<bare>[-+]?[0-9]{1,4})\s*\)?
          | (?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+\.?[0-9]*|\.[0-9]+)
            (?: [eE](?P<short>[-+]?[0-9]{1,4})
              | \s*[*xX]\s*10\s*\^\s*\(?\s*(?P<long>[-+]?[0-9]{1,4})\s*\)? )? )
        (?P<rest>.*)""",
    re.VERBOSE | re.DOTALL,
)
_SECOND_NUMBER = re.compile(r"(?<![a-zA-Z^(+\-0-9])[-+]?[0-9](?!\s*\)?\s*/\s*[A-Za-z(])")


def plain(answer: str) -> str:
    r"""An answer without LaTeX and with ASCII marks: ``2~\mathrm{m\,s^{-2}}`` -> ``2 m s^(-2)``."""
    text = answer.translate(_CHARACTERS)
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    return " ".join(text.split())


def read_number(text: str) -> tuple[float, str] | str:
    """Number and unit text of a plain answer, or in words why there is none.

    A name may stand before it (``v_f = 3 m/s``, ``v ~ 3 m/s``). A number too large for a float
    reads as infinite.
    """
    name, equals, value = text.replace("~", "=").rpartition("=")
    if equals and re.search(r"=|(?<![a-zA-Z_(])[0-9]", name):
        return "more than one number"
    found = _NUMBER.fullmatch(value)
    if found is None:
        return "no number"
    rest = found["rest"].strip().rstrip(".").strip()
    if re.match(r"[,./^][ ]?[0-9]|/(?![ ]?[A-Za-z])", rest):
        return "number not understood"
    if _SECOND_NUMBER.search(rest):
        return "more than one number"
    digits = (found["digits"] or "1").replace(",", "")
    exponent = found["bare"] or found["short"] or found["long"] or "0"
    return float(f"{found['sign']}{digits}e{int(exponent)}"), rest.removeprefix("*").strip()
