"""The comparison in a terminal."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from copris_core.report.compared import Method
from copris_core.report.numbers import show, show_seconds
from copris_core.report.summary import Accuracy
from copris_core.report.table import comparison_table
from tests.report.compare_house import method_of, run_of


def _text(methods: list[Method], *, width: int = 100, colours: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system="standard" if colours else None)
    console.print(comparison_table(methods))
    return out.getvalue()


def _two_seeds(label: str, *, seconds: float = 10.0) -> Method:
    rates = enumerate((0.80, 0.91))
    return method_of(
        label,
        *(
            run_of(seed=seed, seconds=[seconds] * 4, validations={0: 0.1, 4: rate})
            for seed, rate in rates
        ),
    )


def test_one_row_a_method_with_every_number_whole_at_100_columns() -> None:
    lines = _text([_two_seeds("grpo"), _two_seeds("copris_cppo", seconds=8.0)]).splitlines()
    assert max(map(len, lines)) <= 100
    assert "…" not in "".join(lines)
    grpo, copris = (next(x for x in lines if name in x) for name in ("grpo", "copris_cppo"))
    assert grpo.split() == ["grpo", "2", "4", "-", "0.855", "[0.156,", "1.000]", "-"]
    assert "1.25x [1.25, 1.25]" in copris
    assert "+0.000 [+0.000, +0.000]" in copris


def test_one_seed_shows_the_error_of_its_validation() -> None:
    assert "0.10 -> 0.90 ± 0.02" in _text([method_of("grpo", run_of())])


def test_an_unmeasured_number_is_a_hyphen() -> None:
    blank = Accuracy(before=None, after=None, n=None, stderr=None)
    run = run_of(seconds=(), validations={})
    run = replace(run, summary=replace(run.summary, accuracy=blank))
    text = _text([method_of("grpo", run_of()), method_of("copris", run)])
    [line] = [x for x in text.splitlines() if "copris" in x]
    assert line.split() == ["copris", "1", "0", "-", "-", "->", "-", "-"]


def test_a_clear_loss_is_red_a_clear_gain_green_and_a_doubtful_one_plain() -> None:
    base = method_of("grpo", run_of())
    slow, fast = (method_of("x", run_of(seconds=[each] * 4)) for each in (12.5, 8.0))
    assert re.search(r"\x1b\[31m *0\.80x", _text([base, slow], colours=True))
    assert re.search(r"\x1b\[32m *1\.25x", _text([base, fast], colours=True))
    uneven = method_of("x", run_of(seconds=[5.0] * 4), run_of(seed=1, seconds=[9.0] * 4))
    assert "\x1b[32m" not in _text([_two_seeds("grpo"), uneven], colours=True)


def test_a_name_is_never_read_as_markup() -> None:
    assert "[red]x" in _text([method_of("[red]x", run_of())])


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        comparison_table([])


def test_seconds_are_written_in_the_unit_that_fits() -> None:
    written = [show_seconds(x) for x in (None, 0.04, 9.94, 9.96, 99.4, 99.6, 754, 5999.6, 11100)]
    assert written == ["-", "0.0s", "9.9s", "10s", "99s", "1m40s", "12m34s", "1h40m", "3h05m"]
    assert show(None, 2) == "-"
