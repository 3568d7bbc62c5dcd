"""Our policy loss against verl's vanilla: time and peak memory of a forward and backward.

    .venv/bin/python scripts/bench_loss.py [responses] [tokens]

Both run in turns on the same batch (64 x 8192 tokens unless told, float32): on one CPU thread, in
CPU time, or on CUDA where there is a device. Ends with exit code 1 if a ratio is above the limit.
"""

import gc
import os
import sys
import time
from itertools import accumulate
from statistics import median, quantiles
from typing import NamedTuple

import torch

from copris_core.verl_adapter.loss_cases import Pair, Run, make_pairs

LIMIT = 1.05
"""The largest ratio, ours / verl's, of time and of memory."""
REPEATS = 31
MIB = 2**20


class Comparison(NamedTuple):
    """What a pair cost."""

    verls_ms: float
    """Median milliseconds of verl's."""
    ours_ms: float
    """Median milliseconds of ours."""
    time_ratio: float
    """Median of ours / verl's, each over two runs made one after the other."""
    time_quartiles: tuple[float, float]
    """The middle half of those ratios."""
    verls_bytes: int
    """Most memory that verl's held at once, inputs not counted."""
    ours_bytes: int
    """The same of ours."""

    @property
    def memory_ratio(self) -> float:
        """Ours / verl's."""
        return self.ours_bytes / self.verls_bytes

    @property
    def holds(self) -> bool:
        """Both ratios are within the limit."""
        return max(self.time_ratio, self.memory_ratio) <= LIMIT


def main(words: list[str]) -> int:
    """Print a line per pair; the exit code."""
    num_responses, num_tokens = map(int, words or (64, 8192))
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler greets on stderr
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{num_responses} x {num_tokens} tokens, float32, {device}; limit {LIMIT:g}")
    print(f"{'':18}{'verl ms':>9}{'ours ms':>9}{'ratio':>7}{'quartiles':>13}{'verl MiB':>10}"
          f"{'ours MiB':>10}{'ratio':>7}")  # fmt: skip
    held = True
    for name, pair in make_pairs(num_responses, num_tokens, device=device).items():
        found = compare(pair, device=device)
        low, high = found.time_quartiles
        print(
            f"{name:18}{found.verls_ms:9.2f}{found.ours_ms:9.2f}{found.time_ratio:7.2f}"
            f"{f'{low:.2f}-{high:.2f}':>13}{found.verls_bytes / MIB:10.1f}"
            f"{found.ours_bytes / MIB:10.1f}{found.memory_ratio:7.2f}"
        )
        held &= found.holds
    return 0 if held else 1


def compare(pair: Pair, *, device: str, repeats: int = REPEATS) -> Comparison:
    """Run both in turns, the first of a round changing, then each once for its memory."""
    seconds: dict[Run, list[float]] = {run: [] for run in pair}
    gc.freeze()  # what the imports left is not collected on anybody's clock
    for run in pair:
        _seconds(run, device)  # the first call allocates and imports
    for number in range(repeats):
        for run in pair if number % 2 else reversed(pair):
            seconds[run].append(_seconds(run, device))
    verls_s, ours_s = seconds[pair.verls], seconds[pair.ours]
    ratios = [ours / verls for ours, verls in zip(ours_s, verls_s, strict=True)]
    low, middle, high = quantiles(ratios, n=4)
    return Comparison(
        verls_ms=1000 * median(verls_s),
        ours_ms=1000 * median(ours_s),
        time_ratio=middle,
        time_quartiles=(low, high),
        verls_bytes=peak_bytes(pair.verls, device=device),
        ours_bytes=peak_bytes(pair.ours, device=device),
    )


def peak_bytes(run: Run, *, device: str) -> int:
    """The most memory that a run held at once beyond what was there before; exact."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with torch.autograd.profiler.profile(profile_memory=True) as profiler:
        run()
    changes = [each for each in profiler.kineto_results.events() if each.name() == "[memory]"]
    changes.sort(key=lambda each: each.start_ns())
    return max(accumulate(each.nbytes() for each in changes))


def _seconds(run: Run, device: str) -> float:
    """Of the device; on a CPU of this process alone, whatever else the machine is at."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    started_s = clock()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - started_s


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
