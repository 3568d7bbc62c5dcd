"""Units of the STEM task: what is read, and as what."""

from math import pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks.stem_units import MAX_UNIT_CHARS, ONE, Unit, unit_of, unit_readings

# (text, scale in SI, exponents of kg, m, s, A, K, mol), each worked out by hand.
READ = [
    ("m/s^2", 1, (0, 1, -2, 0, 0, 0)),
    ("m s^-2", 1, (0, 1, -2, 0, 0, 0)),
    ("m s-2", 1, (0, 1, -2, 0, 0, 0)),
    ("m*s^(-2)", 1, (0, 1, -2, 0, 0, 0)),
    ("m/s/s", 1, (0, 1, -2, 0, 0, 0)),
    ("m2", 1, (0, 2, 0, 0, 0, 0)),
    ("meters per second squared", 1, (0, 1, -2, 0, 0, 0)),
    ("km/h", 1 / 3.6, (0, 1, -1, 0, 0, 0)),
    ("kg m^2/s^2", 1, (1, 2, -2, 0, 0, 0)),
    ("kJ", 1e3, (1, 2, -2, 0, 0, 0)),
    ("kWh", 3.6e6, (1, 2, -2, 0, 0, 0)),
    ("kilojoules per mole", 1e3, (1, 2, -2, 0, 0, -1)),
    ("J/(mol K)", 1, (1, 2, -2, 0, -1, -1)),
    ("mM", 1, (0, -3, 0, 0, 0, 1)),
    ("mol/L", 1e3, (0, -3, 0, 0, 0, 1)),
    ("mL", 1e-6, (0, 3, 0, 0, 0, 0)),
    ("cm^3", 1e-6, (0, 3, 0, 0, 0, 0)),
    ("1/s", 1, (0, 0, -1, 0, 0, 0)),
    ("(1)/(s)", 1, (0, 0, -1, 0, 0, 0)),
    ("/s", 1, (0, 0, -1, 0, 0, 0)),
    ("per minute", 1 / 60, (0, 0, -1, 0, 0, 0)),
    ("min", 60, (0, 0, 1, 0, 0, 0)),
    ("m min", 60, (0, 1, 1, 0, 0, 0)),
    ("mg/dL", 1e-2, (1, -3, 0, 0, 0, 0)),
    ("um", 1e-6, (0, 1, 0, 0, 0, 0)),
    ("kohm", 1e3, (1, 2, -3, -2, 0, 0)),
    ("rpm", 2 * pi / 60, (0, 0, -1, 0, 0, 0)),
    ("beats/min", 1 / 60, (0, 0, -1, 0, 0, 0)),
    ("cells/mL", 1e6, (0, -3, 0, 0, 0, 0)),
    ("deg", pi / 180, (0, 0, 0, 0, 0, 0)),
    ("%", 0.01, (0, 0, 0, 0, 0, 0)),
]


@pytest.mark.parametrize(("text", "scale", "dims"), READ)
def test_a_unit_is_read_as_a_scale_and_a_dimension(text, scale, dims):
    unit = unit_readings(text)[0]
    assert unit.scale == pytest.approx(scale, rel=1e-12)
    assert (unit.dims, unit.offset) == (dims, 0)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "mm2x",
            "foo",
            "m//s",
            "*s",
            "//s",
            "m/",
            "m^",
            "m^13^2",
            "(m",
            "m)",
            "()",
            "m^1.5",
            "5 m",
        ),
        *("-", "m or s", "\u00b11 m", "Mday", "kmin", "((((((m))))))", "m" * 81, "π", "√m"),
    ],
)
def test_what_is_no_unit_has_no_reading(text):
    assert unit_readings(text) == ()


def test_a_slash_may_hold_for_one_factor_or_for_the_rest():
    # To the letter J/kg K is (J/kg) K; most who write it mean J/(kg K).
    strict, meant = unit_readings("J/kg K")
    assert strict.dims == (0, 2, -2, 0, 1, 0)
    assert meant == unit_of("J/(kg K)")
    assert unit_readings("J/(kg K)") == (unit_of("J kg^-1 K^-1"),)


def test_celsius_has_an_offset_only_alone():
    assert unit_of("degC").to_si(25.0) == 298.15
    assert unit_of("degC").from_si(273.15) == 0
    assert unit_of("J/(kg degC)") == unit_of("J/(kg K)")


def test_a_scale_that_leaves_the_floats_is_refused_without_an_error():
    assert unit_readings("(Tm^12)^12") == ()
    assert unit_readings("fm^12 fm^12 fm^12 fm^12 fm^12 fm^12 fm^12 fm^12 fm^12") == ()
    assert unit_readings("fm^6 fm^6 fm^6 fm^6") == ()
    assert unit_readings("m^99") == (Unit(scale=1.0, dims=(0, 99, 0, 0, 0, 0)),)


def test_a_unit_of_our_own_that_is_none_is_an_error():
    assert unit_of("") == ONE
    with pytest.raises(ValueError, match="'furlong' is not a unit"):
        unit_of("furlong")


@given(st.text(alphabet="mskgJK/^*() 1-23%dCe", max_size=MAX_UNIT_CHARS + 5))
def test_no_text_raises_and_a_scale_is_positive(text):
    assert all(0 < unit.scale < 1e200 for unit in unit_readings(text))


@given(number=st.floats(-1e9, 1e9), text=st.sampled_from([row[0] for row in READ] + ["degC", "K"]))
def test_there_and_back_is_the_same_number(number, text):
    unit = unit_readings(text)[0]
    assert unit.from_si(unit.to_si(number)) == pytest.approx(number, rel=1e-9, abs=1e-9)
