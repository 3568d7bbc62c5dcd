"""The glossary of metrics has every key that a run writes, and none that no run writes."""

import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "metrics.md"
SEEN = (ROOT / "tests" / "data" / "metric_keys.txt").read_text().split()
"""Keys of metrics.jsonl in runs of the real stack: all experiments, strategies and corrections."""

WRITERS = (
    "controllers/prolonged.py",
    "filtering.py",
    "methods.py",
    "rollout/adaptive.py",
    "staleness.py",
    "verl_adapter/records.py",
    "verl_adapter/router.py",
    "verl_adapter/shaping.py",
    "verl_adapter/stage.py",
    "verl_adapter/stage_logprobs.py",
    "verl_adapter/stock_trainer.py",
    "verl_adapter/trainer.py",
)
"""Files of copris_core whose literals are keys."""

COMPUTED = (
    *(f"correction/{name}" for name in ("weight_mean", "weight_max", "truncated_fraction")),
    *("correction/ess_fraction", "correction/rejected_fraction"),
    "update/entropy",
)
"""Keys that are put together from parts, which no run above wrote."""

OURS = re.compile(
    r'"((?:correction|cppo|filter|kv|lag\d|length|logprob_gap|optimizer|prorl|queue|reward|rollout'
    r'|run|samples|staleness|time|timing_s|tokens|update|val)/[a-z_0-9]*[a-z0-9])"'
)


def named(text: str) -> list[re.Pattern[str]]:
    """What the tables' first column names; ``{a,b}`` is either, another name in braces anything."""
    patterns = []
    for cell in re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE):
        parts = re.split(r"\{([\w,]+)\}", cell)
        choices = [
            [re.escape(part)] if place % 2 == 0 else part.split(",") if "," in part else [".+"]
            for place, part in enumerate(parts)
        ]
        patterns += [re.compile("".join(each)) for each in itertools.product(*choices)]
    return patterns


PATTERNS = named(GLOSSARY.read_text())


def is_named(key: str) -> bool:
    return any(pattern.fullmatch(key) for pattern in PATTERNS)


def written() -> set[str]:
    """Keys that stand in the source as they are."""
    texts = [(ROOT / "copris_core" / name).read_text() for name in WRITERS]
    return {key for text in texts for key in OURS.findall(text)}


@pytest.mark.parametrize("key", SEEN)
def test_a_key_that_a_real_run_wrote_is_explained(key):
    assert is_named(key)


def test_every_key_in_the_source_is_explained():
    assert sorted(key for key in written() | set(COMPUTED) if not is_named(key)) == []


def test_no_key_is_explained_that_no_run_writes():
    known = {*SEEN, *written(), *COMPUTED}
    assert [p.pattern for p in PATTERNS if not any(map(p.fullmatch, known))] == []


def test_a_new_key_would_be_missed():
    assert not is_named("rollout/in_flights")
    assert not is_named("val/days")
