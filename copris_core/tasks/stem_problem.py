"""Draws one STEM problem of a law: numbers, units, wording, and the truth.

A number is rounded in the unit it is written in, and the answer is computed from what is written,
so question and truth agree to the last digit. This file refuses to know any law and any split.
"""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from copris_core.tasks.stem_answer import Truth
from copris_core.tasks.stem_law import CONSTANTS, Law, Part
from copris_core.tasks.stem_units import unit_of

DRAWN_DIGITS = 3  # significant digits of a drawn number
FOUND_DIGITS = 4  # of a result that is given so that something else is asked
WIDE_RANGE = 30  # a range wider than this ratio is drawn evenly in the logarithm

WORDINGS = (
    "{scene} {Known}. What is {asked}{in_unit}?",
    "{scene} Find {asked}{in_unit}, given that {known}.",
    "{scene} Given: {listed}. Calculate {asked}{in_unit}.",
    "Work out {asked}{in_unit} in the following case. {scene} {Known}.",
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A number as a question writes it."""

    text: str
    """Number and unit."""
    si: float
    """Value in SI of just that text."""
    label: str = ""
    """What the scene calls it; empty unless it was drawn from options."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One question with its answer."""

    law: Law
    """Where it comes from."""
    asked: str
    """Symbol asked."""
    known: Mapping[str, float]
    """What is given, in SI, without constants."""
    question: str
    """The question in words."""
    truth: Truth
    """The answer."""


def draw_problem(rng: random.Random, law: Law, *, asked: str | None = None) -> Problem:
    """Draw a problem of a law; what is asked is drawn too unless it is named."""
    asked = asked or rng.choice(law.asks)
    readings = {part.symbol: _draw(part, rng) for part in law.parts if not part.formula}
    values = law.complete({symbol: reading.si for symbol, reading in readings.items()})
    needed = law.known_for(asked)
    known = {
        part.symbol: readings.get(part.symbol) or _written(values[part.symbol], part, rng)
        for part in law.parts
        if part.symbol in needed
    }
    si = {symbol: reading.si for symbol, reading in known.items()}
    truth = _truth(law.part[asked], law.answer(asked, si), rng)
    labels = {symbol: reading.label for symbol, reading in readings.items()}
    question = _question(law, asked, known, labels, truth, rng)
    return Problem(law=law, asked=asked, known=si, question=question, truth=truth)


def distinct(problems: Iterator[Problem]) -> Iterator[Problem]:
    """The problems without those that only ask again, in whatever words."""
    seen: set[tuple[str, str, tuple[tuple[str, float], ...]]] = set()
    for problem in problems:
        key = (problem.law.name, problem.asked, tuple(sorted(problem.known.items())))
        if key not in seen:
            seen.add(key)
            yield problem


def _draw(part: Part, rng: random.Random) -> Reading:
    """A drawn quantity, rounded in the unit that it is written in."""
    if part.options:
        label, number = rng.choice(part.options)
        unit = part.units[0]
        return _reading(number, unit, label=label)
    if part.whole:
        return _reading(rng.randint(int(part.low), int(part.high)), part.units[0])
    wide = part.low > 0 and part.high / part.low > WIDE_RANGE
    number = (
        math.exp(rng.uniform(math.log(part.low), math.log(part.high)))
        if wide
        else rng.uniform(part.low, part.high)
    )
    return _written(unit_of(part.units[0]).to_si(number), part, rng, digits=DRAWN_DIGITS)


def _written(
    value: float, part: Part, rng: random.Random, *, digits: int = FOUND_DIGITS
) -> Reading:
    """A value in SI as one of its units writes it."""
    unit = _unit(value, part, rng)
    number = unit_of(unit).from_si(value)
    return _reading(float(f"{number:.{digits}g}"), unit)


def _reading(number: float, unit: str, *, label: str = "") -> Reading:
    text = f"{_digits(number)} {unit}".strip()
    return Reading(text=text, si=unit_of(unit).to_si(float(number)), label=label)


def _digits(number: float) -> str:
    """``0.035``, ``12000``, ``1.6 x 10^-7``: exact, without a trailing zero."""
    if number == 0 or 1e-3 <= abs(number) < 1e6:
        text = f"{Decimal(repr(number)):f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, exponent = f"{number:.12e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')} x 10^{int(exponent)}"


def _unit(value: float, part: Part, rng: random.Random) -> str:
    """One of the units in which the number is handy; any, when there is none."""
    handy = [unit for unit in part.units if 0.01 <= abs(unit_of(unit).from_si(value)) < 1e5]
    return rng.choice(handy or part.units)


def _truth(part: Part, value: float, rng: random.Random) -> Truth:
    unit = _unit(value, part, rng)
    shown = unit_of(unit)
    return Truth(
        value=shown.from_si(value), unit=unit, rtol=part.rtol, atol=part.atol / shown.scale
    )


def _question(
    law: Law,
    asked: str,
    known: Mapping[str, Reading],
    labels: Mapping[str, str],
    truth: Truth,
    rng: random.Random,
) -> str:
    words = {symbol: law.part[symbol].words for symbol in known}
    clauses = [f"{words[symbol]} is {reading.text}" for symbol, reading in known.items()]
    listed = "; ".join(f"{words[symbol]}: {reading.text}" for symbol, reading in known.items())
    sentence = _joined(clauses)
    body = rng.choice(WORDINGS).format(
        scene=law.scene.format(**labels),
        known=sentence,
        Known=sentence[0].upper() + sentence[1:],
        listed=listed,
        asked=law.part[asked].words,
        in_unit=f" in {truth.unit}" if truth.unit else "",
    )
    return " ".join([body, *_constants(law, asked), _tolerance(truth)])


def _joined(clauses: list[str]) -> str:
    return clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"


def _constants(law: Law, asked: str) -> list[str]:
    """One sentence with the constants that the answer rests on, or none."""
    needed = sorted(law.known_for(asked) & CONSTANTS.keys())
    told = [CONSTANTS[name].words for name in needed if CONSTANTS[name].words]
    return [f"Use {'; '.join(told)}."] if told else []


def _tolerance(truth: Truth) -> str:
    unit = f" {truth.unit}" if truth.unit else ""
    limits = [f"{100 * truth.rtol:.3g}%"] if truth.rtol else []
    limits += [f"{truth.atol:.3g}{unit}"] if truth.atol else []
    return f"An error of up to {' or '.join(limits)} is accepted."
