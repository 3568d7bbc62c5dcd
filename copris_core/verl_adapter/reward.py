"""verl's reward function: asks the task that the row came from."""

from typing import Any

from copris_core.tasks import task_for


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **_: Any
) -> dict[str, float]:
    """Score one response in [0, 1]; ``acc`` is what validation averages."""
    verdict = task_for(data_source).score(solution_str, ground_truth)
    return {"score": verdict.score, "acc": float(verdict.score == 1.0)}
