"""eval.html: one file to read samples in, light and dark, also on a phone.

Refuses to fetch, and its content policy lets nothing run but its own script: what a model wrote
can never become markup.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from copris_core.evaluation.eval_result import EvalResult
from copris_core.evaluation.eval_task import TaskResult
from copris_core.report.eval_notes import eval_notes
from copris_core.report.eval_page_data import PageData
from copris_core.report.eval_script import SCRIPT
from copris_core.report.eval_tables import eval_tables, settings_table
from copris_core.report.eval_template import STYLE, TEMPLATE
from copris_core.report.numbers import UNKNOWN, show, show_count


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a reader in a hurry wants of one task."""

    name: str
    """Of the task."""
    accuracy: str
    """pass@1."""
    interval: str
    """Its ends."""
    facts: Sequence[tuple[str, str]]
    """Names and values below it."""


def render_eval(
    result: EvalResult, *, data: PageData, title: str, settings: Mapping[str, object]
) -> str:
    """The page as text.

    Args:
        result: what the tables show.
        data: the samples that can be read.
        title: heading of the page.
        settings: how the samples were made, by name; may be empty.
    """
    # Only pages need the template engine.
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(TEMPLATE)
    tables = [*eval_tables(result), *([settings_table(settings)] if settings else [])]
    return template.render(
        title=title,
        style=STYLE,
        script=SCRIPT,
        script_hash=_hash(SCRIPT),
        cards=[_card(task) for task in result.tasks],
        notes=eval_notes(result),
        tables=tables,
        data=data,
    )


def _card(task: TaskResult) -> Card:
    accuracy, n = task.pass_at[1], task.num_samples
    majority = task.majority_at.get(n)
    facts = [("prompts", show_count(task.num_prompts)), ("samples of each", show_count(n))]
    if n > 1:
        facts += [
            (f"maj@{n}", UNKNOWN if majority is None else show(majority.estimate, 3)),
            (f"pass@{n}", show(task.pass_at[n].estimate, 3)),
        ]
    facts += [
        ("cut off", show(task.truncated.estimate, 3)),
        ("tokens", show(task.lengths.mean, 0)),
    ]
    return Card(
        name=task.task,
        accuracy=f"pass@1 {accuracy.estimate:.3f}",
        interval=f"[{accuracy.low:.3f}, {accuracy.high:.3f}]",
        facts=facts,
    )


def _hash(script: str) -> str:
    """What the content policy knows the script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
