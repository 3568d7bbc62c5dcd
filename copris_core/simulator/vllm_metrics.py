"""An engine's cost from scrapes of vLLM's ``/metrics`` while it was busy.

    # scrape 1763712000.0
    ...Prometheus text...
    # scrape 1763712010.0
    ...

Between two scrapes the mean time between two tokens of a response is the mean step:

    inter_token_latency sum / count = step_s + response_s running + prefill_token_s prefill per step

with prefill per step = prompt tokens / steps and steps = generated tokens / running. Only lines of
`COUNTERS` are read; anything else in the text is left alone.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from copris_core.simulator.engine import EngineModel
from copris_core.simulator.engine_file import EngineFile
from copris_core.simulator.robust_fit import Fit, fit_costs

GENERATED: Final = "vllm:generation_tokens_total"
PROMPT: Final = "vllm:prompt_tokens_total"
RUNNING: Final = "vllm:num_requests_running"
LATENCY_SUM: Final = "vllm:inter_token_latency_seconds_sum"
LATENCY_COUNT: Final = "vllm:inter_token_latency_seconds_count"
PREEMPTIONS: Final = "vllm:num_preemptions_total"
CACHE: Final = "vllm:cache_config_info"
COUNTERS: Final = (GENERATED, PROMPT, RUNNING, LATENCY_SUM, LATENCY_COUNT)
"""Without these nothing can be told."""

MIN_DIFFERENCES: Final = 3
"""As many as there are unknowns."""

SCRAPE: Final = re.compile(r"^# scrape ([0-9.eE+]+)\s*$")
SAMPLE: Final = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")
LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(slots=True, kw_only=True)
class Scrape:
    """What was read at one moment, summed over the engines."""

    time_s: float
    """Unix time of its header line."""
    values: dict[str, float] = field(default_factory=dict)
    """Sum over the engines, by metric."""
    engines: set[str] = field(default_factory=set)
    """Labels of the engines."""
    kv_tokens: int | None = None
    """Tokens in one engine's KV cache; None if unsaid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What one engine did between two scrapes."""

    step_s: float
    """Mean seconds between two tokens of a response."""
    running: float
    """Mean responses in its batch."""
    prefill: float
    """Prompt tokens per step."""


def calibrate_scrapes(path: Path, *, max_running: int = 1024) -> EngineFile:
    """Fit an engine to the scrapes in ``path``; what a trainer costs they do not tell.

    Args:
        path: scrapes one after another, each behind a line ``# scrape <unix seconds>``.
        max_running: max_num_seqs, which the metrics do not tell.

    Raises:
        ValueError: no scrapes, a metric is missing, too few usable differences, or the batch never
            varied; one line.
    """
    scrapes = read_scrapes(path)
    spans = spans_of(scrapes)
    if len(spans) < MIN_DIFFERENCES:
        raise ValueError(
            f"{path} has {len(spans)} usable differences between scrapes, {MIN_DIFFERENCES} are "
            "needed: scrape more often while responses are generated"
        )
    running_N = np.array([span.running for span in spans])
    if np.ptp(running_N) < 1:
        raise ValueError(
            f"{path}: {running_N[0]:g} requests ran all the time, which hides what one costs: "
            "scrape under changing load"
        )
    ones_N = np.ones_like(running_N)
    features_NF = np.column_stack([ones_N, running_N, [span.prefill for span in spans]])
    fit = fit_costs(features_NF, np.array([span.step_s for span in spans]))
    kv_tokens = scrapes[-1].kv_tokens
    if kv_tokens is None:
        raise ValueError(f"{path} lacks {CACHE} with num_gpu_blocks and block_size: scrape it all")
    return _engine_file(path, scrapes, fit, kv_tokens=kv_tokens, max_running=max_running)


def read_scrapes(path: Path) -> list[Scrape]:
    """The scrapes of a file, in its order.

    Raises:
        ValueError: the file is missing, has no scrape, or its times do not rise; one line.
    """
    if not path.is_file():
        raise ValueError(f"no scrapes at {path}: save vLLM's /metrics to it some times")
    scrapes = list(_scrapes(path.read_text(encoding="utf-8")))
    if not scrapes:
        raise ValueError(f"{path} has no line '# scrape <unix seconds>': write one above each")
    for earlier, later in itertools.pairwise(scrapes):
        if later.time_s <= earlier.time_s:
            raise ValueError(f"{path}: scrape {later.time_s} does not come after {earlier.time_s}")
    for scrape in scrapes:
        missing = [name for name in COUNTERS if name not in scrape.values]
        if missing:
            raise ValueError(f"{path}: scrape {scrape.time_s} lacks {', '.join(missing)}")
    return scrapes


def spans_of(scrapes: Sequence[Scrape]) -> list[Span]:
    """The differences in which tokens were sampled and no engine was started anew."""
    spans = []
    for earlier, later in itertools.pairwise(scrapes):
        grown = {name: later.values[name] - earlier.values[name] for name in COUNTERS}
        engines = max(1, len(later.engines))
        running = (earlier.values[RUNNING] + later.values[RUNNING]) / 2 / engines
        counted = (GENERATED, LATENCY_SUM, LATENCY_COUNT)
        if running <= 0 or grown[PROMPT] < 0 or min(grown[name] for name in counted) <= 0:
            continue
        steps = grown[GENERATED] / engines / running
        spans.append(
            Span(
                step_s=grown[LATENCY_SUM] / grown[LATENCY_COUNT],
                running=running,
                prefill=grown[PROMPT] / engines / steps,
            )
        )
    return spans


def _scrapes(text: str) -> Iterator[Scrape]:
    scrape = None
    for line in text.splitlines():
        header = SCRAPE.match(line)
        if header is not None:
            if scrape is not None:
                yield scrape
            scrape = Scrape(time_s=float(header[1]))
        elif scrape is not None:
            _read_sample(line, scrape)
    if scrape is not None:
        yield scrape


def _read_sample(line: str, scrape: Scrape) -> None:
    sample = SAMPLE.match(line)
    if sample is None or sample[1] not in (*COUNTERS, PREEMPTIONS, CACHE):
        return
    labels = dict(LABEL.findall(sample[2] or ""))
    if sample[1] == CACHE:
        blocks, size = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
        if blocks.isdecimal() and size.isdecimal():
            scrape.kv_tokens = int(blocks) * int(size)
        return
    scrape.engines.add(labels.get("engine", "0"))
    scrape.values[sample[1]] = scrape.values.get(sample[1], 0.0) + float(sample[3])


def _engine_file(
    path: Path, scrapes: Sequence[Scrape], fit: Fit, *, kv_tokens: int, max_running: int
) -> EngineFile:
    step_s, response_s, prefill_token_s = fit.weights
    first, last = scrapes[0], scrapes[-1]
    preempted = last.values.get(PREEMPTIONS, 0.0) - first.values.get(PREEMPTIONS, 0.0)
    fitted = f"Huber fit of {len(spans_of(scrapes))} differences between scrapes"
    unsaid = "not in vLLM's metrics: fill it in"
    return EngineFile(
        name=path.stem,
        is_estimate=False,
        engine=EngineModel(
            step_s=step_s,
            response_s=response_s,
            prefill_token_s=prefill_token_s,
            stop_s=0.0,
            kv_tokens=kv_tokens,
            max_running=max_running,
            replicas=max(1, len(last.engines)),
        ),
        update_s=0.0,
        update_token_s=0.0,
        heading=(
            f"{len(scrapes)} scrapes of vLLM's /metrics over {last.time_s - first.time_s:.0f} s, "
            f"{preempted:.0f} preemptions.",
            f"Median |error| of the mean step between two scrapes: {fit.median_error:.1%}.",
            "The trainer is missing: fill in update_s and update_token_s, or time is only that of "
            "generation.",
        ),
        sources={
            **dict.fromkeys(("step_s", "response_s", "prefill_token_s"), fitted),
            "flat_to": "a straight line",
            "context_token_s": "not told apart, part of response_s",
            "request_s": "not told apart, part of prefill_token_s",
            "kv_tokens": CACHE,
            "max_running": "given, or vLLM's default",
            "replicas": "engines in the metrics",
            **dict.fromkeys(("stop_s", "update_s", "update_token_s"), unsaid),
        },
    )
