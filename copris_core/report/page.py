"""report.html: the comparison as one file that needs nothing else, light and dark, also on a phone.

Refuses to fetch: style is inline, pictures are data, and every text is escaped, so that a name or
a config value can never become markup.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from copris_core.report.notes import notes
from copris_core.report.numbers import (
    UNKNOWN,
    show,
    show_accuracy,
    show_count,
    show_gap,
    show_ratio,
    show_seconds,
)
from copris_core.report.page_template import TEMPLATE
from copris_core.report.ratios import labels, per_step, speedup
from copris_core.report.summary import WARMUP_STEPS, Phases, Summary

Show = Callable[[Summary], str]

MEASURES: dict[str, Show] = {
    "accuracy before": lambda x: show(x.accuracy.before, 3),
    "accuracy after": lambda x: show(x.accuracy.after, 3),
    "one standard error of it": lambda x: show(x.accuracy.stderr, 3),
    "problems validated": lambda x: show_count(x.accuracy.n),
    "training steps": lambda x: show_count(x.steps),
    "optimizer updates": lambda x: show_count(x.optimizer_updates),
    "wall time, whole run": lambda x: show_seconds(x.wall_s),
    "samples finished": lambda x: show_count(x.samples),
    "samples/s of generation": lambda x: show(x.samples_per_s, 1),
    f"the same without the first {WARMUP_STEPS} steps": lambda x: show(x.samples_per_s_steady, 1),
    "tokens generated": lambda x: show_count(x.generated_tokens),
    "tokens trained on": lambda x: show_count(x.trained_tokens),
    "in-flight limit N'": lambda x: show_count(x.concurrency),
    "occupancy of the limit": lambda x: show(x.occupancy, 3),
    "segments per trained sample": lambda x: show(x.segments_per_sample, 2),
    "on-policy share of trained tokens": lambda x: show(x.on_policy_token_fraction, 2),
    "largest |engine - trainer| log-prob": lambda x: show_gap(x.max_logprob_gap),
    "mean |engine - trainer| log-prob": lambda x: show_gap(x.mean_logprob_gap),
    "seed": lambda x: str(x.seed),
    "revision": lambda x: (x.revision or UNKNOWN)[:12],
}
"""Rows of the first table."""

SPEEDUP_NAMES = {
    "samples_per_s": "samples/s of generation",
    "samples_per_s_steady": f"the same without the first {WARMUP_STEPS} steps",
    "tokens_per_s": "tokens/s of generation",
    "generate_s": "generate phase",
    "update_s": "update phase",
    "steps_wall": "training step (equal steps)",
    "samples_wall": "finished sample (equal samples)",
    "wall": "whole run, per step",
}
"""Rows of the second table, by the keys of `ratios.SPEEDUPS`."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """The picture in the four versions among which the reader's screen picks."""

    light_wide: bytes
    """PNG for a wide light screen."""
    light_tall: bytes
    """PNG for a narrow light screen."""
    dark_wide: bytes
    """PNG for a wide dark screen."""
    dark_tall: bytes
    """PNG for a narrow dark screen."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table of the page."""

    title: str
    """Heading of the table."""
    remark: str
    """A sentence under the heading."""
    rows: list[list[str]]
    """Cells: the name of the row, then one cell a run."""
    words: bool = False
    """True when the cells are words, which may wrap, rather than numbers."""


def render_page(
    summaries: Sequence[Summary],
    *,
    configs: Sequence[Mapping[str, Any]],
    images: Images,
) -> str:
    """The page as text. ``configs`` holds each run's nested config, in the order of the runs.

    Raises:
        ValueError: if there is no run, or not one config for each.
    """
    if not summaries or len(configs) != len(summaries):
        raise ValueError(
            f"{len(summaries)} runs and {len(configs)} configs: give at least one run, and one "
            "config (it may be empty) for each"
        )
    # Only the page needs the template engine.
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(TEMPLATE)
    names = labels(summaries)
    return template.render(
        names=names,
        cards=_cards(names, summaries),
        notes=notes(summaries),
        sections=_sections(names, summaries, configs),
        **{x.name: _data_url(getattr(images, x.name)) for x in fields(Images)},
    )


def config_differences(configs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of dotted key and one value a config, for the keys that differ; hyphen where absent."""
    flat = [dict(_flatten(config)) for config in configs]
    keys = sorted(set().union(*flat))
    rows = [[key, *(x.get(key, UNKNOWN) for x in flat)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def _flatten(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            pairs += _flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            pairs.append((f"{prefix}{key}", text))
    return pairs


def _cards(names: Sequence[str], summaries: Sequence[Summary]) -> list[dict[str, str]]:
    """What a reader in a hurry wants of each run."""
    cards = []
    for name, run in zip(names, summaries, strict=True):
        ratios = speedup(run, summaries[0])
        cards.append(
            {
                "name": name,
                "accuracy": show_accuracy(run.accuracy),
                "rate": show_ratio(ratios["samples_per_s"]),
                "step": show_ratio(ratios["steps_wall"]),
            }
        )
    return cards


def _sections(
    names: Sequence[str], summaries: Sequence[Summary], configs: Sequence[Mapping[str, Any]]
) -> list[Section]:
    ratios = [speedup(run, summaries[0]) for run in summaries]
    packages = sorted(set().union(*(x.packages for x in summaries)))
    return [
        Section(
            title="Runs",
            remark="A hyphen: not measured.",
            rows=[[title, *(view(x) for x in summaries)] for title, view in MEASURES.items()],
        ),
        Section(
            title=f"Times better than {names[0]}",
            remark="Above 1 is faster, below 1 slower.",
            rows=[
                [title, *(show_ratio(x[key]) for x in ratios)]
                for key, title in SPEEDUP_NAMES.items()
            ],
        ),
        Section(
            title="Seconds per training step",
            remark="Means over the training steps.",
            rows=[[x.name.replace("_", " "), *_phase(summaries, x.name)] for x in fields(Phases)],
        ),
        Section(
            title="Config differences",
            remark="Keys whose value is not the same in every run. A hyphen: absent.",
            rows=config_differences(configs),
            words=True,
        ),
        Section(
            title="Packages",
            remark="Versions at run time.",
            rows=[[key, *(x.packages.get(key, UNKNOWN) for x in summaries)] for key in packages],
        ),
    ]


def _phase(summaries: Sequence[Summary], phase: str) -> list[str]:
    return [show(per_step(getattr(x.phases, phase), x), 2) for x in summaries]


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
