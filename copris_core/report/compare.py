"""Several runs side by side: the object of report.json.

The first run is the baseline. Refuses to read files or to draw: summaries in, one object out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from copris_core.report.notes import notes
from copris_core.report.ratios import labels, speedup
from copris_core.report.summary import Summary


def compare(summaries: Sequence[Summary]) -> dict[str, Any]:
    """Report on runs, the first being the baseline.

    Returns:
        ``runs``: the summaries as in summary.json; ``speedup``: for each run's label the ratios
        of `ratios.SPEEDUPS`, None where a side was not measured; ``notes``: plain sentences.

    Raises:
        ValueError: if there is no run.
    """
    if not summaries:
        raise ValueError("nothing to compare: give at least one run")
    names = labels(summaries)
    return {
        "runs": [x.to_json() for x in summaries],
        "speedup": {x: speedup(run, summaries[0]) for x, run in zip(names, summaries, strict=True)},
        "notes": notes(summaries),
    }
