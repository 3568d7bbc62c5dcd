"""One evaluation from its settings to its report: read, sample what is missing, judge, sum up."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console

from copris_core.report.eval_report import EvalPaths, write_eval
from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter import eval_engine
from copris_core.verl_adapter.errors import ConfigError, TrainingError
from copris_core.verl_adapter.eval_engine import EvalEngine
from copris_core.verl_adapter.eval_folder import EvalFolder, locked
from copris_core.verl_adapter.eval_gate import EvalGate
from copris_core.verl_adapter.eval_model import EvalModel, find_model
from copris_core.verl_adapter.eval_progress import EvalProgress
from copris_core.verl_adapter.eval_prompts import Prompt, Tokens, read_prompts, rows_digest
from copris_core.verl_adapter.eval_score import Judge
from copris_core.verl_adapter.eval_settings import EvalSettings

TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be sampled, and by which weights."""

    settings: EvalSettings
    """What was asked for."""
    model: EvalModel
    """The weights."""
    tokens: Tokens
    """Its tokenizer."""
    prompts: Sequence[Prompt]
    """All prompts of all benchmarks."""

    @property
    def total(self) -> int:
        """Samples when all are there."""
        return len(self.prompts) * self.settings.n

    @property
    def longest(self) -> tuple[int, int]:
        """Tokens of the longest prompt, and the largest limit of a response."""
        return (
            max(len(each.tokens) for each in self.prompts),
            max(each.max_tokens for each in self.prompts),
        )

    def identity(self) -> dict[str, Any]:
        """What the samples depend on; a folder is continued only by the same."""
        limits = {each.task: each.max_tokens for each in self.prompts}
        return {
            "model": self.model.name,
            "weights": self.model.digest(),
            **self.settings.identity(),
            "tasks": {each.name: _place(each.source) for each in self.settings.benchmarks},
            "max_tokens": limits,
            "prompts": rows_digest(self.prompts),
        }


def run_eval(settings: EvalSettings, console: Console) -> EvalPaths:
    """Evaluate, or go on with an evaluation that was cut off.

    Raises:
        ConfigError: what was asked for cannot be, or the folder is that of another evaluation.
        TaskDataError: the rows of a benchmark can't be read.
        TrainingError: the engine died; what is judged stays.
    """
    eval_engine.prepare(settings.platform)
    job = _job(settings)
    path = settings.out or job.model.home / "+".join(each.name for each in settings.benchmarks)
    identity = job.identity()
    with locked(path):
        folder = EvalFolder(path, job.prompts, n=settings.n)
        folder.begin(identity)
        for line in _head(job, folder):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        if folder.missing():
            with _terminable():
                _complete(job, folder, console)
        folder.finish()
        return write_eval(
            folder.samples,
            path,
            title=job.model.name,
            settings=identity,
            rng_seed=settings.seed,
        )


def _job(settings: EvalSettings) -> Job:
    model = find_model(settings.model, step=settings.step)
    tokens = Tokens(model.path, trust_remote_code=settings.trust_remote_code)
    positions = eval_engine.positions_of(model.path)
    prompts = read_prompts(settings, tokens, positions=positions, trained_on=model.trained_on)
    return Job(settings=settings, model=model, tokens=tokens, prompts=prompts)


def _place(source: str) -> str:
    """A file by its absolute path, so that it may be named from another folder the next time."""
    return str(Path(source).expanduser().resolve()) if Path(source).is_file() else source


def _head(job: Job, folder: EvalFolder) -> Iterator[str]:
    settings = job.settings
    yield f"model          {job.model.name} ({settings.dtype})"
    for benchmark in settings.benchmarks:
        asked = [each for each in job.prompts if each.task == benchmark.name]
        yield (
            f"{benchmark.name:14} {len(asked)} prompts x {settings.n}, at most "
            f"{asked[0].max_tokens} tokens; {benchmark.source}"
        )
    yield f"folder         {folder.path}"
    if folder.num_done:
        yield f"goes on        {folder.num_done} of {job.total} samples are there"


def _complete(job: Job, folder: EvalFolder, console: Console) -> None:
    """Sample and judge what is missing; say how to go on if that is cut short."""
    try:
        _sample(job, folder, console)
    except TrainingError as error:
        raise TrainingError(f"{error}; {_how_to_go_on(job, folder)}") from error
    except ValueError as error:  # of a verifier
        raise ConfigError(f"{error}; {_how_to_go_on(job, folder)}") from error
    except (KeyboardInterrupt, SystemExit):
        sys.stderr.write(f"copris: stopped; {_how_to_go_on(job, folder)}\n")
        raise


def _sample(job: Job, folder: EvalFolder, console: Console) -> None:
    prompt, response = job.longest
    engine = EvalEngine(job.model.path, job.settings, max_model_len=prompt + response)
    try:
        limit = eval_engine.in_flight(
            job.settings, kv_tokens=engine.kv_tokens, prompt=prompt, response=response
        )
        gate = EvalGate(folder.missing(), limit=limit)
        progress = EvalProgress(total=job.total, done=folder.num_done, console=console)
        with progress, Judge() as judge:
            _loop(job, folder, engine=engine, gate=gate, judge=judge, progress=progress)
    finally:
        engine.close()


def _loop(
    job: Job,
    folder: EvalFolder,
    *,
    engine: EvalEngine,
    gate: EvalGate,
    judge: Judge,
    progress: EvalProgress,
) -> None:
    prompts = {each.uid: each for each in job.prompts}
    names: dict[str, ResponseKey] = {}
    while not gate.is_done:
        for key in gate.next():
            names[f"{key.uid}:{key.index}"] = key
            _start(engine, prompts[key.uid], key, seed=job.settings.seed)
        tokens = 0
        for response in engine.step():
            key = names.pop(response.request_id)
            gate.finish(key)
            tokens += len(response.tokens)
            judge.give(
                prompts[key.uid],
                key.index,
                job.tokens.text(response.tokens),
                num_tokens=len(response.tokens),
                finish=response.finish,
            )
        for sample in judge.judged():
            folder.add(sample)
        progress.update(done=folder.num_done, in_flight=gate.in_flight, tokens=tokens)
    for sample in judge.rest():
        folder.add(sample)
        progress.update(done=folder.num_done, in_flight=0, tokens=0)


def _start(engine: EvalEngine, prompt: Prompt, key: ResponseKey, *, seed: int) -> None:
    engine.start(
        f"{key.uid}:{key.index}",
        prompt.tokens,
        max_tokens=prompt.max_tokens,
        seed=prompt.seed(seed, key.index),
    )


def _how_to_go_on(job: Job, folder: EvalFolder) -> str:
    return (
        f"{folder.num_done} of {job.total} samples are in {folder.path}, and the same command goes "
        "on from there"
    )


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the command as an error would, with its word and its children's end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)
