"""Judged samples in, the whole report of an evaluation out: result.json, eval.md and eval.html.

The one place that ties its files together; refuses to compute.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from copris_core.evaluation.eval_result import RESAMPLES, EvalResult, evaluate
from copris_core.evaluation.eval_sample import EvalSample
from copris_core.evaluation.sample_grid import grids_by_task
from copris_core.report.eval_markdown import eval_markdown
from copris_core.report.eval_page import render_eval
from copris_core.report.eval_page_data import MAX_BYTES, page_data
from copris_core.report.run_folder import read_lines, write_json, write_text


@dataclass(frozen=True, kw_only=True)
class EvalPaths:
    """Where the report of an evaluation lies, and what it says."""

    json: Path
    """Every number, for programs."""
    markdown: Path
    """The tables."""
    page: Path
    """The self-contained page to read samples in."""
    result: EvalResult
    """The numbers."""


def read_samples(path: Path, *, on_torn: Callable[[str], None] = warnings.warn) -> list[EvalSample]:
    """Read samples.jsonl. A last line torn by a kill is left out and told to ``on_torn``.

    Raises:
        ValueError: if the file is missing or any other line is malformed; names the line.
    """
    if not path.is_file():
        raise ValueError(f"no samples at {path}: run copris eval first, or name its folder")
    return read_lines(path, _parse, on_torn=on_torn)


def write_eval(
    samples: Path | Sequence[EvalSample],
    out: Path,
    *,
    title: str = "Evaluation",
    settings: Mapping[str, object] | None = None,
    ks: Sequence[int] | None = None,
    rng_seed: int = 0,
    resamples: int = RESAMPLES,
    max_page_bytes: int = MAX_BYTES,
) -> EvalPaths:
    """Sum the samples up and write the report into ``out``, each file whole or not at all.

    Args:
        samples: all of them, or the samples.jsonl that holds them.
        out: folder of the report; made if missing.
        title: heading of page and tables.
        settings: how the samples were made, by name (JSON values).
        ks: k of pass@k and maj@k; None: powers of two up to n, and n.
        rng_seed: of the intervals, the votes' subsets and the part that a big page carries.
        resamples: bootstrap draws.
        max_page_bytes: above it the page carries a random part of the prompts, and says so.

    Raises:
        ValueError: samples that are no whole evaluation; one line that says what to do. Nothing
            is written then.
    """
    found = read_samples(samples) if isinstance(samples, Path) else samples
    result = evaluate(found, ks=ks, rng_seed=rng_seed, resamples=resamples)
    data = page_data(grids_by_task(found), rng_seed=rng_seed, max_bytes=max_page_bytes)
    settings = settings or {}
    page = render_eval(result, data=data, title=title, settings=settings)
    out.mkdir(parents=True, exist_ok=True)
    paths = EvalPaths(
        json=out / "result.json",
        markdown=out / "eval.md",
        page=out / "eval.html",
        result=result,
    )
    write_json(paths.json, {"settings": dict(settings), **result.to_json()})
    write_text(paths.markdown, eval_markdown(result, title=title, settings=settings))
    write_text(paths.page, page)
    return paths


def _parse(line: bytes, *, where: str) -> EvalSample:
    try:
        return EvalSample.from_json(json.loads(line))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{where} is not JSON: delete that line and run the eval again") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
