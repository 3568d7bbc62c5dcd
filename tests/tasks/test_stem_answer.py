r"""Answers to STEM problems: golden, adversarial, and what the verifier says of each."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks.stem_answer import Truth, final_answer, judge, plain


def _truth(value: float, unit: str, *, rtol: float = 0.01, atol: float = 0.0) -> Truth:
    return Truth(value=value, unit=unit, rtol=rtol, atol=atol)


SPEED = _truth(25.0, "m/s")

# (answer in the box, value and unit asked for)
RIGHT = [
    ("25 m/s", 25, "m/s"),
    ("25.2 m/s", 25, "m/s"),
    ("90 km/h", 25, "m/s"),
    (r"25\ \text{m/s}", 25, "m/s"),
    (r"25~\mathrm{m\,s^{-1}}", 25, "m/s"),
    (r"25\,\frac{\text{m}}{\text{s}}", 25, "m/s"),
    (r"v_{f} = 25\;\mathrm{m}/\mathrm{s}", 25, "m/s"),
    (r"v \approx 25\text{ m/s}.", 25, "m/s"),
    (r"\approx 25 m/s", 25, "m/s"),
    (r"25 \cdot \mathrm{m/s}", 25, "m/s"),
    (r"\textbf{25 m/s}", 25, "m/s"),
    (r"\mathbf{25}\,\mathrm{m}\,\mathrm{s}^{-1}", 25, "m/s"),
    ("12 breaths per minute", 12, "breaths/min"),
    ("12 /min", 12, "breaths/min"),
    ("$25$ meters per second", 25, "m/s"),
    ("25 m·s⁻¹", 25, "m/s"),
    ("25 m\u00a0s\u207b\u00b9", 25, "m/s"),
    ("\u22125 m/s", -5, "m/s"),
    ("3.0e8 m/s", 3e8, "m/s"),
    (r"3.0 \times 10^{8}\ \mathrm{m/s}", 3e8, "m/s"),
    ("3.0 x 10^8 m/s", 3e8, "m/s"),
    ("3.0\u00d710⁸ m/s", 3e8, "m/s"),
    ("3*10**8 m/s", 3e8, "m/s"),
    ("300,000 km/s", 3e8, "m/s"),
    (r"10^{-5}\ \text{M}", 1e-5, "mol/L"),
    (r"3{,}000\ \text{Pa}", 3, "kPa"),
    (r"3\,000\ \text{Pa}", 3, "kPa"),
    (r"9.8\ \mathrm{kg\,m^2/s^2}", 9.8, "J"),
    (r"9.8\ \mathrm{kg \cdot m^{2} \cdot s^{-2}}", 9.8, "J"),
    ("9.8 N m", 9.8, "J"),
    ("0.5 mol/L", 0.5, "mol/L"),
    ("0.5 M", 0.5, "mol/L"),
    ("500 mM", 0.5, "mol/L"),
    ("20 cm^3", 20, "mL"),
    (r"20\ \text{cm}^3", 20, "mL"),
    (r"4.2\ \mu\text{m}", 4.2, "um"),
    ("4.2 µm", 4.2, "um"),
    (r"4.7\ \text{k}\Omega", 4.7, "kohm"),
    (r"4.7\ \Omega", 4.7, "ohm"),
    ("4.7 kΩ", 4.7, "kohm"),
    (r"37^\circ\text{C}", 37, "degC"),
    (r"37\,^{\circ}\mathrm{C}", 37, "degC"),
    ("37 °C", 37, "degC"),
    ("37 degrees Celsius", 37, "degC"),
    ("310.15 K", 37, "degC"),
    (r"30^\circ", 30, "deg"),
    ("30", 30, "deg"),
    ("0.5236 rad", 30, "deg"),
    (r"12.5\%", 12.5, "%"),
    ("12.5", 12.5, "%"),
    ("0.33", 0.33, ""),
    ("33 %", 0.33, ""),
    ("pH = 4.75", 4.75, ""),
    ("-95.4 kJ/mol", -95.4, "kJ/mol"),
    (r"\Delta G = -95{,}400\ \text{J mol}^{-1}", -95.4, "kJ/mol"),
    ("8.31 J/mol K", 8.31, "J/(mol K)"),
    ("2.5 eV", 4.005e-19, "J"),
    ("2.0e6 cells per mL", 2e6, "cells/mL"),
    ("150 individuals", 150, "individuals"),
    ("150", 150, "individuals"),
]


@pytest.mark.parametrize(("answer", "value", "unit"), RIGHT)
def test_a_right_number_in_any_fitting_unit_is_right(answer, value, unit):
    verdict = judge(rf"So the answer is \boxed{{{answer}}}.", _truth(value, unit))
    assert (verdict.score, verdict.reason) == (1.0, "correct")


WRONG = [
    ("25", "unit missing"),
    (r"25\text{}", "unit missing"),
    ("25 m", "wrong dimension: m"),
    ("25 m/s^2", "wrong dimension: m/s^2"),
    ("25 m s", "wrong dimension: m s"),
    ("25 s/m", "wrong dimension: s/m"),
    ("25 km/s", "wrong power of ten"),
    ("0.025 m/s", "wrong power of ten"),
    ("-25 m/s", "wrong sign"),
    ("26 m/s", "wrong number"),
    ("25 m/s or 26 m/s", "more than one number"),
    ("25, 26 m/s", "number not understood"),
    ("25 m/s = 91 km/h", "more than one number"),
    ("5^2 m/s", "number not understood"),
    ("50/(2) m/s", "number not understood"),
    ("50/2 m/s", "number not understood"),
    ("2 25 m/s", "more than one number"),
    ("25,0 m/s", "number not understood"),
    ("25.0.0 m/s", "number not understood"),
    ("between 24 and 26 m/s", "no number"),
    (r"25 \pm 1 m/s", "more than one number"),
    (r"\frac{50}{2} m/s", "no number"),
    (r"> 24 m/s", "no number"),
    ("25 m/s, to be exact", "unit not understood: m/s, to be exact"),
    ("25 furlongs", "unit not understood: furlongs"),
    ("twenty-five m/s", "no number"),
    ("nan m/s", "no number"),
    ("inf m/s", "no number"),
    ("1e999 m/s", "number too large"),
    ("1e-999 m/s", "wrong number"),
    ("\u0662\u0665 m/s", "no number"),  # ARABIC-INDIC DIGITS
    ("25 m/ѕ", "unit not understood: m/ѕ"),  # noqa: RUF001, CYRILLIC DZE
    ("", "no number"),
    ("m/s", "no number"),
]


@pytest.mark.parametrize(("answer", "reason"), WRONG)
def test_what_is_not_one_right_number_with_its_unit_scores_nothing(answer, reason):
    verdict = judge(rf"\boxed{{{answer}}}", SPEED)
    assert (verdict.score, verdict.reason) == (0.0, reason)


MARKS = [
    (r"\boxed{24 m/s} Wait. \boxed{25 m/s}", 1.0),
    (r"\boxed{25 m/s} Wait. \boxed{24 m/s}", 0.0),
    ("#### 25 m/s", 1.0),
    ("#### 25 m/s\nI hope this helps.", 1.0),
    ("Answer: 25 m/s", 1.0),
    ("**Final answer:** 25 m/s", 1.0),
    ("Answer:\n25 m/s", 1.0),
    (r"Answer: $\boxed{25\ \mathrm{m/s}}$", 1.0),
    ("Answer: 24 m/s\n#### 25 m/s", 1.0),
    ("\\boxed{25 m/s}\nAnswer: 24 m/s", 0.0),
    ("\\boxed{25 m/s", 0.0),
    ("25 m/s", 0.0),
    (r"\boxed{25} m/s", 0.0),  # the unit stands outside
    ("The answer is 25 m/s", 0.0),
    ("", 0.0),
]


@pytest.mark.parametrize(("text", "score"), MARKS)
def test_the_last_mark_counts(text, score):
    assert judge(text, SPEED).score == score


def test_no_mark_is_told_apart_from_an_empty_one():
    assert judge("25 m/s", SPEED).reason == "no marked answer"
    assert judge("####", SPEED).reason == "no number"
    assert final_answer("Answer:") == ""


def test_a_bare_number_is_in_the_unit_asked_when_there_is_no_dimension():
    assert judge(r"\boxed{0.125}", _truth(12.5, "%")).score == 0
    assert judge(r"\boxed{0.5236}", _truth(30, "deg")).score == 0
    assert judge(r"\boxed{310.15}", _truth(310.15, "K")).reason == "unit missing"


def test_the_greater_of_the_two_tolerances_counts():
    near_zero = _truth(0.1, "mV", atol=0.3)
    assert [judge(rf"\boxed{{{x} mV}}", near_zero).score for x in (-0.19, 0.39, 0.41)] == [1, 1, 0]
    large = _truth(1000, "mV", atol=0.3)
    assert [judge(rf"\boxed{{{x} V}}", large).score for x in (0.991, 1.009, 1.011)] == [1, 1, 0]


def test_numbers_at_the_end_of_the_floats_are_only_wrong():
    small = _truth(1e-7, "m/s")
    for number in ("1e308", "-1e308", "5e-324", "1e-310", "0", "-0.0"):
        assert judge(rf"\boxed{{{number} m/s}}", small).score == 0


def test_a_temperature_is_compared_in_the_unit_asked():
    # 1% of 20 degC is 0.2 K, not 1% of 293 K.
    assert judge(r"\boxed{293.3 K}", _truth(20, "degC")).score == 1
    assert judge(r"\boxed{294.3 K}", _truth(20, "degC")).score == 0


def test_a_truth_survives_its_json_and_the_json_is_sorted():
    truth = _truth(1.5e-7, "mol^2/L^2", atol=0.5)
    assert Truth.load(truth.dump()) == truth
    assert list(json.loads(truth.dump())) == ["atol", "rtol", "unit", "value"]


LONG = [
    "9" * 1_000_000,
    r"\boxed{" * 150_000,
    r"\boxed{" + "9" * 1_000_000 + "}",
    r"\boxed{25 m/s}" + " and so on" * 100_000,
    "Answer:" * 150_000,
    "Answer:" + " " * 1_000_000 + "25 m/s",
    "####" * 250_000,
    r"\boxed{25 " + "(" * 180 + "}",
    r"\boxed{25 " + "m^9" * 60 + "}",
    r"\boxed{1" + ",000" * 45 + " m/s}",
    r"\boxed{" + r"\text{" * 30 + "}",
    "\\boxed{25" + "\\" * 150 + "}",
    "\\boxed{" + "=" * 190 + "}",
    "\\boxed{25 " + "Tm^12" * 15 + "}",
    "\ud800\\boxed{25 \ud800}",
]


def test_huge_and_crooked_texts_are_judged_at_once():
    started = time.perf_counter()
    scores = [judge(text, SPEED).score for text in LONG]
    assert time.perf_counter() - started < 2
    assert scores == [0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]


@given(
    st.text(max_size=120) | st.text(alphabet="0123456789.,eE+-^x*/ (){}\\msgKC%=~", max_size=120)
)
def test_no_answer_raises_or_leaves_0_and_1(answer):
    for text in (rf"\boxed{{{answer}}}", f"Answer: {answer}"):
        verdict = judge(text, SPEED)
        assert verdict.score in (0.0, 1.0)
        assert verdict.reason


@given(value=st.floats(1e-6, 1e9), factor=st.floats(0.5, 2))
def test_a_plain_answer_is_right_exactly_within_the_tolerance(value, factor):
    verdict = judge(f"#### {value * factor!r} m/s", _truth(value, "m/s"))
    if abs(abs(factor - 1) - 0.01) > 1e-9:
        assert verdict.score == (abs(factor - 1) < 0.01)


def test_latex_comes_off():
    assert plain(r"2~\mathrm{m\,s^{-2}}") == "2 m s^(-2)"
    assert plain(r"\left(5\right)\,\mu\mathrm{F}") == "(5) uF"
