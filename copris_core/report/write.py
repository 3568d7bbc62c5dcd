"""Run folders in, the whole report out: report.json, compare.png and report.html.

The one place of the room that ties its files together; refuses to compute or to draw.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from copris_core.report.compare import compare
from copris_core.report.page import Images, render_page
from copris_core.report.panels import Curves
from copris_core.report.picture import draw
from copris_core.report.ratios import labels
from copris_core.report.run_folder import (
    RunFolder,
    read_config,
    read_json,
    read_metrics,
    write_bytes,
    write_json,
    write_text,
)
from copris_core.report.summary import Summary


@dataclass(frozen=True, kw_only=True)
class ReportPaths:
    """Where the report lies."""

    json: Path
    """Summaries, ratios and notes for programs."""
    picture: Path
    """The four panels as PNG."""
    page: Path
    """The self-contained page."""


def write_report(
    folders: Sequence[Path], out: Path, *, on_torn: Callable[[str], None] = warnings.warn
) -> ReportPaths:
    """Compare finished runs, the first being the baseline, and write the report into ``out``.

    Args:
        folders: run folders with summary.json, metrics.jsonl and, if at hand, config.yaml.
        out: folder of the report; made if missing.
        on_torn: is told of a metrics line that a kill cut off.

    Raises:
        ValueError: if there is no run, or a file of one is missing or malformed; names it.
    """
    runs = [RunFolder(path=path) for path in folders]
    summaries = [Summary.from_json(read_json(run.summary_path)) for run in runs]
    report = compare(summaries)
    curves = [
        Curves(label=label, summary=summary, rows=read_metrics(run.metrics_path, on_torn=on_torn))
        for label, summary, run in zip(labels(summaries), summaries, runs, strict=True)
    ]
    images = _images(curves)
    page = render_page(
        summaries, configs=[read_config(run.config_path) for run in runs], images=images
    )
    out.mkdir(parents=True, exist_ok=True)
    paths = ReportPaths(
        json=out / "report.json", picture=out / "compare.png", page=out / "report.html"
    )
    write_json(paths.json, report)
    write_bytes(paths.picture, images.light_wide)
    write_text(paths.page, page)
    return paths


def _images(curves: Sequence[Curves]) -> Images:
    return Images(
        light_wide=draw(curves, theme="light", layout="wide"),
        light_tall=draw(curves, theme="light", layout="tall"),
        dark_wide=draw(curves, theme="dark", layout="wide"),
        dark_tall=draw(curves, theme="dark", layout="tall"),
    )
