"""Train every stack of methods on the real stack, go on from its checkpoint, and prove each method.

    python scripts/stacks.py [--out DIR] [stack ...]

Each stack is an experiment of configs/experiment, at sizes a laptop bears: six steps, then two more
by the same command with a later last step. What a method did must show in its own metric. Prints a
table; the exit code is 1 if a proof fails. A stack that is done already is not run again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Rows = list[dict[str, Any]]

FIRST_STEPS, ALL_STEPS = 6, 8
TIMEOUT_S = 900
SIZES = (
    "data.train_batch_size=8",
    "actor_rollout_ref.rollout.n=4",
    "data.max_response_length=256",
    "task.val_rows=16",
    "trainer.val_before_train=false",
    "trainer.test_freq=3",
    "trainer.save_freq=3",
)
RESETS = ("reference_reset=interval", "reference_reset.interval=2")
PENALTY = ("reward_shaping.overlong_share=0.9",)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What shows that a method acted."""

    said: str
    """In a few words."""
    holds: Callable[[Rows], bool]
    """Whether the rows of all steps show it."""


def total(rows: Rows, key: str) -> float:
    return sum(row.get(key, 0.0) for row in rows)


TRAINED = Proof(
    said=f"{ALL_STEPS} steps, log-probs of engine and trainer agree",
    holds=lambda rows: (
        [row["step"] for row in rows] == list(range(1, ALL_STEPS + 1))
        # A step that trains only what older policies sampled has nothing to compare.
        and 0 < max(row.get("logprob_gap/max", 0.0) for row in rows) < 1e-3
    ),
)
COPRIS = Proof(
    said="partials were interrupted and resumed under newer weights",
    holds=lambda rows: (
        total(rows, "rollout/interrupted") > 0
        and max(row["staleness/segments_per_sample"] for row in rows) > 1
    ),
)
CPPO = Proof(
    said="half of the rows were pruned",
    holds=lambda rows: all(
        row["cppo/kept_fraction"] == 0.5 and row["update/tokens"] == row["tokens/trained"]
        for row in rows
    ),
)
DAPO = Proof(
    said="groups were filtered, long responses paid",
    holds=lambda rows: (
        total(rows, "filter/groups_filtered") > 0 and total(rows, "reward/length_penalty") > 0
    ),
)
PRORL = Proof(
    said="the KL coefficient moved in the actor, the reference was reset, KL fell each time",
    holds=lambda rows: (
        len({row["update/kl_coefficient"] for row in rows}) > 1
        and rows[-1]["prorl/reset_count"] >= 3
        and all(
            after["prorl/kl_divergence"] < before["prorl/kl_divergence"]
            for before, after in pairwise(rows)
            if before.get("prorl/reset")
        )
    ),
)
BOTH = Proof(
    said="no pruned group was without spread, for the filter comes first",
    holds=lambda rows: (
        total(rows, "cppo/zero_variance_groups") == total(rows, "filter/kept_without_spread") == 0
    ),
)
FILTER_ALONE = Proof(
    said="groups were filtered", holds=lambda rows: total(rows, "filter/groups_filtered") > 0
)

STACKS: dict[str, tuple[tuple[str, ...], tuple[Proof, ...]]] = {
    "grpo": ((), ()),
    "copris": ((), (COPRIS,)),
    "cppo": ((), (CPPO,)),
    "prorl": (RESETS, (PRORL, FILTER_ALONE)),
    "dapo": (PENALTY, (DAPO,)),
    "copris_cppo": ((), (COPRIS, CPPO)),
    "copris_prorl": (RESETS, (COPRIS, PRORL, FILTER_ALONE)),
    "copris_dapo": (PENALTY, (COPRIS, DAPO)),
    "cppo_dapo": (PENALTY, (CPPO, DAPO, BOTH)),
    "copris_cppo_prorl_dapo": ((*RESETS, *PENALTY), (COPRIS, CPPO, PRORL, DAPO, BOTH)),
}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stacks", nargs="*", help=", ".join(STACKS))
    parser.add_argument("--out", type=Path, default=Path("runs/stacks"))
    given = parser.parse_args(words)
    unknown = [name for name in given.stacks if name not in STACKS]
    if unknown:
        parser.error(f"no stack {unknown[0]}: choose among {', '.join(STACKS)}")
    table = Table("stack", "what was shown", "holds")
    failures = 0
    for name in given.stacks or STACKS:
        for said, holds in prove(name, given.out / name):
            failures += not holds
            table.add_row(name, said, "yes" if holds else "[red]NO[/red]")
    Console().print(table)
    return int(failures > 0)


def prove(name: str, folder: Path) -> list[tuple[str, bool]]:
    """Train, go on, look; each proof in words and whether it holds."""
    overrides, proofs = STACKS[name]
    for steps in (FIRST_STEPS, ALL_STEPS):
        if not is_done(folder, steps) and (told := train(name, folder, overrides, steps)):
            return [(told, False)]
    rows = [row for row in read_rows(folder) if row["step"] > 0]
    resumed = any('"resumed_run"' in line for line in (folder / "ledger.jsonl").open())
    books = copris("audit", str(folder))
    return [
        *((proof.said, proof.holds(rows)) for proof in (TRAINED, *proofs)),
        ("went on from its checkpoint", resumed),
        ("every prompt was drawn, trained or filtered once", books.returncode == 0),
    ]


def train(name: str, folder: Path, overrides: Sequence[str], steps: int) -> str:
    """One command of the user's; empty when it ended well, else its last line."""
    size = f"trainer.total_training_steps={steps}"
    ended = copris("train", f"experiment={name}", *SIZES, *overrides, size, f"run.dir={folder}")
    if ended.returncode == 0:
        return ""
    return (ended.stdout + ended.stderr).strip().rpartition("\n")[2] or "it said nothing"


def copris(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "copris_core.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


def is_done(folder: Path, steps: int) -> bool:
    if not (folder / "summary.json").exists():
        return False
    return max(row["step"] for row in read_rows(folder)) >= steps


def read_rows(folder: Path) -> Rows:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


if __name__ == "__main__":
    sys.exit(main())
