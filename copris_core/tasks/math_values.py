r"""Works out canonical LaTeX in floating point, to tell most unequal expressions apart at once.

Two expressions that differ at a point are not equal; two that agree at random points almost surely
are (Schwartz and Zippel's test). So math-verify is left with few. A reading is only as good as its
grammar: what it could misread (``1/2x``, ``2\frac{1}{2}x``) is left to math-verify, and
``\sin(x)^2`` is read in both ways.
This file refuses to know answers and verdicts.
"""

import cmath
import math
import re
import zlib
from collections.abc import Callable

POINTS = 3
MAX_TOKENS = 400
APART = 1e-5  # relative: six stated digits are near enough
TOGETHER = 1e-12  # relative; floats hold 16 digits
MAX_SURE = 1e9  # beyond, integers that differ by one are too close to each other
NOISE = 1e-9  # absolute: what cancellation leaves of zero

_TOKEN = re.compile(r"\s*(\\[a-zA-Z]+|[0-9]+(?:\.[0-9]+)?|[a-zA-Z]|[-+*/^_!%(){}\[\]])\s*")
_CLOSING = {"(": ")", "{": "}", "[": "]"}
_GREEK = frozenset(
    re.findall(
        r"\\[a-zA-Z]+",
        r"\alpha\beta\gamma\delta\epsilon\varepsilon\zeta\eta\theta\iota\kappa\lambda\mu\nu\xi\rho"
        r"\sigma\tau\phi\varphi\chi\psi\omega\Delta\Omega\Sigma\Phi\Gamma\Lambda",
    )
)
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "\\sin": cmath.sin,
    "\\cos": cmath.cos,
    "\\tan": cmath.tan,
    "\\cot": lambda x: 1 / cmath.tan(x),
    "\\sec": lambda x: 1 / cmath.cos(x),
    "\\csc": lambda x: 1 / cmath.sin(x),
    "\\arcsin": cmath.asin,
    "\\arccos": cmath.acos,
    "\\arctan": cmath.atan,
    "\\sinh": cmath.sinh,
    "\\cosh": cmath.cosh,
    "\\tanh": cmath.tanh,
    "\\ln": cmath.log,
    "\\log": cmath.log,
    "\\exp": cmath.exp,
}
_ENDS_ARGUMENT = frozenset([*_FUNCTIONS, *"([{+-*/!%)}]^_", "\\cdot"])
COMMANDS = frozenset([*_FUNCTIONS, *_GREEK, "\\frac", "\\sqrt", "\\pi", "\\cdot", "\\binom"])


class UnreadableError(ValueError):
    """The expression is outside this grammar, or may be meant in two ways."""


def agree(one: str, other: str) -> bool | None:
    """Whether two canonical expressions have the same value; None when this can't tell.

    True takes agreement to 12 digits at three points; False a difference in the sixth at one.
    """
    try:
        verdicts = {_agree(one, other, outer=outer) for outer in (True, False)}
    except UnreadableError:
        return None
    return verdicts.pop() if len(verdicts) == 1 else None


def _agree(one: str, other: str, *, outer: bool) -> bool | None:
    pairs = [
        (value_of(one, k, outer=outer), value_of(other, k, outer=outer)) for k in range(POINTS)
    ]
    if any(_apart(left, right) for left, right in pairs):
        return False
    return True if all(_together(left, right) for left, right in pairs) else None


def value_of(latex: str, point: int, *, outer: bool = True) -> complex:
    r"""Value of a canonical expression at a point; nan when undefined there, inf beyond floats.

    Args:
        latex: canonical LaTeX, brackets nested at most some tens deep.
        point: which point, from 0; every variable gets a value in 0.25..1.25 from its name.
        outer: read ``\sin(x)^2`` as the sine squared; else as the sine of the square.

    Raises:
        UnreadableError: see the file's docstring.
    """
    reader = _Reader(_tokens(latex), point, outer=outer)
    try:
        value = reader.sum()
    except ZeroDivisionError:
        return complex(math.nan)
    except OverflowError:
        return complex(math.inf)
    except ValueError as error:  # the domain of a function, or ours
        raise UnreadableError(latex) from error
    if reader.next:
        raise UnreadableError(latex)
    return value


def _apart(left: complex, right: complex) -> bool:
    if not cmath.isfinite(left) or not cmath.isfinite(right):
        return cmath.isfinite(left) != cmath.isfinite(right)
    return abs(left - right) > max(APART * max(abs(left), abs(right)), NOISE)


def _together(left: complex, right: complex) -> bool:
    size = max(abs(left), abs(right))
    return size < MAX_SURE and abs(left - right) <= TOGETHER * size  # no for nan


def _tokens(latex: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while position < len(latex):
        found = _TOKEN.match(latex, position)
        if found is None or len(tokens) == MAX_TOKENS:
            raise UnreadableError(latex)
        tokens.append(found[1])
        position = found.end()
    return tokens


class _Reader:
    """A recursive-descent reader; each method reads one rule of the grammar and returns a value."""

    def __init__(self, tokens: list[str], point: int, *, outer: bool) -> None:
        self._tokens = tokens
        self._position = 0
        self._point = point
        self._outer = outer

    @property
    def next(self) -> str:
        """The token to be read; empty at the end."""
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def sum(self) -> complex:
        """Term {(+ | -) term}."""
        total = self._term()
        while self.next in ("+", "-"):
            sign = -1 if self._take() == "-" else 1
            total += sign * self._term()
        return total

    def _term(self) -> complex:
        sign = 1
        while self.next in ("+", "-"):
            sign *= -1 if self._take() == "-" else 1
        value, divided = sign * self._power(), False
        while self.next and self.next not in ("+", "-", ")", "}", "]"):
            operator = self._take() if self.next in ("*", "/", "\\cdot") else ""
            if divided and operator != "/":
                raise UnreadableError("1/2x")
            divided = divided or operator == "/"
            signed = -1 if operator and self.next == "-" and self._take() else 1
            factor = signed * self._power()
            value = value / factor if operator == "/" else value * factor
        return value

    def _power(self) -> complex:
        value = self._atom()
        while self.next in ("!", "%"):
            value = value / 100 if self._take() == "%" else _factorial(value)
        if self.next == "^":
            self._take()
            value = _raise(value, self._exponent())
        return value

    def _exponent(self) -> complex:
        return self._group() if self.next == "{" else self._atom()

    def _atom(self) -> complex:
        token = self._take()
        if token[:1].isdigit():
            if self.next == "\\frac" and token.isdigit():
                raise UnreadableError("a mixed number or a product")
            return complex(token)
        if token in _CLOSING:
            return self._inside(token)
        if token in _FUNCTIONS:
            return self._function(token)
        if token == "\\frac":
            return self._group() / self._group()
        if token == "\\sqrt":
            return self._root()
        if token == "\\binom":
            return _binomial(self._group(), self._group())
        return self._name(token)

    def _name(self, token: str) -> complex:
        constants = {"\\pi": complex(math.pi), "e": complex(math.e), "i": 1j}
        if token in constants:
            return constants[token]
        if token not in _GREEK and not (len(token) == 1 and token.isalpha()):
            raise UnreadableError(token)
        if self.next == "_":
            start = self._position
            self._take()
            self._group()
            token += "".join(self._tokens[start : self._position])
        return 0.25 + (zlib.crc32(token.encode()) * (self._point + 1) * 0.6180339887498949) % 1

    def _function(self, name: str) -> complex:
        base = exponent = None
        if name == "\\log" and self.next == "_":
            self._take()
            base = self._group()
        if self.next == "^":
            self._take()
            exponent = self._exponent()
        value = _FUNCTIONS[name](self._argument())
        value = value if base is None else value / cmath.log(base)
        if exponent == -1:
            raise UnreadableError("an inverse or a reciprocal")
        return value if exponent is None else _raise(value, exponent)

    def _argument(self) -> complex:
        """A bracket, or the factors up to the next operator or function."""
        if self.next in _CLOSING:
            return self._inside(self._take()) if self._outer else self._power()
        value = self._power()
        while self.next and self.next not in _ENDS_ARGUMENT:
            value *= self._power()
        return value

    def _root(self) -> complex:
        degree = self._inside(self._take()) if self.next == "[" else 2
        value = self._group()
        if value.imag == 0 > value.real and degree.real % 2 == 1:
            return -_raise(-value, 1 / degree)  # the real root
        return _raise(value, 1 / degree)

    def _group(self) -> complex:
        if self._take() != "{":
            raise UnreadableError("braces are missing")
        return self._inside("{")

    def _inside(self, opening: str) -> complex:
        value = self.sum()
        if self._take() != _CLOSING[opening]:
            raise UnreadableError("a bracket is not closed")
        return value

    def _take(self) -> str:
        token = self.next
        self._position += 1
        return token


def _raise(value: complex, exponent: complex) -> complex:
    return complex(value**exponent)


def _whole(value: complex) -> int:
    if value.imag or value.real != int(value.real) or value.real < 0:
        raise UnreadableError("not a whole number")
    return int(value.real)


def _factorial(value: complex) -> complex:
    number = _whole(value)
    if number > 170:
        raise OverflowError
    return complex(math.factorial(number))


def _binomial(above: complex, below: complex) -> complex:
    if max(_whole(above), _whole(below)) > 1000:
        raise OverflowError
    return complex(float(math.comb(_whole(above), _whole(below))))
