"""Prompts as the engine gets them: verl's own tokenisation, as in training.

Refuses what cannot fit before an engine is built.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copris_core.tasks.benchmarks import Benchmark, subject_and_level
from copris_core.tasks.task import Row, TaskDataError
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.eval_settings import EvalSettings


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One question of one benchmark."""

    uid: str
    """``<benchmark>:<number>``."""
    task: str
    """The benchmark."""
    data_source: str
    """Names the verifier."""
    question: str
    """Its last user message."""
    ground_truth: str
    """What the verifier compares with."""
    subject: str
    """Such as ``Geometry``; "" where unknown."""
    level: str
    """Such as ``5``; "" where unknown."""
    tokens: tuple[int, ...]
    """The chat template filled in."""
    max_tokens: int
    """Longest response."""

    def seed(self, run_seed: int, index: int) -> int:
        """Of one sample: it depends on nothing else, so order and restarts change nothing."""
        text = f"{run_seed} {self.uid} {index}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


class Tokens:
    """The model's tokenizer, used as verl's agent loops use it."""

    def __init__(self, model: Path, *, trust_remote_code: bool) -> None:
        """Load it.

        Raises:
            ConfigError: it can't be loaded, or has no chat template.
        """
        from verl.utils import hf_tokenizer
        from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

        described: Any = json.loads((model / "config.json").read_text(encoding="utf-8"))
        try:
            self._tokenizer = hf_tokenizer(str(model), trust_remote_code=trust_remote_code)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{model}: {_first_line(error)}; mend its tokenizer") from error
        if not self._tokenizer.chat_template:
            raise ConfigError(
                f"{model} has no chat template: put one into its folder as chat_template.jinja"
            )
        self._builder = create_continuous_token_builder(
            self._tokenizer, hf_model_type=described.get("model_type"), chat_template_kwargs={}
        )

    def prompt(self, row: Row) -> tuple[int, ...]:
        """The prompt of a row up to where the model begins to write."""
        messages = [{"role": each.role, "content": each.content} for each in row.prompt]
        return tuple(int(token) for token in self._builder.build_initial_tokens(messages))

    def text(self, tokens: Sequence[int]) -> str:
        """A response in words, as training's verifiers get it."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))


def read_prompts(
    settings: EvalSettings,
    tokens: Tokens,
    *,
    positions: int | None,
    trained_on: Mapping[str, Any] | None = None,
) -> list[Prompt]:
    """All prompts, benchmark by benchmark.

    Args:
        settings: what was asked for.
        tokens: of the model.
        trained_on: the task section of the model's own run.
        positions: tokens that the model can hold, prompt and response together; None: unknown.

    Raises:
        ConfigError: rows can't be read, or a response does not fit.
    """
    found = []
    for benchmark in settings.benchmarks:
        rows = _rows(benchmark, trained_on)[: settings.rows]
        prompts = [tokens.prompt(row) for row in rows]
        longest = max(map(len, prompts))
        limit = _limit(benchmark, settings.max_tokens, longest=longest, positions=positions)
        found += [
            _prompt(benchmark, row, number, prompt, limit)
            for number, (row, prompt) in enumerate(zip(rows, prompts, strict=True))
        ]
    return found


def rows_digest(prompts: Iterable[Prompt]) -> str:
    """Tells these prompts and answers from others."""
    found = hashlib.sha256()
    for each in prompts:
        found.update(repr((each.uid, each.tokens, each.data_source, each.ground_truth)).encode())
    return found.hexdigest()[:16]


def _rows(benchmark: Benchmark, trained_on: Mapping[str, Any] | None) -> list[Row]:
    try:
        rows = benchmark.rows(trained_on)
    except TaskDataError:
        raise
    except ValueError as error:
        raise ConfigError(f"--task {benchmark.name}: {error}") from error
    if not rows:
        raise ConfigError(f"--task {benchmark.name} has no rows: name others")
    return rows


def _limit(benchmark: Benchmark, asked: int | None, *, longest: int, positions: int | None) -> int:
    """Tokens of a response; a benchmark's own limit gives way to the model's, the user's does not.

    Raises:
        ConfigError: it does not fit.
    """
    wanted = asked or benchmark.max_tokens
    if positions is None or longest + wanted <= positions:
        return wanted
    room = positions - longest
    if asked is None and room > 0:
        return room
    mend = f"use --max-tokens {room} or less" if room > 0 else "take another model"
    raise ConfigError(
        f"--task {benchmark.name}: the longest prompt ({longest} tokens) and a response of "
        f"{wanted} exceed the model's {positions} positions: {mend}"
    )


def _prompt(
    benchmark: Benchmark, row: Row, number: int, tokens: tuple[int, ...], max_tokens: int
) -> Prompt:
    subject, level = subject_and_level(row)
    return Prompt(
        uid=f"{benchmark.name}:{number}",
        task=benchmark.name,
        data_source=row.data_source,
        question=next(each.content for each in reversed(row.prompt) if each.role == "user"),
        ground_truth=row.ground_truth,
        subject=subject,
        level=level,
        tokens=tokens,
        max_tokens=max_tokens,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
