"""Formulas as text, such as ``m*g*sin(theta)``, and their value.

A formula is text so that it can be read more than once: here with floats; in the tests also with
dimension vectors, which shows that both sides of a law have the same unit. The formulas are this
package's own; this file refuses to know what they say.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

FUNCTIONS: Mapping[str, Callable[[float], float]] = {
    name: getattr(math, name)
    for name in ("sqrt", "exp", "log", "log10", "sin", "cos", "tan", "asin", "acos", "atan")
}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def evaluate(
    formula: str,
    values: Mapping[str, Any],
    *,
    functions: Mapping[str, Callable[[Any], Any]] = FUNCTIONS,
) -> Any:
    """Value of a formula; of whatever kind ``values`` are, as long as they know arithmetic.

    Raises:
        KeyError: a name has no value.
        ValueError: the formula holds more than sums, products, powers and ``functions``; or a
            function is outside its domain.
    """
    return _value(_parsed(formula), values, functions)


@lru_cache(maxsize=4096)
def names_in(formula: str) -> frozenset[str]:
    """The quantities that a formula needs."""
    nodes = [node for node in ast.walk(_parsed(formula)) if isinstance(node, ast.Name)]
    return frozenset(node.id for node in nodes) - FUNCTIONS.keys()


def sides(relation: str) -> tuple[str, str]:
    """Left and right side of a relation ``left == right``.

    Raises:
        ValueError: it has not exactly one ``==``.
    """
    left, right = relation.split("==")
    return left.strip(), right.strip()


@lru_cache(maxsize=4096)
def _parsed(formula: str) -> ast.expr:
    return ast.parse(formula, mode="eval").body


def _value(
    node: ast.expr, values: Mapping[str, Any], functions: Mapping[str, Callable[[Any], Any]]
) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, values, functions)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = (_value(side, values, functions) for side in (node.left, node.right))
        return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
        return functions[node.func.id](_value(node.args[0], values, functions))
    raise ValueError(f"not a formula: {ast.unparse(node)}")
