"""What weakens an evaluation, in plain sentences. Refuses to flatter."""

from __future__ import annotations

from copris_core.evaluation.eval_result import EvalResult
from copris_core.evaluation.eval_task import TaskResult

FEW_PROMPTS = 50
"""Below this a percentile bootstrap covers less than it says."""
NOTED_RATE = 0.05
"""Samples cut off or without an answer are told of from this share on."""


def eval_notes(result: EvalResult) -> list[str]:
    """Sentences by task; none where nothing is to be said."""
    return [sentence for task in result.tasks for sentence in _task_notes(task)]


def _task_notes(task: TaskResult) -> list[str]:
    said = []
    accuracy = task.pass_at[1]
    if task.num_prompts < FEW_PROMPTS:
        said.append(
            f"{task.task} has {task.num_prompts} prompts: its intervals are rough and rather too "
            "narrow."
        )
    if accuracy.low == accuracy.high:
        said.append(
            f"{task.task}: all prompts fare the same, so its interval has no width; that is no "
            "proof that the next prompt would."
        )
    if task.truncated.estimate >= NOTED_RATE:
        said.append(
            f"{task.task}: {task.truncated.estimate:.1%} of the samples were cut off at the token "
            "limit; raise --max-tokens before you compare its accuracy with others."
        )
    if task.unparsable.estimate >= NOTED_RATE:
        said.append(
            f"{task.task}: {task.unparsable.estimate:.1%} of the samples hold no final answer "
            "that the verifier finds; read some of them in eval.html."
        )
    return said
