"""What a generated code problem is: a family of functions, parameters, and drawn tests.

A family is a reference implementation whose docstring is the question and whose keyword-only
arguments are the parameters; the ``code_functions_*`` files hold them. Wanted values are computed
by the reference. This file refuses to know rows and how a response is run.
"""

import ast
import inspect
import itertools
import json
import random
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from copris_core.tasks.code_runner import encode
from copris_core.tasks.task import Split

HELD_OUT_ONE_IN = 5
MAX_DRAWS = 60  # draws per test before a value may repeat more often

Draw = Callable[[random.Random], Any]
"""Draws one argument."""
Params = Mapping[str, int | str]
"""Parameters by name."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Functions that differ in their parameters."""

    function: Callable[..., Any]
    """The reference. It uses builtins and what it imports itself, and changes no argument."""
    inputs: tuple[Draw, ...]
    """One draw for each positional argument."""
    grid: Mapping[str, Sequence[int | str]]
    """Values of each parameter."""

    @property
    def name(self) -> str:
        """Name of the family and of the function asked for."""
        return self.function.__name__

    def points(self) -> list[Params]:
        """Every combination of parameters."""
        return [
            dict(zip(self.grid, values, strict=True))
            for values in itertools.product(*self.grid.values())
        ]

    def statement(self, params: Params) -> str:
        """The question in words: the docstring with the parameters in it."""
        return " ".join((self.function.__doc__ or "").split()).format(**params)

    def signature(self) -> str:
        """The head of the function asked for, without the parameters."""
        whole = inspect.signature(self.function)
        asked = [each for each in whole.parameters.values() if each.kind is not each.KEYWORD_ONLY]
        head = f"def {self.name}{whole.replace(parameters=asked)}:"
        return head.replace("typing.Any", "object")

    def solution(self, params: Params) -> str:
        """The reference as source, its parameters bound as defaults."""
        source = inspect.getsource(self.function)
        function = ast.parse(source).body[0]
        assert isinstance(function, ast.FunctionDef)
        function.decorator_list, function.returns = [], None
        for each in (*function.args.args, *function.args.kwonlyargs):
            each.annotation = None
        function.body = function.body[1:]  # the docstring
        names = [each.arg for each in function.args.kwonlyargs]
        function.args.kw_defaults = [ast.Constant(params[name]) for name in names]
        return ast.unparse(function)


def family(*inputs: Draw, **grid: Sequence[int | str]) -> Callable[[Callable[..., Any]], Family]:
    """Make a family of the reference below it."""
    return lambda function: Family(function=function, inputs=inputs, grid=grid)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A call and its value."""

    arguments: tuple[Any, ...]
    """Positional arguments."""
    value: Any
    """What the reference gives for them."""


@dataclass(frozen=True, kw_only=True)
class CodeProblem:
    """One question with its tests."""

    family: Family
    """Where it comes from."""
    params: Params
    """Its parameters."""
    examples: tuple[Example, ...]
    """Shown in the question; not among the tests."""
    tests: tuple[Example, ...]
    """Hidden."""

    @property
    def question(self) -> str:
        """The question as the model reads it."""
        shown = "\n".join(
            f"    {self.family.name}({', '.join(map(repr, each.arguments))}) == {each.value!r}"
            for each in self.examples
        )
        return (
            f"Write a Python function.\n\n    {self.family.signature()}\n\n"
            f"{self.family.statement(self.params)}\n\nExamples:\n{shown}"
        )


def split_of(name: str, params: Params) -> Split:
    """Split that owns a family with its parameters: one pair in five is held out, always."""
    digest = zlib.crc32(f"{name} {json.dumps(params, sort_keys=True)}".encode())
    return "test" if digest % HELD_OUT_ONE_IN == 0 else "train"


def draw_problem(
    rng: random.Random, family: Family, params: Params, *, num_examples: int, num_tests: int
) -> CodeProblem:
    """Draw calls for a question: no call twice, and no value too often.

    No wanted value is that of more than half the tests (of a quarter, for functions that do not
    answer yes or no), so that an answer that is always the same earns little. The rule gives way
    only where ``MAX_DRAWS`` draws do not find another value.
    """
    drawn: dict[str, Example] = {}
    often: Counter[str] = Counter()
    count = num_examples + num_tests
    draws = 0
    while len(drawn) < count:
        draws += 1
        arguments = tuple(draw(rng) for draw in family.inputs)
        key = repr(arguments)
        value = family.function(*arguments, **params)
        result = json.dumps(encode(value))
        most = count // 2 if isinstance(value, bool) else max(1, count // 4)
        if key in drawn or (often[result] >= most and draws < MAX_DRAWS * (len(drawn) + 1)):
            if draws > 2 * MAX_DRAWS * count:
                raise AssertionError(f"{family.name}: fewer than {count} calls to draw")
            continue
        drawn[key] = Example(arguments=arguments, value=value)
        often[result] += 1
    calls = tuple(drawn.values())
    order = rng.sample(range(count), count)  # the rare values are drawn last; mix them in
    mixed = tuple(calls[i] for i in order)
    return CodeProblem(
        family=family, params=params, examples=mixed[:num_examples], tests=mixed[num_examples:]
    )


def integer(low: int, high: int) -> Draw:
    """An integer of low..high."""
    return lambda rng: rng.randint(low, high)


def one_of(*values: Any) -> Draw:
    """One of some values."""
    return lambda rng: rng.choice(values)


def several(draw: Draw, least: int, most: int) -> Draw:
    """A list of least..most draws."""
    return lambda rng: [draw(rng) for _ in range(rng.randint(least, most))]


def integers(low: int = -20, high: int = 20, *, least: int = 0, most: int = 9) -> Draw:
    """A list of integers."""
    return several(integer(low, high), least, most)


def word(letters: str = "abcdeilnorst", *, least: int = 1, most: int = 7) -> Draw:
    """A string over some letters."""
    return lambda rng: "".join(rng.choices(letters, k=rng.randint(least, most)))


def joined(draw: Draw, by: str, least: int, most: int) -> Draw:
    """Several draws as one string."""
    return lambda rng: by.join(map(str, several(draw, least, most)(rng)))


def words(least: int = 1, most: int = 7) -> Draw:
    """Words with single spaces between them."""
    return joined(word(), " ", least, most)


def together(*draws: Draw) -> Draw:
    """A tuple of one draw each."""
    return lambda rng: tuple(draw(rng) for draw in draws)


def table(key: Draw, value: Draw, least: int, most: int) -> Draw:
    """A dict; equal keys make it smaller."""
    return lambda rng: dict(several(together(key, value), least, most)(rng))


def rectangle(draw: Draw, least: int = 1, most: int = 5) -> Draw:
    """A list of rows of one length, least..most both ways."""

    def drawn(rng: random.Random) -> list[list[Any]]:
        width = rng.randint(least, most)
        return [[draw(rng) for _ in range(width)] for _ in range(rng.randint(least, most))]

    return drawn
