"""The mean number in flight is a time integral over the open spans only."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from copris_core.rollout.occupancy import InFlightMeter

# One span: (seconds it lasts, responses in flight during it). Whole seconds keep floats exact.
SPANS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 500)), min_size=1, max_size=20)


def _metered(spans: list[tuple[int, int]], *, begin_s: int = 0) -> InFlightMeter:
    meter = InFlightMeter()
    now_s = begin_s
    meter.start(now_s, spans[0][1])
    for seconds, in_flight in spans:
        meter.observe(now_s, in_flight)
        now_s += seconds
    meter.stop(now_s)
    return meter


def test_mean_in_flight_by_hand() -> None:
    # from 100 s: 2 run for 1 s, 8 for 3 s, 5 for 4 s: (2*1 + 8*3 + 5*4) / (1 + 3 + 4) = 46 / 8
    meter = InFlightMeter()
    meter.start(100.0, 2)
    meter.observe(101.0, 8)
    meter.observe(104.0, 5)
    meter.stop(108.0)
    assert (meter.mean, meter.open_s) == (5.75, 8.0)


def test_a_stage_may_be_read_while_it_runs() -> None:
    # after 1 s with 2 in flight and 1 s with 4: (2 + 4) / 2, whatever the count is from now on
    meter = InFlightMeter()
    meter.start(0.0, 2)
    meter.observe(1.0, 4)
    meter.observe(2.0, 100)
    assert (meter.mean, meter.open_s) == (3.0, 2.0)


def test_before_any_time_has_passed_the_mean_is_zero() -> None:
    meter = InFlightMeter()
    assert (meter.mean, meter.open_s) == (0.0, 0.0)
    meter.start(5.0, 7)
    meter.observe(5.0, 8)
    assert (meter.mean, meter.open_s) == (0.0, 0.0)


def test_what_is_seen_before_start_and_after_stop_does_not_count() -> None:
    meter = InFlightMeter()
    meter.observe(1.0, 50)
    meter.start(10.0, 4)
    meter.stop(12.0)
    meter.observe(20.0, 50)
    meter.stop(30.0)
    assert (meter.mean, meter.open_s) == (4.0, 2.0)


def test_a_new_stage_forgets_the_last_one() -> None:
    meter = _metered([(4, 10)])
    meter.start(100.0, 1)
    meter.stop(102.0)
    assert (meter.mean, meter.open_s) == (1.0, 2.0)


@given(spans=SPANS, begin_s=st.integers(0, 10**6))
def test_the_mean_is_weighted_by_time_wherever_the_clock_began(
    spans: list[tuple[int, int]], begin_s: int
) -> None:
    meter = _metered(spans, begin_s=begin_s)
    open_s = sum(seconds for seconds, _ in spans)
    area = sum(seconds * in_flight for seconds, in_flight in spans)
    assert meter.open_s == open_s
    assert meter.mean == (float(Fraction(area, open_s)) if open_s else 0.0)


@given(spans=SPANS)
def test_observing_the_same_count_more_often_changes_nothing(spans: list[tuple[int, int]]) -> None:
    halves = [half for seconds, count in spans for half in [(seconds, count)] * 2]
    doubled = [(2 * seconds, count) for seconds, count in spans]
    assert _metered(halves).mean == _metered(doubled).mean
