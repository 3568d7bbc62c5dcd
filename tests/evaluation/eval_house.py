"""Judged samples of which every number is known by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from copris_core.evaluation.eval_sample import EvalSample


def sample(**changes: Any) -> EvalSample:
    """A correct sample that ended by itself."""
    fields = {
        "uid": "sums:0",
        "task": "sums",
        "index": 0,
        "question": "What is 1,000 + 200?",
        "response": "It is 1,200.",
        "ground_truth": "1200",
        "answer": "1200",
        "score": 1.0,
        "correct": True,
        "reason": "1200 equals 1200",
        "num_tokens": 5,
        "finish": "stop",
        "subject": "",
        "level": "",
    }
    return EvalSample(**{**fields, **changes})


def prompt(
    number: int, answers: Sequence[str | None], *, task: str = "sums", **changes: Any
) -> list[EvalSample]:
    """One sample for each answer; ``right`` is the right one, None one that was not found."""
    return [
        sample(
            **{
                "uid": f"{task}:{number}",
                "task": task,
                "index": index,
                "question": f"question {number} of {task}",
                "ground_truth": "right",
                "answer": answer,
                "correct": answer == "right",
                "score": float(answer == "right"),
                "reason": f"{answer} against right",
                **changes,
            }
        )
        for index, answer in enumerate(answers)
    ]
