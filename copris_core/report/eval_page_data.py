"""The samples as the JSON that eval.html carries, whole or a drawn part of it.

What a model wrote is hostile text: nothing of it may close the script element that holds it.
Refuses to know how the page shows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from copris_core.evaluation.eval_sample import EvalSample
from copris_core.evaluation.sample_grid import SampleGrid

MAX_BYTES = 20_000_000
"""Most that a page carries: a phone still opens it."""

BETWEEN = ",\n"

ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
"""JSON's own spelling of what HTML or JavaScript would read as more than a letter."""


@dataclass(frozen=True, kw_only=True)
class PageData:
    """What the page carries."""

    json: str
    """A list with one object a prompt, safe within a script element."""
    shown: int
    """Prompts in it."""
    total: int
    """Prompts of the evaluation."""
    total_bytes: int
    """What all of them would take."""

    @property
    def remark(self) -> str:
        """What the page says of a part; "" where all is there."""
        if self.shown == self.total:
            return ""
        return (
            f"This page carries {self.shown:,} of the {self.total:,} prompts, drawn at random: all "
            f"would take {self.total_bytes / 1e6:.0f} MB. The tables are of all of them, and "
            "samples.jsonl has them all."
        )


def page_data(
    grids: Sequence[SampleGrid], *, rng_seed: int, max_bytes: int = MAX_BYTES
) -> PageData:
    """Every prompt where they fit, else a random part that fits, and at least one.

    Args:
        grids: the samples of each task.
        rng_seed: of the draw.
        max_bytes: bound of the JSON.
    """
    prompts = [json_text(prompt) for prompt in _prompts(grids)]
    sizes = [len(text.encode()) + len(BETWEEN) for text in prompts]
    chosen: Sequence[int] = range(len(prompts))
    if sum(sizes) > max_bytes:
        drawn = np.random.default_rng(rng_seed).permutation(len(prompts))
        # Up to the first that does not fit: skipping it would favour short ones.
        fit = int((np.cumsum(np.array(sizes)[drawn]) <= max_bytes).sum())
        chosen = sorted(int(place) for place in drawn[: max(fit, 1)])
    return PageData(
        json="[" + BETWEEN.join(prompts[place] for place in chosen) + "]",
        shown=len(chosen),
        total=len(prompts),
        total_bytes=sum(sizes),
    )


def json_text(value: object) -> str:
    """JSON that can stand in a script element and in UTF-8."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(ESCAPES)
    # A lone surrogate is a str in Python but has no UTF-8.
    return text.encode("utf-8", "replace").decode()


def _prompts(grids: Sequence[SampleGrid]) -> Iterator[dict[str, object]]:
    for grid in grids:
        for row in grid.rows:
            first = row[0]
            yield {
                "uid": first.uid,
                "task": grid.task,
                "question": first.question,
                "truth": first.ground_truth,
                "subject": first.subject,
                "level": first.level,
                "samples": [_sample(sample) for sample in row],
            }


def _sample(sample: EvalSample) -> list[object]:
    """In the order that the page's script takes apart; a list, as keys would double the page."""
    return [
        sample.response,
        sample.answer,
        sample.score,
        int(sample.correct),
        sample.reason,
        sample.num_tokens,
        int(sample.truncated),
    ]
