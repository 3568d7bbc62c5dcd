"""Every STEM template: its physics, checked apart from the formulas that make the answers.

Three ways. Dimensions: every formula and relation is computed with dimension vectors instead of
numbers. Residuals: the answer is put back into the law's relations, which no answer is made from.
By hand: problems with the arithmetic in a comment.
"""

import dataclasses
import functools
import random
from fractions import Fraction

import pytest

from copris_core.tasks.stem_formula import FUNCTIONS, evaluate, names_in, sides
from copris_core.tasks.stem_law import CONSTANTS
from copris_core.tasks.stem_problem import WORDINGS, draw_problem
from copris_core.tasks.stem_task import LAWS
from copris_core.tasks.stem_units import unit_of

BY_NAME = {law.name: law for law in LAWS}
ASKS = [(law, asked) for law in LAWS for asked in law.asks]
DRAWS = 4
VERY_LARGE_OR_SMALL = {
    *("laser_photons", "solubility_product", "catalytic_efficiency", "cell_count", "plate_count"),
}


class Dim:
    """A dimension that knows arithmetic; a plain number among its operands has none."""

    def __init__(self, *exponents: Fraction) -> None:
        self.exponents = exponents or (Fraction(0),) * 6

    def __eq__(self, other):
        return self.exponents == _dim(other).exponents

    def __mul__(self, other):
        return Dim(*(a + b for a, b in zip(self.exponents, _dim(other).exponents, strict=True)))

    def __truediv__(self, other):
        return self * _dim(other) ** -1

    def __rtruediv__(self, other):
        return _dim(other) / self

    def __pow__(self, power):
        if isinstance(power, Dim):
            assert self == power == Dim(), "only numbers stand with a variable exponent"
            return self
        exact = Fraction(power).limit_denominator(12)
        return Dim(*(exponent * exact for exponent in self.exponents))

    def __rpow__(self, base):
        assert self == Dim(), "an exponent has no dimension"
        return self

    def __add__(self, other):
        assert self == _dim(other), "only equal dimensions are added"
        return self

    def __neg__(self):
        return self

    __rmul__, __radd__, __sub__, __rsub__ = __mul__, __add__, __add__, __add__


def _dim(value):
    return value if isinstance(value, Dim) else Dim()


def _number(value):
    assert value == Dim(), "a function takes a number"
    return Dim()


DIM_FUNCTIONS = dict.fromkeys(FUNCTIONS, _number) | {"sqrt": lambda value: value ** Fraction(1, 2)}


def _unit_dim(unit):
    return Dim(*map(Fraction, unit_of(unit).dims))


def _dims(law):
    constants = {name: _unit_dim(constant.unit) for name, constant in CONSTANTS.items()}
    return constants | {part.symbol: _unit_dim(part.units[0]) for part in law.parts}


def _dim_of(formula, law):
    return _dim(evaluate(formula, _dims(law), functions=DIM_FUNCTIONS))


def _ids(value):
    return getattr(value, "name", None)


@functools.cache
def _problems(law_name):
    return [
        draw_problem(random.Random(f"{law_name} {asked} {i}"), BY_NAME[law_name], asked=asked)
        for asked in BY_NAME[law_name].asks
        for i in range(DRAWS)
    ]


def _answer_in_si(problem):
    return unit_of(problem.truth.unit).to_si(problem.truth.value)


def _residuals(law, values):
    """Relative residual of each relation whose symbols all have values."""
    found = {}
    for relation in law.relations:
        if names_in(relation) <= values.keys():
            left, right = (evaluate(side, values) for side in sides(relation))
            found[relation] = abs(left - right) / max(abs(left), abs(right))
    return found


def test_there_are_hundreds_of_templates(capsys):
    wordings = len(ASKS) * len(WORDINGS)
    units = sum(len(law.part[asked].units) for law, asked in ASKS) * len(WORDINGS)
    with capsys.disabled():
        print(
            f"\nSTEM: {len(LAWS)} laws, {sum(len(law.relations) for law in LAWS)} relations, "
            f"{len(ASKS)} questions, {wordings} with wordings, {units} with units of the answer"
        )
    assert len(LAWS) == len(BY_NAME) >= 100
    assert len(ASKS) >= 290
    assert units >= 2000


def test_every_subject_has_every_level_and_most_questions_take_two_steps():
    for subject in ("physics", "chemistry", "biology"):
        assert {law.level for law in LAWS if law.subject == subject} == {1, 2, 3}
    assert sum(law.level >= 2 for law in LAWS) >= 0.85 * len(LAWS)


@pytest.mark.parametrize("law", LAWS, ids=_ids)
def test_a_law_is_well_formed(law):
    symbols = [part.symbol for part in law.parts]
    assert len(set(symbols)) == len(symbols)
    assert not set(symbols) & (CONSTANTS.keys() | FUNCTIONS.keys())
    assert law.asks
    above = set(CONSTANTS)
    for part in law.parts:
        assert names_in(part.formula or "1") <= above, f"{part.symbol} is computed too early"
        assert [bool(part.formula), bool(part.options), part.low < part.high].count(True) == 1
        above.add(part.symbol)
    for asked, formula in law.inverse.items():
        assert not law.part[asked].formula
        assert asked not in law.known_for(asked), f"{asked} is computed from itself"
        assert names_in(formula) <= above


@pytest.mark.parametrize("law", LAWS, ids=_ids)
def test_both_sides_of_every_formula_have_the_same_dimension(law):
    dims = _dims(law)
    for part in law.parts:
        assert all(_unit_dim(unit) == dims[part.symbol] for unit in part.units)
        if part.formula:
            assert _dim_of(part.formula, law) == dims[part.symbol], part.symbol
    for asked, formula in law.inverse.items():
        assert _dim_of(formula, law) == dims[asked], asked
    for relation in law.relations:
        left, right = (_dim_of(side, law) for side in sides(relation))
        assert left == right, relation


@pytest.mark.parametrize("law", LAWS, ids=_ids)
def test_an_answer_satisfies_the_laws_and_a_wrong_one_does_not(law):
    for problem in _problems(law.name):
        asked, answer = problem.asked, _answer_in_si(problem)
        values = law.complete({**problem.known, asked: answer})
        assert max(_residuals(law, values).values()) < 1e-9, asked

        wrong = _residuals(law, values | {asked: answer * 1.02})
        assert max(wrong.values()) > 1e-4, f"no relation holds {asked}"


@pytest.mark.parametrize("law", LAWS, ids=_ids)
def test_a_wrong_factor_in_any_formula_breaks_a_relation(law):
    # The test above is worth something: no formula could be wrong without its notice.
    for part in filter(lambda part: part.formula, law.parts):
        bad = dataclasses.replace(part, formula=f"({part.formula})*1.05")
        parts = tuple(bad if part is each else each for each in law.parts)
        assert _worst(dataclasses.replace(law, parts=parts)) > 1e-4, part.symbol
    for asked, formula in law.inverse.items():
        inverse = {**law.inverse, asked: f"({formula})*1.05"}
        assert _worst(dataclasses.replace(law, inverse=inverse)) > 1e-4, asked


def _worst(law):
    """Largest residual over one problem for each quantity asked."""
    worst = 0.0
    for problem in _problems(law.name)[::DRAWS]:
        answer = law.answer(problem.asked, problem.known)
        values = law.complete({**problem.known, problem.asked: answer})
        worst = max(worst, *_residuals(law, values).values())
    return worst


@pytest.mark.parametrize("law", LAWS, ids=_ids)
def test_every_relation_checks_some_answer(law):
    checked = set()
    for problem in _problems(law.name):
        values = law.complete({**problem.known, problem.asked: _answer_in_si(problem)})
        checked |= _residuals(law, values).keys()
    assert checked == set(law.relations)


@pytest.mark.parametrize("law", LAWS, ids=_ids)
def test_careful_rounding_keeps_an_answer_within_its_tolerance(law):
    # A solver who keeps four digits is never wrong for that: no template is ill-conditioned.
    for problem in _problems(law.name):
        asked_unit = unit_of(problem.truth.unit)
        for symbol, value in problem.known.items():
            unit = unit_of(law.part[symbol].units[0])
            for factor in (1 - 1e-4, 1 + 1e-4):
                rounded = unit.to_si(unit.from_si(value) * factor)
                moved = law.answer(problem.asked, {**problem.known, symbol: rounded})
                assert problem.truth.allows(asked_unit.from_si(moved)), (problem.asked, symbol)


@pytest.mark.parametrize("law", LAWS, ids=_ids)
def test_a_question_states_its_quantities_its_unit_and_its_tolerance(law):
    for problem in _problems(law.name):
        question = problem.question
        assert question[0].isupper()
        assert "{" not in question
        assert f" in {problem.truth.unit}" in question or not problem.truth.unit
        assert "An error of up to " in question
        assert question.endswith(" is accepted.")
        assert len(question) < 900
        for symbol in (problem.asked, *problem.known):
            assert law.part[symbol].words.lower() in question.lower()


@pytest.mark.parametrize("law", LAWS, ids=_ids)
def test_an_answer_is_a_handy_number_with_its_tolerance_in_the_same_unit(law):
    for problem in _problems(law.name):
        assert problem.truth.atol * unit_of(problem.truth.unit).scale == pytest.approx(
            law.part[problem.asked].atol
        )
        assert 1e-4 < abs(problem.truth.value) < 1e6 or law.name in VERY_LARGE_OR_SMALL


def test_a_question_gives_just_what_its_answer_needs():
    law = BY_NAME["rough_incline"]
    assert law.known_for("v") == {"g_n", "theta", "mu", "L"}  # the acceleration is a hidden step
    assert law.known_for("L") == {"g_n", "theta", "mu", "v"}
    assert law.known_for("mu") == {"g_n", "theta", "L", "v"}


# (law, asked, values given in SI, answer in SI), each by hand.
BY_HAND = [
    # 20 m/s x 1 s = 20 m; 400/(2 x 0.5 x 9.81) = 40.775 m; together 60.775 m.
    ("stopping_distance", "D", {"v": 20, "t_r": 1, "mu": 0.5}, 60.775),
    # sin 30 = 0.5: v = sqrt(40 x 9.81 / sin 60) = sqrt(392.4/0.866025) = 21.286.
    ("projectile_range", "v", {"d": 40, "theta": 0.523599}, 21.286),
    # u = 0.01 x 400/2.01 = 1.99005; h = 3.96030/19.62 = 0.20185.
    ("ballistic_pendulum", "h", {"m": 0.01, "M": 2, "v": 400}, 0.20185),
    # r = 6371 km + 629 km = 7e6 m; v^2 = 6.674e-11 x 5.972e24/7e6 = 5.69388e7; v = 7545.8.
    ("satellite", "v", {"z": 629e3}, 7545.8),
    # Rp = 60 x 30/90 = 20; I = 12/(10 + 20) = 0.4 A.
    ("series_and_parallel", "I", {"U": 12, "R1": 10, "R2": 60, "R3": 30}, 0.4),
    # U2 = 8 V on R3 = 30 ohm: 64/30 = 2.1333 W.
    ("series_and_parallel", "P3", {"U": 12, "R1": 10, "R2": 60, "R3": 30}, 2.13333),
    # h c/lam = 6.626e-34 x 2.998e8/200e-9 = 9.93237e-19 J; less 4.806e-19 (3 eV) = 5.12637e-19 J.
    ("photoelectric_effect", "E", {"lam": 200e-9, "phi": 4.806e-19}, 5.12637e-19),
    # Two half-lives: a quarter.
    ("radioactive_decay", "A", {"A0": 8e6, "T": 3600, "t": 7200}, 2e6),
    # 1/f = 1/0.3 + 1/0.15 = 10: f = 0.1 m.
    ("thin_lens", "f", {"g": 0.3, "b": 0.15}, 0.1),
    # p V/(R T) = 1e5 x 0.0249/(8.314 x 299.5) = 0.99997 mol of nitrogen: 28.009 g.
    ("gas_bottle", "m", {"M": 0.02801, "V": 0.0249, "T": 299.5, "p": 1e5}, 0.028009),
    # 0.1 kg x 4186 x (60 - T) = 0.3 x 4186 x (T - 20): T = 30 degC = 303.15 K.
    ("mixing_water", "Tf", {"m1": 0.1, "T1": 333.15, "m2": 0.3, "T2": 293.15}, 303.15),
    # 1 mol/L x 10 mL in 1 L is 0.01 mol/L: pH 2.
    ("diluted_strong_acid", "pH", {"c1": 1000, "V1": 1e-5, "V2": 1e-3}, 2.0),
    # Ka = 1e-4, c = 0.01: H = (-1e-4 + sqrt(1e-8 + 4e-6))/2 = 9.5125e-4; pH = 3.02171.
    ("weak_acid", "pH", {"pKa": 4, "c": 10}, 3.02171),
    # Equal amounts of acid and salt: pH = pKa.
    ("buffer", "pH", {"pKa": 4.76, "ca": 100, "Va": 1e-4, "cb": 200, "Vb": 5e-5}, 4.76),
    # 16.046 g of methane: 1 mol gives 44.01 g of CO2.
    ("burning_an_alkane", "m2", {"n": 1, "m": 0.016046}, 0.04401),
    # 965 A s is 0.0100016 mol of electrons, 0.0050008 mol of copper, 0.31780 g.
    ("electroplating", "m", {"M": 0.06355, "I": 1, "t": 965}, 3.1780e-4),
    # 8.314 x 298.15/(2 x 96485) x ln 0.01 = 0.0128455 x -4.60517 = -0.059156: E = 1.1592 V.
    ("galvanic_cell", "E", {"E0": 1.1, "c1": 10, "c2": 1000}, 1.15916),
    # 18.016 g glucose in 1 kg: 0.1 mol/kg, 0.186 K below 273.15 K.
    ("freezing_point", "Tf", {"M": 0.18016, "Kf": 1.86, "ms": 0.018016, "mw": 1}, 272.964),
    # 100 kJ/mol - 300 K x 100 J/(mol K), both negative: -100 + 30 = -70 kJ/mol.
    ("gibbs_energy", "dG", {"dH": -1e5, "dS": -100, "T": 300}, -7e4),
    # I = Ki doubles Km to 2: v = 30 x 4/(2 + 4) = 20.
    ("competitive_inhibition", "v", {"V": 30, "Km": 1, "S": 4, "I": 5, "Ki": 5}, 20),
    # 8.314 x 310/96485 x ln(4/140) = 0.0267124 x -3.55535 = -0.094972 V.
    ("nernst_potential", "V", {"co": 4, "ci": 140, "T": 310}, -0.094972),
    # q = 0.1: 2 x 0.1 x 0.9 x 1000 = 180 carriers.
    ("hardy_weinberg", "C", {"f": 0.01, "n": 1000}, 180),
    # Three doublings.
    ("exponential_growth", "N", {"N0": 1e9, "Td": 1200, "t": 3600}, 8e9),
    # 300 marked x 200 caught/20 = 3000 fish on 1e4 m^2.
    ("mark_and_recapture", "D", {"M": 300, "C": 200, "R": 20, "A": 1e4}, 0.3),
    # 250 mL/min / (200 - 150 mL/L) = 5 L/min.
    ("fick_principle", "Q", {"O": 250e-6 / 60, "a": 0.2, "b": 0.15}, 5e-3 / 60),
    # 16 kg: 16^(3/4) = 8.
    ("kleiber", "P", {"B": 3.4, "m": 16}, 27.2),
    # (P/P50)^h = 1 at half saturation.
    ("haemoglobin", "S", {"p": 3500, "p50": 3500, "h": 2.7}, 0.5),
]


@pytest.mark.parametrize(("name", "asked", "known", "answer"), BY_HAND)
def test_problems_worked_by_hand_agree(name, asked, known, answer):
    law = BY_NAME[name]
    assert law.known_for(asked) - CONSTANTS.keys() == known.keys()
    assert law.answer(asked, known) == pytest.approx(answer, rel=3e-5)
