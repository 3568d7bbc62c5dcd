"""``copris plan``: its words, and what it prints. The planner itself is `copris_core.simulator`."""

import argparse
import dataclasses
import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from copris_core.cli_plan_parts import SUB_WORDS, Words

if TYPE_CHECKING:
    from copris_core.simulator.engine_file import EngineFile
    from copris_core.simulator.lengths import Lengths
    from copris_core.simulator.plan import Plan, Question
    from copris_core.simulator.simulation import Workload

PLAN_HELP: Final = """\
copris plan [--engine engine.yaml | --preset NAME] [--lengths FILE | --median M --sigma S --cap C]
            [--prompts B] [--group-size N] [--prompt-tokens T] [--replicas R]
            [--concurrency N',N',...] [--staleness-cap X] [--max-lag K]
            [--out DIR] [--seed K] [--stages S] [--events FILE] [--json]

Simulates sync, naive_partial, oversample and copris over a sweep of N' with the gate that trains,
and a model of the engine. Prints what each would cost and which N' to choose, in words, and writes
plan.json and plan.png to DIR (default runs/plan). Nothing is started.

  copris plan                                        the preset cpu-2-cores
  copris plan --preset h100-7b --cap 16384           an estimate before the GPUs are rented
  copris plan --engine engine.yaml --lengths lengths.yaml --prompts 64 --staleness-cap 1

  --staleness-cap X  most interruptions per response, N' / (prompts x group size)
  --max-lag K        most versions between sampling and training (staleness.max_lag)
  --stages S         steps of each simulation that count (default: 4096 responses' worth)
  --events FILE      writes every simulated fact of the recommended run; same seed, same bytes
  --json             print the object of plan.json instead

copris plan lengths FILE [--cap C] [--kind lognormal|empirical] [--out lengths.yaml]
    Fits the lengths of a run (its folder or metrics.jsonl) or of a list, one number a line or JSON.
copris plan calibrate [RUN ...] [--vllm-metrics FILE] [--kv-tokens N] [--out engine.yaml]
    Measures engine and trainer on runs with run.engine_log=true; without runs, trains some short
    ones first (key=value words are theirs). Or reads scrapes of vLLM's /metrics.
copris plan validate BENCH [--engine engine.yaml]
    Predicted beside measured step times of the cells of a bench; without an engine, each cell's is
    calibrated on the other cells.
copris plan paper [--quick] [--fit]
    The scaling figures of the CoPRIS paper beside their simulation, with two unknowns fitted on two
    of the eight points; --fit fits them anew, which takes minutes.
"""

DEFAULT_OUT: Final = Path("runs/plan")
PIPE_WIDTH: Final = 100
"""Columns where no terminal says how many there are."""
DEFAULT_PRESET: Final = "cpu-2-cores"


def plan(words: list[str]) -> int:
    """Run ``copris plan`` or one of its sub-words.

    Raises:
        ConfigError: the words, a file or a number cannot be.
    """
    from copris_core.verl_adapter.errors import ConfigError

    first = words[0] if words else "--"
    if not first.startswith("-") and first not in SUB_WORDS:
        near = difflib.get_close_matches(first, SUB_WORDS, n=1)
        hint = f"do you mean {near[0]}?" if near else f"use {', '.join(SUB_WORDS)}, or flags alone"
        raise ConfigError(f"copris plan has no {first}: {hint}")
    try:
        return SUB_WORDS[first](words[1:]) if first in SUB_WORDS else _plan(words)
    except ConfigError:
        raise
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error


# ---- the plan ----


def _plan(words: Sequence[str]) -> int:
    from copris_core.simulator.advice import advise
    from copris_core.simulator.plan import log_events, make_plan

    asked = split_plan(words)
    engine = engine_of(asked)
    question = question_of(asked, engine)
    answer = make_plan(question)
    document = {
        "engine_name": engine.name,
        "is_estimate": engine.is_estimate,
        **answer.to_json(),
        "words": advise(answer),
    }
    paths = _write(document, asked.out)
    if asked.events is not None:
        from copris_core.simulator.events import EventLog

        with asked.events.open("w", encoding="utf-8", newline="\n") as stream:
            log_events(answer, EventLog(stream))
        paths.append(asked.events)
    if asked.json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _print(document, head_lines(engine, question, answer), paths)
    return 0


def split_plan(words: Sequence[str]) -> argparse.Namespace:
    """The words of ``copris plan`` as values.

    Raises:
        ConfigError: an unknown word, no number where one belongs, or two that exclude each other.
    """
    parser = Words("copris plan")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--engine", type=Path)
    source.add_argument("--preset")
    parser.add_argument("--lengths", type=Path)
    for name in ("--median", "--sigma", "--staleness-cap"):
        parser.add_argument(name, type=float)
    for name in ("--cap", "--prompts", "--group-size", "--prompt-tokens", "--replicas", "--stages"):
        parser.add_argument(name, type=int)
    parser.add_argument("--max-lag", type=int)
    parser.add_argument("--concurrency", type=_limits, default=())
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--events", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    if asked.lengths is not None and (asked.median is not None or asked.sigma is not None):
        parser.error("--lengths says it all: leave out --median and --sigma, or --lengths")
    if asked.seed < 0:
        parser.error(f"--seed {asked.seed}: use 0 or more")
    return asked


def engine_of(asked: argparse.Namespace) -> "EngineFile":
    """The engine and the trainer beside it, by file or by preset.

    Raises:
        ConfigError: an unknown preset.
        ValueError: the file is missing or wrong, or an engine without replicas.
    """
    from copris_core.simulator.engine_file import EngineFile, read_engine

    if asked.engine is not None:
        found = read_engine(asked.engine)
    else:
        preset = _preset(asked.preset)
        found = EngineFile(
            name=preset.name,
            is_estimate=preset.is_estimate,
            engine=preset.engine,
            update_s=preset.workload.update_s,
            update_token_s=preset.workload.update_token_s,
            update_padded_token_s=preset.workload.update_padded_token_s,
        )
    if asked.replicas is None:
        return found
    engine = dataclasses.replace(found.engine, replicas=asked.replicas)
    return dataclasses.replace(found, engine=engine)


def question_of(asked: argparse.Namespace, engine: "EngineFile") -> "Question":
    """What the planner is asked; what the words leave open is the preset's.

    Raises:
        ValueError: a number cannot be.
    """
    from copris_core.simulator.plan import Question

    usual: Workload = _preset(asked.preset).workload
    given = {
        "groups_per_stage": asked.prompts,
        "group_size": asked.group_size,
        "prompt_tokens": asked.prompt_tokens,
    }
    workload = dataclasses.replace(
        usual,
        lengths=_lengths(asked, usual.lengths),
        update_s=engine.update_s,
        update_token_s=engine.update_token_s,
        update_padded_token_s=engine.update_padded_token_s,
        **{key: value for key, value in given.items() if value is not None},
    )
    return Question(
        engine=engine.engine,
        workload=workload,
        concurrency=asked.concurrency,
        staleness_cap=asked.staleness_cap,
        max_lag=asked.max_lag,
        seed=asked.seed,
        stages=asked.stages,
    )


def head_lines(engine: "EngineFile", question: "Question", answer: "Plan") -> list[str]:
    """What the plan stands on, one line each."""
    model, work, shape = question.engine, question.workload, answer.shape
    lines = [
        f"engine   {engine.name}, {model.replicas} x: a decode step takes "
        f"{1000 * model.step_s:.3g} ms + {1000 * model.response_s:.3g} ms a response beyond "
        f"{model.flat_to}, {model.kv_tokens:,} tokens of KV cache",
        f"lengths  mean {shape.mean:.0f}, 99% below {shape.p99:.0f}, longest {shape.longest}; "
        f"prompts of {work.prompt_tokens}",
        f"batch    {work.groups_per_stage} prompts x {work.group_size} responses; update "
        f"{work.update_s:.3g} s + {1e6 * work.update_token_s:.3g} us a token"
        f" + {1e6 * work.update_padded_token_s:.3g} us a token of padded rows",
        f"fits     N'={answer.fits}",
    ]
    if engine.is_estimate:
        lines.append(
            "The engine is an estimate, nothing was measured for it: copris plan calibrate "
            "measures yours."
        )
    return lines


def _preset(name: str | None) -> Any:
    from copris_core.simulator.presets import PRESETS
    from copris_core.verl_adapter.errors import ConfigError

    name = name or DEFAULT_PRESET
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"do you mean {near[0]}?" if near else f"use one of {', '.join(PRESETS)}"
        raise ConfigError(f"--preset {name} is unknown: {hint}")
    return PRESETS[name]


def _lengths(asked: argparse.Namespace, usual: "Lengths") -> "Lengths":
    from copris_core.simulator.lengths import LognormalLengths
    from copris_core.simulator.lengths_file import read_lengths

    if asked.lengths is not None:
        return read_lengths(asked.lengths, cap=asked.cap)
    given = {key: getattr(asked, key) for key in ("median", "sigma", "cap")}
    given = {key: value for key, value in given.items() if value is not None}
    assert isinstance(usual, LognormalLengths)  # so are all presets
    return dataclasses.replace(usual, **given)


def _limits(text: str) -> tuple[int, ...]:
    """``32,64,96`` as numbers; argparse names the flag in its error."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.lstrip("-").isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 32,64")
    limits = tuple(sorted({int(part) for part in parts}))
    if limits[0] < 1:
        raise argparse.ArgumentTypeError(f"{limits[0]} in flight sample nothing: use 1 or more")
    return limits


def _write(document: dict[str, Any], out: Path) -> list[Path]:
    from copris_core.report.plan_picture import draw_plan
    from copris_core.report.run_folder import write_bytes, write_json

    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "plan.json", out / "plan.png"]
    write_json(paths[0], document)
    write_bytes(paths[1], draw_plan(document))
    return paths


def _print(document: dict[str, Any], head: Sequence[str], paths: Sequence[Path]) -> None:
    from rich.console import Console

    from copris_core.report.plan_table import plan_table

    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for line in head:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(plan_table(document))
    for words in document["words"]:
        console.print(words, highlight=False, markup=False)
    for path in paths:
        console.print(str(path), highlight=False, markup=False, soft_wrap=True)
