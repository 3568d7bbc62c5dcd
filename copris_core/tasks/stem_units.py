"""Reads units such as ``m/s^2``, ``kJ mol^-1`` and ``degrees Celsius`` as a scale and a dimension.

Dimensions are exponents of (kg, m, s, A, K, mol). Angles, percentages and counts have none. The
text is plain: ``stem_answer.py`` has taken the LaTeX off. This file refuses to know any problem.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import log10, pi

Dims = tuple[int, int, int, int, int, int]
NONE: Dims = (0, 0, 0, 0, 0, 0)
MAX_UNIT_CHARS = 80
MAX_DEPTH = 4  # parentheses in a unit
MAX_DECADES = 100  # of a scale; Tm^12 Tm^12 ... would leave the floats


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit: value in SI = scale * number + offset."""

    scale: float
    """SI units in one of this unit."""
    dims: Dims
    """Exponents of (kg, m, s, A, K, mol)."""
    offset: float = 0.0
    """In SI; only degrees Celsius, standing alone, has one."""

    def to_si(self, number: float) -> float:
        """Value in SI of a number with this unit."""
        return self.scale * number + self.offset

    def from_si(self, value: float) -> float:
        """Inverse of ``to_si``."""
        return (value - self.offset) / self.scale

    def times(self, other: "Unit", power: int) -> "Unit":
        """This unit times another to a power; an offset is lost, as in J/(kg degC)."""
        dims = tuple(
            mine + power * theirs for mine, theirs in zip(self.dims, other.dims, strict=True)
        )
        return Unit(scale=self.scale * other.scale**power, dims=dims)  # type: ignore[arg-type]


ONE = Unit(scale=1.0, dims=NONE)
PREFIXES = {
    "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "c": 1e-2,
    "d": 1e-1, "h": 1e2, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
}  # fmt: skip
PREFIX_WORDS = {
    "pico": 1e-12, "nano": 1e-9, "micro": 1e-6, "milli": 1e-3, "centi": 1e-2,
    "kilo": 1e3, "mega": 1e6, "giga": 1e9,
}  # fmt: skip

# symbol: (scale, dims); these take a prefix.
_METRIC: dict[str, tuple[float, Dims]] = {
    "g": (1e-3, (1, 0, 0, 0, 0, 0)),
    "m": (1.0, (0, 1, 0, 0, 0, 0)),
    "s": (1.0, (0, 0, 1, 0, 0, 0)),
    "A": (1.0, (0, 0, 0, 1, 0, 0)),
    "K": (1.0, (0, 0, 0, 0, 1, 0)),
    "mol": (1.0, (0, 0, 0, 0, 0, 1)),
    "Hz": (1.0, (0, 0, -1, 0, 0, 0)),
    "Bq": (1.0, (0, 0, -1, 0, 0, 0)),
    "N": (1.0, (1, 1, -2, 0, 0, 0)),
    "Pa": (1.0, (1, -1, -2, 0, 0, 0)),
    "J": (1.0, (1, 2, -2, 0, 0, 0)),
    "W": (1.0, (1, 2, -3, 0, 0, 0)),
    "C": (1.0, (0, 0, 1, 1, 0, 0)),
    "V": (1.0, (1, 2, -3, -1, 0, 0)),
    "ohm": (1.0, (1, 2, -3, -2, 0, 0)),
    "S": (1.0, (-1, -2, 3, 2, 0, 0)),
    "F": (1.0, (-1, -2, 4, 2, 0, 0)),
    "H": (1.0, (1, 2, -2, -2, 0, 0)),
    "T": (1.0, (1, 0, -2, -1, 0, 0)),
    "Wb": (1.0, (1, 2, -2, -1, 0, 0)),
    "L": (1e-3, (0, 3, 0, 0, 0, 0)),
    "l": (1e-3, (0, 3, 0, 0, 0, 0)),
    "M": (1e3, (0, -3, 0, 0, 0, 1)),
    "eV": (1.602176634e-19, (1, 2, -2, 0, 0, 0)),
    "cal": (4.184, (1, 2, -2, 0, 0, 0)),
    "bar": (1e5, (1, -1, -2, 0, 0, 0)),
    "Da": (1.66053907e-27, (1, 0, 0, 0, 0, 0)),
    "Gy": (1.0, (0, 2, -2, 0, 0, 0)),
    "Wh": (3600.0, (1, 2, -2, 0, 0, 0)),
    "Ah": (3600.0, (0, 0, 1, 1, 0, 0)),
    "Nm": (1.0, (1, 2, -2, 0, 0, 0)),
    "Ns": (1.0, (1, 1, -1, 0, 0, 0)),
    "rad": (1.0, NONE),
}
_OTHER: dict[str, tuple[float, Dims]] = {
    "min": (60.0, (0, 0, 1, 0, 0, 0)),
    "h": (3600.0, (0, 0, 1, 0, 0, 0)),
    "hr": (3600.0, (0, 0, 1, 0, 0, 0)),
    "d": (86400.0, (0, 0, 1, 0, 0, 0)),
    "day": (86400.0, (0, 0, 1, 0, 0, 0)),
    "yr": (3.15576e7, (0, 0, 1, 0, 0, 0)),
    "t": (1e3, (1, 0, 0, 0, 0, 0)),
    "u": (1.66053907e-27, (1, 0, 0, 0, 0, 0)),
    "ha": (1e4, (0, 2, 0, 0, 0, 0)),
    "atm": (101325.0, (1, -1, -2, 0, 0, 0)),
    "torr": (133.322368, (1, -1, -2, 0, 0, 0)),
    "Torr": (133.322368, (1, -1, -2, 0, 0, 0)),
    "mmHg": (133.322368, (1, -1, -2, 0, 0, 0)),
    "D": (1.0, (0, -1, 0, 0, 0, 0)),
    "deg": (pi / 180, NONE),
    "rev": (2 * pi, NONE),
    "rpm": (2 * pi / 60, (0, 0, -1, 0, 0, 0)),
    "%": (1e-2, NONE),
    "ppm": (1e-6, NONE),
    "pH": (1.0, NONE),
    "bp": (1.0, NONE),
    "CFU": (1.0, NONE),
    "cfu": (1.0, NONE),
}
_WORDS = {
    "gram": "g", "meter": "m", "metre": "m", "second": "s", "sec": "s", "ampere": "A", "amp": "A",
    "kelvin": "K", "mole": "mol", "hertz": "Hz", "newton": "N", "pascal": "Pa", "joule": "J",
    "watt": "W", "coulomb": "C", "volt": "V", "farad": "F", "henry": "H", "tesla": "T",
    "liter": "L", "litre": "L", "electronvolt": "eV", "calorie": "cal", "radian": "rad",
    "molar": "M", "siemens": "S", "dalton": "Da", "ohm": "ohm", "gray": "Gy", "weber": "Wb",
    "minute": "min", "hour": "h", "day": "d", "year": "yr", "percent": "%", "degree": "deg",
    "atmosphere": "atm", "revolution": "rev", "hectare": "ha", "dioptre": "D", "diopter": "D",
    "tonne": "t", "min": "min", "hr": "h",
}  # fmt: skip
# What is counted has no dimension: 80 beats/min is 80/60 per second.
_COUNTS = frozenset(
    (
        *("atom", "beat", "breath", "cell", "colony", "colonies", "copy", "copies", "egg", "fish"),
        *("generation", "individual", "insect", "molecule", "nucleotide", "organism", "photon"),
        *("plant", "residue", "turn"),
    )
)
_TOKEN = re.compile(
    r"""\s*(?: (?P<word>[A-Za-z]+|%) | (?P<one>1(?=\s*\)?\s*/))
             | \^?\s*(?P<power>[-+]?[0-9]{1,2}) | \^\s*\(\s*(?P<braced>[-+]?[0-9]{1,2})\s*\)
             | (?P<mark>[*/()]) )""",
    re.VERBOSE,
)


@lru_cache(maxsize=4096)
def unit_readings(text: str) -> tuple[Unit, ...]:
    """All ways to read a unit, the strict one first; empty when it is none.

    ``J/kg K`` is (J/kg) K to the letter and J/(kg K) as most people mean it, so both are returned.
    """
    if len(text) > MAX_UNIT_CHARS:
        return ()
    tokens = tuple(_tokens(text))
    readings = [_Reader(tokens, sticky_slash=sticky).whole() for sticky in (False, True)]
    return tuple(dict.fromkeys(reading for reading in readings if reading is not None))


def unit_of(text: str) -> Unit:
    """The strict reading of a unit of our own; "" is the pure number.

    Raises:
        ValueError: it is no unit.
    """
    if not text:
        return ONE
    readings = unit_readings(text)
    if not readings:
        raise ValueError(f"{text!r} is not a unit: add it to stem_units.py")
    return readings[0]


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            yield "bad", text[place]
            return
        place = found.end()
        kind = str(found.lastgroup)
        value = found[kind]
        if kind == "word" and value in {"per", "squared", "cubed"}:
            kind, value = {"per": ("mark", "/"), "squared": ("power", "2")}.get(
                value, ("power", "3")
            )
        yield ("power" if kind == "braced" else kind), value


class _Reader:
    """Reads one list of tokens, left to right, by one rule for slashes."""

    def __init__(self, tokens: tuple[tuple[str, str], ...], *, sticky_slash: bool) -> None:
        self._tokens = tokens
        self._sticky_slash = sticky_slash
        self._next = 0

    def whole(self) -> Unit | None:
        unit = self._product(depth=0)
        return unit if self._next == len(self._tokens) else None

    def _product(self, *, depth: int) -> Unit | None:
        """Factors up to a closing parenthesis or the end."""
        unit, sign, factors = ONE, 1, 0
        while self._next < len(self._tokens) and self._peek() != ("mark", ")"):
            if self._peek()[0] == "mark" and self._peek()[1] in "*/":
                if factors == 0 and self._peek() != ("mark", "/"):  # "80 /min" is a way to write it
                    return None
                sign = -1 if self._peek()[1] == "/" or (sign < 0 and self._sticky_slash) else 1
                self._next += 1
            factor = self._factor(depth=depth)
            if factor is None:
                return None
            base, power = factor
            lone = factors == 0 and sign * power == 1
            unit = base if lone else unit.times(base, sign * power)
            if abs(log10(unit.scale)) > MAX_DECADES:
                return None
            factors += 1
            sign = sign if self._sticky_slash else 1
        return unit if factors else None

    def _factor(self, *, depth: int) -> tuple[Unit, int] | None:
        kind, value = self._take()
        if kind == "one":
            base: Unit | None = ONE
        elif kind == "word":
            base = _named(value)
        elif value == "(" and depth < MAX_DEPTH:
            base = self._product(depth=depth + 1)
            if self._take() != ("mark", ")"):
                return None
        else:
            return None
        power = 1
        if self._peek()[0] == "power":
            power = int(self._take()[1])
        if base is None or abs(power * log10(base.scale)) > MAX_DECADES:
            return None
        return base, power

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._next += 1
        return token


def _named(word: str) -> Unit | None:
    """The unit of one symbol or word, with or without a prefix."""
    if word == "degC":
        return Unit(scale=1.0, dims=_METRIC["K"][1], offset=273.15)
    if word in _METRIC or word in _OTHER:
        return _scaled(word, 1.0)
    if word[0] in PREFIXES and word[1:] in _METRIC:
        return _scaled(word[1:], PREFIXES[word[0]])
    return _spelled(word.lower())


def _spelled(word: str) -> Unit | None:
    singular = word if word in _WORDS else word.removesuffix("s")
    if word in _COUNTS or singular in _COUNTS:
        return ONE
    if singular in _WORDS:
        return _scaled(_WORDS[singular], 1.0)
    for prefix, factor in PREFIX_WORDS.items():
        rest = singular.removeprefix(prefix)
        if rest != singular and _WORDS.get(rest) in _METRIC:
            return _scaled(_WORDS[rest], factor)
    return None


def _scaled(symbol: str, factor: float) -> Unit:
    scale, dims = _METRIC[symbol] if symbol in _METRIC else _OTHER[symbol]
    return Unit(scale=scale * factor, dims=dims)
