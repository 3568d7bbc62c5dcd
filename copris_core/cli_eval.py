"""``copris eval``: its words. Sampling is `copris_core.verl_adapter.eval_run`'s."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from copris_core.cli_plan_parts import Words

if TYPE_CHECKING:
    from copris_core.verl_adapter.eval_settings import EvalSettings

EVAL_HELP: Final = """\
copris eval MODEL_OR_RUN --task NAME,NAME=FILE,... [--n N] [--temperature T] [--top-p P] [--top-k K]
            [--max-tokens M] [--rows R] [--seed S] [--step N|newest|best] [--out DIR]
            [--platform cpu|gpu] [--tensor-parallel T] [--gpu-memory-utilization U]
            [--concurrency N'] [--trust-remote-code]

Samples a model on test sets, judges every response with the task's verifier and writes
samples.jsonl, result.json, eval.md and eval.html (to read the samples in). Killed? The same command
goes on. Test sets are for reporting: training chooses by rows held out from its own data.

  copris eval runs/mine --task gsm8k,math500,aime24 --n 32 --temperature 0.6
  copris eval Qwen/Qwen3-8B --task math500=math500.jsonl --n 4 --max-tokens 8192
  copris eval tiny_days --task days --n 4 --rows 32             a packaged model, on a laptop

MODEL_OR_RUN   a Hugging Face folder or hub id, a packaged policy, or a run folder: its newest
               checkpoint is merged by verl's merger into RUN/eval/step_N/model
  --task       gsm8k, math500, aime24, aime25, amc23, minerva, olympiadbench, or a task of training
               (days, code, stem, logic, instruction; mix of a run trained on it); NAME=FILE reads
               the rows from a local .jsonl or .parquet; math=FILE, file=FILE (verl's schema),
               custom=my_tasks.py:Class
  --n          samples of each prompt (default 1)
  --temperature, --top-p, --top-k   default 0.6, 0.95, all; --temperature 0 is greedy
  --max-tokens longest response; without it each benchmark's own, at most what the model can hold
  --rows       only the first R prompts of each benchmark
  --step       of a run: a number, newest (default), or best by its held-out validation
  --out        folder of the result (default RUN/eval/step_N/NAMES, else runs/eval/MODEL/NAMES)
  --platform   default gpu where there is one
  --concurrency   responses in flight (default: what the KV cache holds)
"""

PIPE_WIDTH: Final = 100
"""Columns where no terminal says how many there are."""


def evaluate(words: list[str]) -> int:
    """Run ``copris eval``.

    Raises:
        ConfigError: what was asked for cannot be.
        TaskDataError: the rows of a benchmark can't be read.
        TrainingError: the engine died; what is judged stays.
    """
    from rich.console import Console

    settings = split_eval(words)

    from copris_core.report.eval_view import print_eval
    from copris_core.verl_adapter.eval_run import run_eval

    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    paths = run_eval(settings, console)
    print_eval(paths.result, console)
    for path in (paths.json, paths.markdown, paths.page):
        sys.stdout.write(f"{path}\n")
    return 0


def split_eval(words: Sequence[str]) -> "EvalSettings":
    """Take the words of ``eval`` apart.

    Raises:
        ConfigError: an unknown word, no model, or a value that cannot be.
    """
    from copris_core.tasks.benchmarks import benchmarks
    from copris_core.verl_adapter.errors import ConfigError
    from copris_core.verl_adapter.eval_settings import EvalSettings, platform_here

    asked = vars(_parser().parse_args(list(words)))
    named = asked.pop("task")
    if asked["platform"] is None:
        asked["platform"] = platform_here()
    try:
        return EvalSettings(benchmarks=tuple(benchmarks(named)), **asked)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = Words("copris eval")
    parser.add_argument("model")
    parser.add_argument("--task", required=True)
    parser.add_argument("--n", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--top-k", type=int, default=-1)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", default="newest")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--platform", choices=("cpu", "gpu"))
    parser.add_argument("--tensor-parallel", type=int, default=1)
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    parser.add_argument("--concurrency", type=int)
    parser.add_argument("--trust-remote-code", action="store_true")
    return parser
