"""The cells of one workload and batch side by side: ratios, limits, equal lag, pruning.

Ratios are paired: each cell against the baseline's of its own round. Two limits stand beside them.

    f       = the baseline's generate seconds / its step seconds
    limit   = 1 / (1 - f b)                     of a whole step, when b of generation goes
    slots:  b = 1 - mean(running / width)       over the baseline's busy engine seconds
    cost:   b = 1 - tokens t(W)/W / generation  of the baseline's tokens on the measured engine

``slots`` takes an iteration to cost the same however full it is. ``cost`` asks what the baseline's
tokens would take if W requests were held all the time; t is the isotonic fit through all cells.
Both let only generation shrink: who saves a phase besides, such as log-probs, may pass them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from copris_core.report.bench_cell import Cell
from copris_core.report.bench_curve import CostCurve, fit
from copris_core.report.bench_lag import EqualLag, equal_lag
from copris_core.report.bench_names import BASELINE, PRUNED, RELEASED, Batch, is_pruned
from copris_core.report.bench_stats import (
    METRICS,
    RATES,
    Measure,
    Spread,
    median,
    paired,
    samples_within,
    seconds_for,
    spread,
)
from copris_core.report.bench_waterfall import Waterfall
from copris_core.report.ratios import ratio


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a method could at best bring over the baseline, and how much of it it brought."""

    b: float
    """Share of the baseline's generation that would go; negative: holding W costs more."""
    generate: float
    """1 / (1 - b), limit of the generate phase's ratio."""
    step: float
    """1 / (1 - f b), limit of the whole step's ratio."""
    of_limit: float | None
    """Measured whole-step ratio of samples / ``step``."""
    of_generate: float | None
    """Measured ratio of samples in the generate phase / ``generate``."""
    of_limit_tokens: float | None
    """The same of tokens, which carry no chance of lengths."""


@dataclass(frozen=True, kw_only=True)
class MethodReading:
    """One method over its rounds."""

    method: str
    """Name."""
    values: Mapping[str, Spread | None]
    """`bench_stats.METRICS`, and of the equal readings ``equal_samples_s``: seconds to train as
    many samples as the slowest cell trained; ``equal_wall_samples``: samples trained in the seconds
    of the fastest cell."""
    ratios: Mapping[str, Spread | None]
    """`bench_stats.RATES` and the two equal readings over the baseline's of the same round; above 1
    is better. Empty without a baseline."""
    limits: Mapping[str, Limit]
    """By kind, ``slots`` and ``cost``; empty for the baseline and where it has no engine log."""
    waterfall: Waterfall
    """Seconds of a training step, mean over the rounds."""


@dataclass(frozen=True, kw_only=True)
class PruningReading:
    """What pruning brought to the update phase of one method."""

    method: str
    """The unpruned one."""
    pruning_rate: float
    """P, share of the sampled responses that did not reach the update."""
    update_ratio: Spread
    """Update seconds, pruned over unpruned, of the same round."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """All that was measured of one workload and batch."""

    workload: str
    """Name."""
    batch: Batch
    """Prompts and responses of a step."""
    baseline: str | None
    """Method that ratios are taken against; None where it was not measured."""
    generate_share: float | None
    """f of the baseline, median over the rounds."""
    equal_samples: int
    """K, samples that every cell trained."""
    equal_wall_s: float
    """T, seconds that every cell ran."""
    best_width: float | None
    """Requests held in one engine at which a token is cheapest, of those that were reached."""
    methods: tuple[MethodReading, ...]
    """In the order of the bench."""
    equal_lag: EqualLag | None
    """CoPRIS against verl's own partial rollout; None where one was not measured."""
    pruning: tuple[PruningReading, ...]
    """Of each method that was run pruned as well."""

    def reading(self, method: str) -> MethodReading | None:
        """Of one method; None where it was not measured."""
        return next((each for each in self.methods if each.method == method), None)


def group_cells(cells: Sequence[Cell]) -> tuple[Group, ...]:
    """Group the cells by workload and batch, in the order of the first cell of each."""
    found: dict[tuple[str, Batch], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.key.workload, cell.key.batch), []).append(cell)
    return tuple(_group(each) for each in found.values())


def _group(cells: Sequence[Cell]) -> Group:
    by_method: dict[str, list[Cell]] = {}
    for cell in cells:
        by_method.setdefault(cell.key.method, []).append(cell)
    baseline = next((name for name in (BASELINE, RELEASED) if name in by_method), None)
    ours = by_method[baseline] if baseline else []
    num_samples = min(cell.samples for cell in cells)
    wall_s = min(sum(cell.step_s) for cell in cells)
    curve = fit(point for cell in cells if cell.engine for point in cell.engine.curve)
    return Group(
        workload=cells[0].key.workload,
        batch=cells[0].key.batch,
        baseline=baseline,
        generate_share=median(cell.generate_s / sum(cell.step_s) for cell in ours),
        equal_samples=num_samples,
        equal_wall_s=wall_s,
        best_width=curve.best_width if curve else None,
        methods=tuple(
            _method(name, each, ours, curve, num_samples=num_samples, wall_s=wall_s)
            for name, each in by_method.items()
        ),
        equal_lag=equal_lag(by_method),
        pruning=_pruning(by_method),
    )


def _method(
    name: str,
    cells: Sequence[Cell],
    baseline: Sequence[Cell],
    curve: CostCurve | None,
    *,
    num_samples: int,
    wall_s: float,
) -> MethodReading:
    measures: dict[str, Measure] = {
        **METRICS,
        "equal_samples_s": lambda cell: seconds_for(cell, num_samples),
        "equal_wall_samples": lambda cell: samples_within(cell, wall_s),
    }
    ratios = {rate: paired(cells, baseline, METRICS[rate]) for rate in RATES}
    ratios["equal_samples"] = paired(
        cells, baseline, lambda cell: ratio(1.0, seconds_for(cell, num_samples))
    )
    ratios["equal_wall"] = paired(cells, baseline, lambda cell: samples_within(cell, wall_s))
    is_baseline = bool(baseline) and name == baseline[0].key.method
    return MethodReading(
        method=name,
        values={key: spread(measure(cell) for cell in cells) for key, measure in measures.items()},
        ratios=ratios if baseline else {},
        limits={} if is_baseline else _limits(cells, baseline, curve, ratios),
        waterfall=_mean_waterfall(cells),
    )


def _limits(
    cells: Sequence[Cell],
    baseline: Sequence[Cell],
    curve: CostCurve | None,
    ratios: Mapping[str, Spread | None],
) -> dict[str, Limit]:
    share = median(cell.generate_s / sum(cell.step_s) for cell in baseline)
    width = median(cell.width / cell.engine.num_engines for cell in cells if cell.engine)
    bubbles = {
        "slots": median(1 - cell.engine.occupancy for cell in baseline if cell.engine),
        "cost": None
        if curve is None or width is None
        else median(_bubble_at_cost(cell, curve.per_request(width)) for cell in baseline),
    }
    return {
        kind: _limit(share, b, ratios)
        for kind, b in bubbles.items()
        if b is not None and share is not None
    }


def _bubble_at_cost(cell: Cell, token_s: float) -> float | None:
    """1 - seconds of the cell's tokens at ``token_s`` each, over the seconds that they took."""
    if cell.engine is None or not cell.generate_s:
        return None
    return 1 - cell.engine.decode_tokens / cell.engine.num_engines * token_s / cell.generate_s


def _limit(share: float, b: float, ratios: Mapping[str, Spread | None]) -> Limit:
    step = 1 / (1 - share * b)
    generate = 1 / (1 - b)

    def reached(rate: str, limit: float) -> float | None:
        measured = ratios[rate]
        return None if measured is None else measured.median / limit

    return Limit(
        b=b,
        generate=generate,
        step=step,
        of_limit=reached("step_samples_per_s", step),
        of_generate=reached("generate_samples_per_s", generate),
        of_limit_tokens=reached("step_tokens_per_s", step),
    )


def _mean_waterfall(cells: Sequence[Cell]) -> Waterfall:
    return Waterfall(
        **{
            piece.name: sum(getattr(x.waterfall, piece.name) / x.steps for x in cells) / len(cells)
            for piece in fields(Waterfall)
        }
    )


def _pruning(by_method: Mapping[str, Sequence[Cell]]) -> tuple[PruningReading, ...]:
    found = []
    for name, cells in by_method.items():
        whole = by_method.get(name.removesuffix(PRUNED), ())
        ratios = paired(cells, whole, METRICS["update_s"])
        if is_pruned(name) and ratios:
            trained = sum(cell.trained_samples for cell in cells)
            found.append(
                PruningReading(
                    method=name.removesuffix(PRUNED),
                    pruning_rate=1 - trained / sum(cell.samples for cell in cells),
                    update_ratio=ratios,
                )
            )
    return tuple(found)
