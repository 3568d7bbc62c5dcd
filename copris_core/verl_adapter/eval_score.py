"""Judges finished responses while others are sampled: verifiers may be slow, and run in threads."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final

from copris_core.evaluation.eval_sample import EvalSample
from copris_core.tasks.answers import final_answer
from copris_core.tasks.registry import task_for
from copris_core.tasks.task import Task
from copris_core.verl_adapter.eval_prompts import Prompt

JUDGED_WHOLE: Final = ("code", "instruction")
"""Tasks whose verifiers judge all of a response."""

WORKERS: Final = min(8, os.cpu_count() or 1)
"""Verifiers of code and mathematics wait for processes of their own."""


class Judge:
    """Takes responses in, hands judged samples out in the order in which they came."""

    def __init__(self) -> None:
        """Judge nothing yet."""
        self._pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="judge")
        self._waiting: deque[Future[EvalSample]] = deque()

    def __enter__(self) -> "Judge":
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop what nobody has taken."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def give(self, prompt: Prompt, index: int, text: str, *, num_tokens: int, finish: str) -> None:
        """A response has finished.

        Args:
            prompt: what it answers.
            index: which sample of the prompt.
            text: the response.
            num_tokens: its length.
            finish: "stop" or "length".
        """
        self._waiting.append(
            self._pool.submit(judge, prompt, index, text, num_tokens=num_tokens, finish=finish)
        )

    def judged(self) -> Iterator[EvalSample]:
        """Whatever is judged by now.

        Raises:
            ValueError: a verifier lacks something; one line.
        """
        while self._waiting and self._waiting[0].done():
            yield self._waiting.popleft().result()

    def rest(self) -> Iterator[EvalSample]:
        """Everything else; waits for it.

        Raises:
            ValueError: a verifier lacks something; one line.
        """
        while self._waiting:
            yield self._waiting.popleft().result()


def judge(prompt: Prompt, index: int, text: str, *, num_tokens: int, finish: str) -> EvalSample:
    """Judge one response by the verifier of its row.

    Raises:
        ValueError: the verifier lacks something.
    """
    task = task_for(prompt.data_source)
    verdict = task.score(text, prompt.ground_truth)
    return EvalSample(
        uid=prompt.uid,
        task=prompt.task,
        index=index,
        question=prompt.question,
        response=text,
        ground_truth=prompt.ground_truth,
        answer=answer_of(task, text),
        score=verdict.score,
        correct=verdict.score == 1.0,
        reason=verdict.reason,
        num_tokens=num_tokens,
        finish=finish,
        subject=prompt.subject,
        level=prompt.level,
    )


def answer_of(task: Task, text: str) -> str | None:
    """The final answer for the vote, as the task writes equal ones alike; None without one.

    A task that judges the whole response has no part of it that would be the answer: equal
    responses are equal then.
    """
    if task.name in JUDGED_WHOLE:
        return f"response {hashlib.sha256(text.encode()).hexdigest()[:8]}" if text.strip() else None
    read = getattr(task, "answer", final_answer)
    answer: str | None = read(text)
    return answer.strip() or None if answer is not None else None
