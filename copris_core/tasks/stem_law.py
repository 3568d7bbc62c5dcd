"""What a STEM template is: quantities, formulas for each that can be asked, and the laws they obey.

A law is a chain: drawn quantities, then formulas in order. A formula's result is found (it may be
asked, or given so that something else is asked) or hidden (a step that the solver has to take).
Everything is in SI. ``relations`` state the same physics as equations and are never used to solve;
the tests put every answer into them. This file refuses to know wordings and answers in text.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from copris_core.tasks.stem_formula import evaluate, names_in
from copris_core.tasks.stem_units import unit_of

Subject = Literal["physics", "chemistry", "biology"]
RTOL = 0.01


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A constant that a formula may name."""

    value: float
    """In ``unit``."""
    unit: str
    """Unit as the question writes it."""
    words: str
    """How the question states it; empty: it does not (a standard state)."""

    @property
    def si(self) -> float:
        """Value in SI."""
        return unit_of(self.unit).to_si(self.value)


CONSTANTS: Mapping[str, Constant] = {
    "g_n": Constant(value=9.81, unit="m/s^2", words="g = 9.81 m/s^2"),
    "R_gas": Constant(value=8.314, unit="J/(mol K)", words="R = 8.314 J/(mol K)"),
    "N_A": Constant(value=6.022e23, unit="mol^-1", words="N_A = 6.022 x 10^23 per mol"),
    "k_B": Constant(value=1.381e-23, unit="J/K", words="k_B = 1.381 x 10^-23 J/K"),
    "h_P": Constant(value=6.626e-34, unit="J s", words="h = 6.626 x 10^-34 J s"),
    "c_0": Constant(value=2.998e8, unit="m/s", words="c = 2.998 x 10^8 m/s"),
    "e_0": Constant(value=1.602e-19, unit="C", words="e = 1.602 x 10^-19 C"),
    "m_e": Constant(value=9.109e-31, unit="kg", words="m_e = 9.109 x 10^-31 kg"),
    "k_C": Constant(value=8.988e9, unit="N m^2/C^2", words="k = 8.988 x 10^9 N m^2/C^2"),
    "G_N": Constant(value=6.674e-11, unit="N m^2/kg^2", words="G = 6.674 x 10^-11 N m^2/kg^2"),
    "M_E": Constant(value=5.972e24, unit="kg", words="the Earth's mass = 5.972 x 10^24 kg"),
    "R_E": Constant(value=6371, unit="km", words="the Earth's radius = 6371 km"),
    "sigma_SB": Constant(
        value=5.670e-8, unit="W/(m^2 K^4)", words="sigma = 5.670 x 10^-8 W/(m^2 K^4)"
    ),
    "Far": Constant(value=96485, unit="C/mol", words="F = 96485 C/mol"),
    "c_w": Constant(value=4186, unit="J/(kg K)", words="water's specific heat = 4186 J/(kg K)"),
    "L_ice": Constant(value=334, unit="kJ/kg", words="ice's latent heat of fusion = 334 kJ/kg"),
    "rho_w": Constant(value=1000, unit="kg/m^3", words="water's density = 1000 kg/m^3"),
    "mu_0": Constant(value=1.257e-6, unit="T m/A", words="mu_0 = 1.257 x 10^-6 T m/A"),
    "c_std": Constant(value=1, unit="mol/L", words=""),
    "T_25": Constant(value=298.15, unit="K", words="the temperature is 298.15 K"),
    "T_0C": Constant(value=273.15, unit="K", words=""),
    "kg_std": Constant(value=1, unit="kg", words=""),
    "pi": Constant(value=math.pi, unit="", words=""),
    "M_CO2": Constant(value=44.01, unit="g/mol", words="M(CO2) = 44.01 g/mol"),
    "M_CH2": Constant(value=14.03, unit="g/mol", words="a CH2 unit weighs 14.03 g/mol"),
    "M_H2": Constant(value=2.016, unit="g/mol", words="M(H2) = 2.016 g/mol"),
    "M_glc": Constant(value=180.16, unit="g/mol", words="M(glucose) = 180.16 g/mol"),
    "M_bp": Constant(value=650, unit="g/mol", words="one base pair weighs 650 g/mol"),
    "M_aa": Constant(value=110, unit="g/mol", words="one residue weighs 110 g/mol"),
    "rise": Constant(value=0.34, unit="nm", words="one base pair is 0.34 nm long"),
}

_CONSTANT_VALUES = {name: constant.si for name, constant in CONSTANTS.items()}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One quantity of a law: drawn (``low`` or ``options``), found or hidden (``formula``)."""

    symbol: str
    """Its name in the formulas."""
    words: str
    """What it is, as a noun phrase; empty: hidden."""
    units: tuple[str, ...]
    """Units it may be given or asked in; "" is a pure number."""
    low: float = 0.0
    """Least value drawn, in the first unit."""
    high: float = 0.0
    """Greatest value drawn, in the first unit."""
    whole: bool = False
    """Only whole numbers of the first unit are drawn."""
    options: tuple[tuple[str, float], ...] = ()
    """Labels, for the scene, with values in the first unit; one is drawn."""
    formula: str = ""
    """Its value in SI from parts above it and from constants; empty: drawn."""
    rtol: float = RTOL
    """Relative error allowed in an answer."""
    atol: float = 0.0
    """Absolute error allowed in an answer, in SI, for what may come near zero."""


@dataclass(frozen=True, kw_only=True)
class Law:
    """A family of problems: what is drawn, what follows, and what may be asked."""

    name: str
    """Unique among all laws."""
    subject: Subject
    """Field it belongs to."""
    level: int
    """1: one law with conversions; 2: two steps; 3: three steps, or an equation to be inverted."""
    scene: str
    """What happens, in sentences; ``{symbol}`` is the label of an option that was drawn."""
    parts: tuple[Part, ...]
    """Quantities, each after those in its formula."""
    relations: tuple[str, ...]
    """The law as equations in SI, for checking answers; hidden quantities may stand in them."""
    inverse: Mapping[str, str] = field(default_factory=dict)
    """For each drawn quantity that may be asked, its formula from the others."""

    @cached_property
    def part(self) -> Mapping[str, Part]:
        """Quantities by their symbol."""
        return {part.symbol: part for part in self.parts}

    @cached_property
    def asks(self) -> tuple[str, ...]:
        """Symbols that may be asked."""
        found = [part.symbol for part in self.parts if part.formula and part.words]
        return (*found, *self.inverse)

    def known_for(self, asked: str) -> frozenset[str]:
        """Symbols that a question about ``asked`` has to give, constants among them."""
        start = self.inverse.get(asked) or self.part[asked].formula
        waiting, known = set(names_in(start)), set()
        while waiting:
            symbol = waiting.pop()
            part = self.part.get(symbol)
            if part and part.formula and (asked not in self.inverse or not part.words):
                waiting |= names_in(part.formula)
            else:
                known.add(symbol)
        return frozenset(known)

    def complete(self, values: Mapping[str, float]) -> dict[str, float]:
        """Values in SI with the constants and with all that follows by the formulas."""
        full = _CONSTANT_VALUES | dict(values)
        for part in self.parts:
            if part.formula and part.symbol not in full and names_in(part.formula) <= full.keys():
                full[part.symbol] = evaluate(part.formula, full)
        return full

    def answer(self, asked: str, known: Mapping[str, float]) -> float:
        """Value of ``asked`` in SI from the values in SI that ``known_for`` names."""
        full = self.complete(known)
        return float(evaluate(self.inverse.get(asked) or self.part[asked].formula, full))


def given(
    symbol: str,
    words: str,
    units: str,
    low: float,
    high: float,
    *,
    whole: bool = False,
    rtol: float = RTOL,
    atol: float = 0.0,
) -> Part:
    """A drawn quantity; ``units`` holds one or more units between bars, the first for the range."""
    return Part(
        symbol=symbol,
        words=words,
        units=tuple(units.split("|")),
        low=low,
        high=high,
        whole=whole,
        rtol=rtol,
        atol=atol,
    )


def chosen(symbol: str, words: str, units: str, options: Mapping[str, float]) -> Part:
    """A quantity drawn from a table of labelled values."""
    return Part(
        symbol=symbol, words=words, units=tuple(units.split("|")), options=tuple(options.items())
    )


def found(
    symbol: str, words: str, units: str, formula: str, *, rtol: float = RTOL, atol: float = 0.0
) -> Part:
    """A result that may be asked or given."""
    return Part(
        symbol=symbol,
        words=words,
        units=tuple(units.split("|")),
        formula=formula,
        rtol=rtol,
        atol=atol,
    )


def hidden(symbol: str, unit: str, formula: str) -> Part:
    """A step on the way: never given, never asked."""
    return Part(symbol=symbol, words="", units=(unit,), formula=formula)
