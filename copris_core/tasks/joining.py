"""Joins rows of several tasks into one list: exact shares, a seeded order, one set of facts.

This file refuses to know which tasks the rows came from.
"""

import dataclasses
import random
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from copris_core.tasks.task import Row

LACKING: dict[type, int | str] = {int: -1, str: ""}
"""What stands for a fact that a row does not have: a parquet column has one kind."""


def shares(weights: Mapping[str, Fraction], total: int) -> dict[str, int]:
    """Split ``total`` by weights, by the method of the largest remainder (Hamilton).

    Every share differs from ``total * weight / sum`` by less than 1; ties go to who comes first.

    Args:
        weights: at least one; all positive.
        total: rows to hand out, 0 or more.
    """
    whole = sum(weights.values())
    exact = {name: total * weight / whole for name, weight in weights.items()}
    counts = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def largest_total(weights: Mapping[str, Fraction], available: Mapping[str, int]) -> int:
    """Most rows whose shares need no row twice.

    With N = min_i floor(a_i W / w_i) every share is at most ceil(N w_i / W) <= a_i.
    """
    whole = sum(weights.values())
    return min(int(available[name] * whole / weight) for name, weight in weights.items())


def interleave(parts: Mapping[str, Sequence[Row]], rng: random.Random) -> list[Row]:
    """All rows of all parts in a drawn order; rows of one part keep theirs."""
    turns = [name for name, rows in parts.items() for _ in rows]
    rng.shuffle(turns)
    waiting = {name: iter(rows) for name, rows in parts.items()}
    return [next(waiting[name]) for name in turns]


def fact_kinds(rows: Iterable[Row]) -> dict[str, type]:
    """Kind of each fact that any row has, by name; str where rows differ."""
    kinds: dict[str, type] = {}
    for row in rows:
        for key, value in row.facts.items():
            kinds[key] = type(value) if kinds.get(key, type(value)) is type(value) else str
    return {key: kinds[key] for key in sorted(kinds)}


def numbered(rows: Sequence[Row], kinds: Mapping[str, type]) -> list[Row]:
    """The rows with indices from 0 and exactly these facts; -1 or "" where a row lacks one."""
    return [
        dataclasses.replace(
            row,
            index=index,
            facts={key: kind(row.facts.get(key, LACKING[kind])) for key, kind in kinds.items()},
        )
        for index, row in enumerate(rows)
    ]
