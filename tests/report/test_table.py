import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from copris_core.report.numbers import show, show_seconds
from copris_core.report.summary import Accuracy, Summary
from copris_core.report.table import comparison_table

Make = Callable[..., Summary]


def _text(runs: list[Summary], *, width: int = 100, colours: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system="standard" if colours else None)
    console.print(comparison_table(runs))
    return out.getvalue()


def test_one_row_a_run_with_every_number_whole_at_100_columns(make_summary: Make) -> None:
    runs = [
        make_summary("grpo", samples_per_s=200.0, wall_s=5999.0),
        make_summary("copris_cppo", samples_per_s=310.0, occupancy=0.987, wall_s=400.0),
    ]
    lines = _text(runs).splitlines()
    assert max(map(len, lines)) <= 100
    assert "…" not in "".join(lines)
    grpo, copris = (next(x for x in lines if name in x) for name in ("grpo", "copris_cppo"))
    generate = show_seconds(runs[0].phases.generate)
    assert grpo.split()[1:7] == ["12", "99m59s", generate, "200.0", "1.00x", "-"]
    assert "310.0 1.55x    0.99   1.35" in copris
    assert "6m40s" in copris


def test_an_unmeasured_number_is_a_hyphen(make_summary: Make) -> None:
    blank = Accuracy(before=None, after=None, n=None, stderr=None)
    run = make_summary(accuracy=blank, max_logprob_gap=None, samples_per_s=None)
    [line] = [x for x in _text([run]).splitlines() if "grpo" in x]
    assert "- -> -" in line
    assert line.split()[-1] == "-"
    assert "nan" not in line.lower()
    assert "None" not in line


def test_a_loss_is_red_a_gain_green(make_summary: Make) -> None:
    base = make_summary(samples_per_s=10.0)
    assert "\x1b[31m0.80x" in _text([base, make_summary(samples_per_s=8.0, seed=1)], colours=True)
    assert "\x1b[32m1.20x" in _text([base, make_summary(samples_per_s=12.0, seed=1)], colours=True)


def test_a_name_is_never_read_as_markup(make_summary: Make) -> None:
    assert "[red]x" in _text([replace(make_summary(), experiment="[red]x")])


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        comparison_table([])


def test_seconds_are_written_in_the_unit_that_fits() -> None:
    written = [show_seconds(x) for x in (None, 0.04, 9.94, 9.96, 99.4, 99.6, 754, 5999.6, 11100)]
    assert written == ["-", "0.0s", "9.9s", "10s", "99s", "1m40s", "12m34s", "1h40m", "3h05m"]
    assert show(None, 2) == "-"
