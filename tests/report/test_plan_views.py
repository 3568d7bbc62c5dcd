"""A plan's table fits a terminal of 100 columns, and its picture shows every strategy."""

import io
from typing import Any

import pytest
from rich.console import Console

from copris_core.report.plan_picture import LOOKS, _best_of_each, draw_plan
from copris_core.report.plan_table import plan_table

pytestmark = pytest.mark.slow  # draws


def _prediction(strategy: str, concurrency: int, **changes: Any) -> dict[str, Any]:
    """The widest numbers that are usual."""
    parts = {"decoding": 800.0, "empty slots": 300.0, "prefill": 90.0, "stop": 1.0, "update": 45.0}
    return {
        "strategy": strategy,
        "concurrency": concurrency,
        "step_s": 1236.0,
        "generate_s": 1191.0,
        "samples_per_s": 1234.5,
        "tokens_per_s": 1_234_567.0,
        "gain": 12.34,
        "occupancy": 1.0,
        "idle_generate": 0.75,
        "interruptions": 12.34,
        "lag_mean": 12.3,
        "lag_p95": 123,
        "prefilled_again": 4.69,
        "preemptions": 123.4,
        "allowed": True,
        "parts": parts,
        **changes,
    }


def _plan() -> dict[str, Any]:
    sweep = [
        _prediction(name, limit, samples_per_s=float(limit))
        for name in ("naive_partial", "oversample", "copris")
        for limit in (51_200, 102_400)
    ]
    adaptive = _prediction("copris_adaptive", 88_888)
    predictions = [_prediction("sync", 51_200, gain=1.0), *sweep, adaptive]
    return {"predictions": predictions, "knee": 102_400, "chosen": 51_200}


def _printed(plan: dict[str, Any], width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(plan_table(plan))
    return stream.getvalue()


def test_the_table_fits_a_hundred_columns_and_cuts_nothing() -> None:
    told = _printed(_plan(), 100)
    assert "…" not in told
    assert max(map(len, told.splitlines())) <= 100
    # every number of a row is there, in full
    row = next(line for line in told.splitlines() if line.startswith(" adaptive"))
    assert row.split()[1:] == [
        "88888",
        "20m36s",
        "19m51s",
        "1234",
        "12.34x",
        "1.23M",
        "1.00",
        "75%",
        "12.3",
        "12.3",
        "123",
        "469%",
        "123",
    ]


@pytest.mark.parametrize(
    ("tokens_per_s", "shown"),
    [(387.4, "387"), (99_999.0, "99,999"), (123_456.0, "123k"), (12_345_678.0, "12.3M")],
)
def test_many_tokens_are_shortened(tokens_per_s: float, shown: str) -> None:
    plan = _plan()
    plan["predictions"] = [_prediction("sync", 32, tokens_per_s=tokens_per_s)]
    assert f" {shown} " in _printed(plan, 100)


def test_the_knee_and_the_recommended_limit_are_marked() -> None:
    lines = _printed(_plan(), 100).splitlines()
    copris = [line.split()[1:3] for line in lines if line.startswith(" copris ")]
    assert copris == [["*", "51200"], ["k", "102400"]]
    both = _printed({**_plan(), "knee": 51_200}, 100).splitlines()
    assert [line.split()[1] for line in both if line.startswith(" copris ")] == ["k*", "102400"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_is_a_png_with_every_strategy(
    theme: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    drawn = []
    save = Figure.savefig

    def noting(self: Figure, *args: Any, **kinds: Any) -> None:
        drawn.append(self)
        save(self, *args, **kinds)

    monkeypatch.setattr(Figure, "savefig", noting)
    assert draw_plan(_plan(), theme=theme).startswith(b"\x89PNG")
    (figure,) = drawn
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len(LOOKS)
    seconds, lag, price, parts = figure.axes
    for axis in (seconds, lag, price):
        shown = [line for line in axis.lines if line.get_marker() not in ("None", "")]
        assert len(shown) == len(LOOKS)
    # the bars are sync, the best of each, and the recommended N' of CoPRIS
    names = [text.get_text() for text in parts.get_yticklabels()]
    assert names == [
        "sync\nN'=51200",
        "naive partial\nN'=102400",
        "oversample\nN'=102400",
        "CoPRIS\nN'=51200",
        "CoPRIS adaptive\nN'=88888",
    ]
    assert any("knee: N'=102400" in text.get_text() for text in seconds.texts)


def test_what_the_cap_forbids_is_nobodys_best() -> None:
    plan = _plan()
    for each in plan["predictions"]:
        each["allowed"] = each["strategy"] != "oversample" and each["concurrency"] < 100_000
    bars = [row["concurrency"] for row in _best_of_each(plan)]
    assert bars == [51_200, 51_200, 51_200, 88_888]
