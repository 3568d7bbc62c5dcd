"""Formulas as text."""

import math

import pytest

from copris_core.tasks.stem_formula import evaluate, names_in, sides


def test_a_formula_has_the_value_that_python_gives_it():
    values = {"m": 2.0, "v": 3.0, "x": 0.5}
    assert evaluate("m*v**2/2 - -x", values) == 2.0 * 3.0**2 / 2 + 0.5
    assert evaluate("sqrt(m)*sin(x) + log10(v)", values) == pytest.approx(
        math.sqrt(2) * math.sin(0.5) + math.log10(3)
    )


def test_names_are_quantities_not_functions():
    assert names_in("sqrt(2*e_0*U/m_e)") == {"e_0", "U", "m_e"}


def test_a_relation_has_two_sides():
    assert sides("F*v == P") == ("F*v", "P")
    with pytest.raises(ValueError, match="unpack"):
        sides("F*v")


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError, match="v"):
        evaluate("m*v", {"m": 1.0})


@pytest.mark.parametrize("text", ["m.real", "[m]", "m if m else 1", "max(m, 1)", "m @ m", "~m"])
def test_a_formula_is_only_arithmetic(text):
    with pytest.raises(ValueError, match="not a formula"):
        evaluate(text, {"m": 1.0})
