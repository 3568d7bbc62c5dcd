"""A prolonged run's stretches, its tables and its picture, from files as a run writes them."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from rich.console import Console

from copris_core import cli
from copris_core.cli_picture import split_picture
from copris_core.report.picture import DOTS_PER_INCH, INK
from copris_core.report.prolonged import Band, ProlongedRun, Reset, read_prolonged
from copris_core.report.prolonged_picture import (
    FLOOR_OF_TARGET,
    INCHES,
    Inks,
    accuracy,
    behaviour,
    divergence,
    draw_prolonged,
    mark,
    name_resets,
    waste,
)
from copris_core.report.prolonged_view import prolonged_view
from copris_core.report.run_folder import Row

pytestmark = pytest.mark.slow  # draws

BAND = Band(target=0.05, low=0.025, high=0.075)
BY_KL = Reset(step=4, reasons=("kl",), sentence="reset 1 at step 4: KL 0.09 is above 0.08")
BY_BOTH = Reset(
    step=6,
    reasons=("validation_degraded", "validation_stalled"),
    sentence="reset 2 at step 6: validation degraded; validation stalled",
)
INKS = Inks(ink="#111111", first="#0072B2", second="#D55E00", domains=("#0072B2", "#D55E00"))
KL = {1: 0.0, 2: 0.06, 3: 0.08, 4: 0.09, 5: -1e-9, 6: 0.02, 7: 0.0, 8: 0.01}
DAYS = {0: 0.0, 2: 0.2, 4: 0.1, 6: 0.6, 8: 0.5}


def _row(step: int) -> Row:
    row: Row = {
        "step": step,
        "prorl/kl_divergence": KL[step],
        "prorl/entropy": 0.1 * step,
        "prorl/avg_response_length": 10.0 * step,
        "update/kl_coefficient": 0.01 * step,
        "filter/groups_filtered": step % 2,
        "reward/truncated_fraction": 0.25,
    }
    return row | (_validation(DAYS[step]) if step in DAYS else {})


def _validation(days: float) -> Row:
    return {"val/days/accuracy": days, "val/logic/accuracy": 0.5, "val/blended": (days + 0.5) / 2}


def _run(**changes: Any) -> ProlongedRun:
    start: Row = {"step": 0, **_validation(DAYS[0])}
    fields: dict[str, Any] = {
        "name": "prorl_tiny",
        "rows": [start, *(_row(step) for step in KL)],
        "resets": (BY_KL, BY_BOTH),
        "restarts": (3, 6),
        "band": BAND,
    }
    return ProlongedRun(**fields | changes)


def _write(folder: Path) -> Path:
    """The run above as files; the second half is written by a second process."""
    rows = [{"time_s": 1.0, **row} for row in _run().rows]
    _lines(folder / "metrics.jsonl", rows)
    told = [
        {"step": each.step, "reasons": list(each.reasons), "sentence": each.sentence}
        for each in (BY_BOTH, BY_KL)
    ]
    _lines(folder / "resets.jsonl", told)
    resumed = [
        {"seq": i, "event": "resumed_run", "version": version, "from_seq": 0}
        for i, version in enumerate((3, 6, 6))
    ]
    _lines(folder / "ledger.jsonl", [*resumed, {"seq": 9, "event": "ended", "version": 8}])
    (folder / "config.yaml").write_text(
        "experiment_name: prorl_tiny\n"
        "kl_control: {name: adaptive, target: 0.05, lower_below: 0.5, raise_above: 1.5}\n"
    )
    return folder


def _lines(path: Path, objects: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in objects))


def _read(folder: Path) -> ProlongedRun:
    return read_prolonged(folder, on_torn=pytest.fail)


def _printed(run: ProlongedRun) -> str:
    stream = io.StringIO()
    Console(file=stream, width=100).print(prolonged_view(run))
    return stream.getvalue()


def _drawn(panel: Callable[..., None], run: ProlongedRun) -> tuple[Axes, list[Axes]]:
    """The panel, and the scales that it put on its right."""
    figure = Figure()
    axis = figure.subplots()
    panel(axis, run, INKS)
    return axis, figure.axes[1:]


# ---- numbers ----


def test_a_run_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    read = _read(_write(tmp_path))
    assert (read.resets, read.restarts, read.name) == ((BY_KL, BY_BOTH), (3, 6), "prorl_tiny")
    assert read.band is not None
    assert (read.band.target, read.band.low) == (0.05, 0.025)
    assert read.band.high == pytest.approx(0.075)
    assert read.stretches()[0].kl_max == 0.09
    assert (read.last_step, read.domains) == (8, ("days", "logic"))


def test_a_stretch_has_the_steps_held_to_one_reference() -> None:
    first, second, third = _run().stretches()
    assert [(x.first_step, x.last_step) for x in (first, second, third)] == [(1, 4), (5, 6), (7, 8)]
    assert [x.ended_by for x in (first, second, third)] == [BY_KL, BY_BOTH, None]
    # KL 0, .06, .08, .09: median .07; two of four are above .075
    assert first.kl_median == pytest.approx(0.07)
    assert (first.kl_max, first.kl_above) == (0.09, 0.5)
    assert (first.coefficient, first.filtered, first.truncated) == (0.04, 0.5, 0.25)
    assert (first.entropy, first.length) == (pytest.approx(0.25), pytest.approx(25.0))


def test_the_validation_before_training_is_where_the_first_stretch_begins() -> None:
    blends = [each.blended for each in _run().stretches()]
    assert [x and (x.first, x.best, x.best_step, x.last) for x in blends] == [
        (0.25, 0.35, 2, 0.3),
        (0.55, 0.55, 6, 0.55),
        (0.5, 0.5, 8, 0.5),
    ]


@given(st.sets(st.integers(1, 8)))
def test_every_training_step_is_in_one_stretch(steps: set[int]) -> None:
    resets = tuple(Reset(step=step, reasons=("kl",), sentence="") for step in sorted(steps))
    stretches = _run(resets=resets).stretches()
    told = [step for x in stretches for step in range(x.first_step, x.last_step + 1)]
    assert told == list(range(1, 9))
    assert all(x.first_step <= x.last_step for x in stretches)
    assert [x.ended_by for x in stretches if x.ended_by] == list(resets)


def test_what_was_not_measured_is_none_and_a_hyphen() -> None:
    rows: list[Row] = [{"step": 1, "prorl/entropy": 0.5}]
    run = _run(rows=rows, resets=(), restarts=(), band=None)
    (only,) = run.stretches()
    assert (only.blended, only.kl_median, only.kl_max, only.kl_above) == (None,) * 4
    assert (only.coefficient, only.length, only.filtered, only.truncated) == (None,) * 4
    told = _printed(run)
    assert "1 steps, 0 resets, never restarted" in told
    assert next(x for x in told.splitlines() if x.startswith(" 1-1")).split().count("-") == 8


def test_a_fixed_coefficient_has_no_band_and_other_files_may_be_absent(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "config.yaml").write_text("kl_control: {name: fixed, initial: 0.001}\n")
    for name in ("resets.jsonl", "ledger.jsonl"):
        (tmp_path / name).unlink()
    read = _read(tmp_path)
    assert (read.band, read.resets, read.restarts) == (None, (), ())
    assert read.name == tmp_path.name


def test_a_reset_that_is_being_written_is_left_out_and_a_broken_one_is_named(
    tmp_path: Path,
) -> None:
    path = _write(tmp_path) / "resets.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"step": 7, "reas')
    assert len(_read(tmp_path).resets) == 2
    path.write_text('{"step": 7}\n' + whole)
    with pytest.raises(ValueError, match=r"resets\.jsonl line 1 is no reset: mend or delete"):
        _read(tmp_path)


# ---- tables ----


def test_the_tables_fit_a_hundred_columns_and_tell_every_reason() -> None:
    told = _printed(_run())
    assert max(map(len, told.splitlines())) <= 100
    assert "…" not in told
    assert "prorl_tiny: 8 steps, 2 resets, restarted at step 3, 6" in told
    assert BY_KL.sentence in told
    assert "degraded, stalled" in told
    stretch = next(line for line in told.splitlines() if line.startswith(" 1-4"))
    assert stretch.split() == [
        *("1-4", "0.25/0.35/0.30", "0.07", "0.09", "50%", "0.04"),
        *("0.25", "25", "0.5", "25%", "KL"),
    ]
    days = next(line for line in told.splitlines() if line.startswith(" days"))
    assert days.split() == ["days", "0.000", "0.600", "6", "0.500"]


# ---- the picture ----


def test_the_picture_is_a_png_of_the_promised_size_and_paper() -> None:
    pixels = imread(io.BytesIO(draw_prolonged(_run(), theme="dark")))
    wide, high = (int(x * DOTS_PER_INCH) for x in INCHES)
    assert pixels.shape[:2] == (high, wide)
    assert to_hex(pixels[0, 0]) == INK["dark"][0]


def test_a_run_that_measured_nearly_nothing_is_drawn_and_says_so() -> None:
    rows: list[Row] = [{"step": 1, "prorl/response_budget": 9}]
    bare = _run(rows=rows, resets=(), restarts=(), band=None)
    for panel in (accuracy, divergence, behaviour, waste):
        axis, _ = _drawn(panel, bare)
        assert any("not measured" in text.get_text() for text in axis.texts)


def test_accuracy_is_drawn_for_each_domain_and_blended() -> None:
    axis, _ = _drawn(accuracy, _run())
    lines = {line.get_label(): line for line in axis.lines}
    assert lines.keys() == {"days", "logic", "blended"}
    assert list(lines["days"].get_xdata()) == [0, 2, 4, 6, 8]
    assert list(lines["logic"].get_ydata()) == [0.5] * 5


def test_a_kl_of_nothing_is_drawn_at_the_floor_of_the_log_scale() -> None:
    axis, (right,) = _drawn(divergence, _run())
    floor = FLOOR_OF_TARGET * BAND.target
    drawn = list(axis.lines[0].get_ydata())
    assert drawn == [floor, 0.06, 0.08, 0.09, floor, 0.02, floor, 0.01]
    assert axis.get_yscale() == right.get_yscale() == "log"
    (band,) = axis.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == (BAND.low, BAND.high)
    assert list(right.lines[0].get_ydata()) == [0.01 * step for step in KL]


def test_each_reset_and_each_restart_is_marked_at_its_step() -> None:
    axis = Figure().subplots()
    mark(axis, _run(), INKS)
    *resets, restarts = axis.lines
    assert [list(line.get_xdata()) for line in resets] == [[4, 4], [6, 6]]
    assert list(restarts.get_xdata()) == [3, 6]
    names = axis.get_legend_handles_labels()[1]
    assert names == ["reference reset", "process restarted"]


def test_each_reset_is_named_by_its_reasons() -> None:
    axis, _ = _drawn(name_resets, _run())
    assert [(text.get_text(), text.xy[0]) for text in axis.texts] == [  # type: ignore[attr-defined]
        ("KL", 4),
        ("degraded, stalled", 6),
    ]


# ---- the command ----


def test_the_command_prints_the_numbers_and_writes_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "it.png"
    assert cli.main(["picture", str(_write(tmp_path)), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert BY_BOTH.sentence in " ".join(told.split())
    assert told.endswith(f"{out}\n")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_without_out_the_picture_lies_in_the_run() -> None:
    assert split_picture(["runs/a"]).out == Path("runs/a/prolonged.png")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "the following arguments are required: run; see copris picture --help"),
        (["gone"], "no metrics at gone/metrics.jsonl: give the folder of a run that has started"),
        (["plain"], "plain has no prorl/ metrics: only a run with kl_control, reference_reset"),
        (["plain", "--wrong"], "unrecognized arguments: --wrong; see copris picture --help"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(
    words: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain").mkdir()
    _lines(Path("plain/metrics.jsonl"), [{"step": 1, "time_s": 1.0, "reward/mean": 0.5}])
    assert cli.main(["picture", *words]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"copris: {line}")
    assert told.err.count("\n") == 1
