"""A line for every iteration of the engine: what its columns count, and when there is none."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import pytest

from copris_core.report.engine_steps import HEADER, read_engine_steps
from copris_core.verl_adapter import engine_log

pytestmark = pytest.mark.verl


def _new(name: str, prompt: int, computed: int = 0) -> Any:
    return SimpleNamespace(req_id=name, prompt_token_ids=[7] * prompt, num_computed_tokens=computed)


def _scheduled(*new: Any, **tokens: int) -> Any:
    """What vLLM's scheduler chose: ``tokens`` of each request."""
    return SimpleNamespace(
        scheduled_new_reqs=list(new),
        num_scheduled_tokens=tokens,
        total_num_scheduled_tokens=sum(tokens.values()),
    )


def _worker_class() -> type:
    class Worker:
        def execute_model(self, scheduled: Any) -> str:
            return f"executed {len(scheduled.num_scheduled_tokens)}"

        def sample_tokens(self, grammar: Any = None) -> str:
            return f"sampled {grammar}"

    return Worker


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv(engine_log.VARIABLE, str(tmp_path / engine_log.FOLDER))
    monkeypatch.setattr(engine_log, "FLUSH_EVERY_S", -1.0)
    made, files = _worker_class(), []

    class Noted(engine_log.EngineLog):
        def __init__(self, file: TextIO) -> None:
            files.append(file)
            super().__init__(file)

    monkeypatch.setattr(engine_log, "EngineLog", Noted)
    engine_log.observe(made)
    yield made()
    for file in files:
        file.close()


def _counts(run: Path) -> list[tuple[int, int, int]]:
    """(running, prefilled, sampled) of each iteration."""
    steps = read_engine_steps(run)
    columns = (steps.running_N, steps.prefill_tokens_N, steps.decode_tokens_N)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize(
    ("scheduled", "counts"),
    [
        (_scheduled(a=1, b=1, c=1), (3, 0, 3)),
        (_scheduled(_new("a", 20), a=20, b=1), (2, 20, 2)),
        # 8 of 20 prompt tokens: nothing is sampled of it yet.
        (_scheduled(_new("a", 20), a=8, b=1), (2, 8, 1)),
        # 16 of 20 were in the cache.
        (_scheduled(_new("a", 20, computed=16), a=4), (1, 4, 1)),
        # One that is known already goes on with 30 tokens: 29 of them were sampled before.
        (_scheduled(a=30, b=1), (2, 29, 2)),
        (_scheduled(_new("c", 5), a=30, b=1, c=5), (3, 34, 3)),
    ],
)
def test_prompts_and_continued_responses_are_prefill_and_every_request_samples_one(
    worker, tmp_path, scheduled, counts
) -> None:
    worker.execute_model(scheduled)
    worker.sample_tokens()
    assert _counts(tmp_path) == [counts]


def test_workers_answer_as_before_and_an_empty_iteration_is_none(worker, tmp_path) -> None:
    assert worker.execute_model(_scheduled(a=1)) == "executed 1"
    assert worker.sample_tokens("json") == "sampled json"
    worker.sample_tokens()
    worker.execute_model(_scheduled())
    worker.sample_tokens()
    assert _counts(tmp_path) == [(1, 0, 1)]


def test_an_iteration_is_timed_from_execution_to_sampling(worker, tmp_path, monkeypatch) -> None:
    clock = iter((100.0, 100.25, 101.0, 101.5))
    monkeypatch.setattr(engine_log, "time", SimpleNamespace(time=lambda: next(clock)))
    for _ in range(2):
        worker.execute_model(_scheduled(a=1))
        worker.sample_tokens()
    steps = read_engine_steps(tmp_path)
    assert steps.begin_s_N.tolist() == [100.0, 101.0]
    assert steps.seconds_N.tolist() == [0.25, 0.5]


def test_a_class_is_wrapped_once(worker, tmp_path) -> None:
    engine_log.observe(type(worker))
    worker.execute_model(_scheduled(a=1))
    worker.sample_tokens()
    assert _counts(tmp_path) == [(1, 0, 1)]


def test_without_the_variable_nothing_is_touched(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv(engine_log.VARIABLE, raising=False)
    made = _worker_class()
    methods = made.execute_model, made.sample_tokens
    engine_log.observe(made)
    assert (made.execute_model, made.sample_tokens) == methods
    assert not list(tmp_path.iterdir())


def test_writer_and_reader_agree_on_the_columns() -> None:
    assert engine_log.HEADER == HEADER
