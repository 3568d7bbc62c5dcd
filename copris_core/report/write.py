"""Methods in, the whole report out: report.html, report.md, report.json and every picture.

The one place of the room that ties its files together; refuses to compute or to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from copris_core.report.compare import compare
from copris_core.report.compared import Method
from copris_core.report.figures import Picture, draw_all
from copris_core.report.markdown import render_markdown
from copris_core.report.methods_notes import methods_notes
from copris_core.report.methods_tables import tables
from copris_core.report.page import render_page
from copris_core.report.run_folder import write_bytes, write_json, write_text

FIGURES = "figures"
"""Folder of the pictures, below the report's."""


@dataclass(frozen=True, kw_only=True)
class ReportPaths:
    """Where the report lies."""

    json: Path
    """Everything for programs."""
    text: Path
    """The same to read in a terminal or on a code host, with the pictures linked."""
    page: Path
    """The self-contained page."""
    picture: Path
    """The first picture as PNG."""


def write_report(
    methods: Sequence[Method],
    out: Path,
    *,
    failures: Sequence[str] = (),
    command: str | None = None,
) -> ReportPaths:
    """Write the report on ``methods``, the first being the baseline, into ``out``.

    Args:
        methods: with their finished runs.
        out: folder of the report; made if missing.
        failures: one line for each run that came to nothing.
        command: what makes this comparison, where somebody typed it.

    Raises:
        ValueError: if there is no method.
    """
    shown = tables(methods)
    said = methods_notes(methods, failures=failures)
    figures = draw_all(methods)
    facts = {"command": command, "failures": list(failures)}
    report = {**compare(methods, notes=said, tables=shown), **facts}
    page = render_page(methods, tables=shown, notes=said, figures=figures, command=command)
    paths = ReportPaths(
        json=out / "report.json",
        text=out / "report.md",
        page=out / "report.html",
        picture=out / "compare.png",
    )
    (out / FIGURES).mkdir(parents=True, exist_ok=True)
    links = [(each.title, each.remark, _write_picture(each, out)) for each in figures]
    write_bytes(paths.picture, figures[0].light_wide)
    write_json(paths.json, report)
    write_text(paths.text, render_markdown(methods, tables=shown, notes=said, pictures=links))
    write_text(paths.page, page)
    return paths


def _write_picture(picture: Picture, out: Path) -> str:
    """Write a picture as PNG and SVG; return the PNG's place, seen from ``out``."""
    write_bytes(out / FIGURES / f"{picture.name}.png", picture.light_wide)
    write_bytes(out / FIGURES / f"{picture.name}.svg", picture.svg)
    return f"{FIGURES}/{picture.name}.png"
