"""Predicted against measured step times over the cells of a bench.

A cell is simulated with the very lengths that its run was given, in the order in which the prompts
were drawn, over as many steps; only the engine and the trainer are models. They come from an
``engine.yaml`` calibrated on other runs or, without one, from all cells but the predicted one.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from copris_core.rollout.supply import oversampled_groups
from copris_core.simulator.calibrate import calibrate_runs
from copris_core.simulator.drawn_lengths import ReplayedLengths, drawn_groups
from copris_core.simulator.engine_file import EngineFile
from copris_core.simulator.measured_run import (
    PREFILL,
    WARM_UP_STEPS,
    MeasuredRun,
    read_run,
    setting,
)
from copris_core.simulator.simulation import Workload
from copris_core.simulator.strategies import Strategy, simulation_of

STOCK_PREFIX: Final = "verl_"
"""Strategies that are verl's own trainers, with update costs of their own."""

PROMPTS: Final = "data.train_batch_size"
METRICS: Final = "round*/metrics.jsonl"
BUFFER: Final = "trainer.v1.sampler.custom_sampler.path"
"""Of ours, which answer at once."""
GROUP_SIZE: Final = "actor_rollout_ref.rollout.n"

PROMPT_TOKENS: Final = 32
"""Tokens of a prompt where no engine log tells."""


class CannotSimulateError(ValueError):
    """A cell that the simulator does not model; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The rounds of one method on one workload and batch."""

    name: str
    """``longtail/4x8/copris``."""
    rounds: tuple[MeasuredRun, ...]
    """Its runs."""

    @property
    def config(self) -> dict[str, Any]:
        """The config that its rounds share."""
        return self.rounds[0].config

    @property
    def workload(self) -> str:
        """The first part of its name."""
        return self.name.partition("/")[0]

    @property
    def is_stock(self) -> bool:
        """Whether verl's own trainer ran."""
        return str(setting(self.config, "strategy.name")).startswith(STOCK_PREFIX)

    @property
    def seconds(self) -> list[float]:
        """Seconds of every step, over all rounds."""
        return [step.seconds for run in self.rounds for step in run.steps]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One cell, simulated."""

    cell: str
    """Its name."""
    predicted_s: float
    """Mean seconds of a simulated step."""
    measured_s: float
    """Mean seconds of a measured step."""
    predicted_median_s: float
    """Median seconds of a simulated step: deaf to hiccups, noisy where steps are few and differ."""
    measured_median_s: float
    """Median seconds of a measured step."""
    num_steps: int
    """Measured steps behind it."""
    seen: bool = False
    """Whether the engine was calibrated on a run of this very cell: then it proves little."""

    @property
    def error(self) -> float:
        """Predicted over measured mean, less one."""
        return self.predicted_s / self.measured_s - 1

    @property
    def error_of_median(self) -> float:
        """Predicted over measured median, less one."""
        return self.predicted_median_s / self.measured_median_s - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """All cells of a bench."""

    predictions: tuple[Prediction, ...]
    """Those that could be simulated."""
    skipped: Mapping[str, str]
    """Why the others could not, by cell."""
    source: str
    """Where the engine's numbers came from."""

    @property
    def unseen(self) -> list[Prediction]:
        """Those of cells that the engine was not calibrated on: they alone prove something."""
        return [each for each in self.predictions if not each.seen]

    @property
    def median_error(self) -> float:
        """Median |error| of the mean step, over the unseen cells."""
        return _median([abs(each.error) for each in self.unseen])

    @property
    def median_error_of_median(self) -> float:
        """The same of the median step."""
        return _median([abs(each.error_of_median) for each in self.unseen])


def validate(bench: Path, engine: EngineFile | None = None) -> Validation:
    """Predict every cell of the bench folder ``bench``.

    Args:
        bench: holds ``<workload>/<B>x<n>/<method>/round<k>``, each a run folder.
        engine: calibrated elsewhere; None calibrates, for each cell, on the others.

    Raises:
        ValueError: no cell is there, or none can be predicted; one line.
    """
    cells, skipped = read_cells(bench)
    groups = _groups_by_place(cells)
    predictions = []
    for cell in cells:
        try:
            strategy_of(cell)  # refuses before anything is calibrated
            given = _of_its_trainer(cell, engine) if engine else _without(cell, cells)
            predictions.append(predict(cell, given, groups[_place(cell)]))
        except CannotSimulateError as error:
            skipped[cell.name] = str(error)
    if not predictions:
        reasons = "; ".join(sorted(set(skipped.values())))
        raise ValueError(f"no cell of {bench} can be predicted: {reasons}")
    others = "each cell's engine calibrated on the other cells"
    source = f"engine {engine.name}" if engine else others
    return Validation(predictions=tuple(predictions), skipped=skipped, source=source)


def predict(
    cell: Cell, engine: EngineFile, groups: Sequence[tuple[int, ...]], *, seed: int = 0
) -> Prediction:
    """Simulate one cell over as many steps as its longest round has.

    Raises:
        CannotSimulateError: the cell's strategy is not modelled, or its lengths are unknown.
    """
    strategy = strategy_of(cell)
    if not groups:
        raise CannotSimulateError("no run with this workload and batch kept a ledger of lengths")
    workload = Workload(
        lengths=ReplayedLengths(groups=itertools.cycle(groups)),
        groups_per_stage=_whole(cell, PROMPTS),
        group_size=_whole(cell, GROUP_SIZE),
        prompt_tokens=_prompt_tokens(cell),
        update_s=engine.update_s,
        update_token_s=engine.update_token_s,
        update_padded_token_s=engine.update_padded_token_s,
    )
    num_steps = max(len(run.steps) for run in cell.rounds)
    simulation = simulation_of(strategy, engine=engine.engine, workload=workload, seed=seed)
    results = simulation.run(WARM_UP_STEPS + num_steps)[WARM_UP_STEPS:]
    predicted = [result.total_s for result in results]
    return Prediction(
        cell=cell.name,
        predicted_s=float(np.mean(predicted)),
        measured_s=float(np.mean(cell.seconds)),
        predicted_median_s=_median(predicted),
        measured_median_s=_median(cell.seconds),
        num_steps=len(cell.seconds),
        seen=any(run.name in engine.calibrated_on for run in cell.rounds),
    )


def strategy_of(cell: Cell) -> Strategy:
    """What the cell's config says about who runs and who waits.

    Raises:
        CannotSimulateError: see `predict`.
    """
    chosen = setting(cell.config, "strategy") or {}
    name = str(chosen.get("name")).removeprefix(STOCK_PREFIX)
    if setting(cell.config, "pruning.rule"):
        raise CannotSimulateError("pruning shortens the update by a share that is not modelled")
    prompts, group_size = _whole(cell, PROMPTS), _whole(cell, GROUP_SIZE)
    if name == "sync":
        if not setting(cell.config, BUFFER):
            raise CannotSimulateError("verl's own buffer looks every 2 s, which is not modelled")
        return Strategy(name=name, concurrency=prompts * group_size)
    if name == "oversample":
        groups = oversampled_groups(prompts, chosen["oversample_factor"])
        return Strategy(name=name, concurrency=groups * group_size)
    if name not in ("copris", "naive_partial"):
        raise CannotSimulateError(f"strategy {chosen.get('name')} is not modelled")
    is_adaptive = chosen.get("limit") == "adaptive"
    return Strategy(
        name="copris_adaptive" if is_adaptive else name,
        concurrency=chosen["concurrency"],
        max_lag=setting(cell.config, "staleness.max_lag"),
        staleness_cap=chosen.get("staleness_cap") if is_adaptive else None,
    )


def read_cells(bench: Path) -> tuple[list[Cell], dict[str, str]]:
    """Every cell of a bench folder by name, and why others could not be read.

    Raises:
        ValueError: there is none.
    """
    places = sorted({path.parent.parent for path in bench.glob("*/*/*/round*/metrics.jsonl")})
    if not places:
        raise ValueError(f"no cell in {bench}: give the folder that copris bench wrote")
    cells, unread = [], {}
    for place in places:
        name = place.relative_to(bench).as_posix()
        try:
            rounds = tuple(read_run(path.parent) for path in sorted(place.glob(METRICS)))
        except ValueError as error:
            unread[name] = str(error)
        else:
            cells.append(Cell(name=name, rounds=rounds))
    return cells, unread


def markdown(validation: Validation) -> str:
    """The table, for the documentation and the terminal alike."""
    lines = [
        "| cell | step s: predicted | measured | error | error of the median step | steps |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.cell}{' (calibrated on it)' if each.seen else ''} | {each.predicted_s:.2f} | "
        f"{each.measured_s:.2f} | {each.error:+.0%} | {each.error_of_median:+.0%} | "
        f"{each.num_steps} |"
        for each in validation.predictions
    ]
    lines += [f"| {cell} | - | - | - | - | {why} |" for cell, why in validation.skipped.items()]
    lines += [
        "",
        f"Median |error| of the mean step {validation.median_error:.1%}, over "
        f"{len(validation.unseen)} cells (of the median step "
        f"{validation.median_error_of_median:.1%}), {validation.source}.",
    ]
    return "\n".join(lines) + "\n"


# ---- where lengths come from ----


def _groups_by_place(cells: Sequence[Cell]) -> dict[str, list[tuple[int, ...]]]:
    """Lengths by workload and batch: prompts come in the same order whatever the method."""
    found: dict[str, list[tuple[int, ...]]] = {}
    for cell in cells:
        groups = found.setdefault(_place(cell), [])
        longest = max((drawn_groups(run) for run in cell.rounds), key=len)
        if len(longest) > len(groups):
            found[_place(cell)] = longest
    return found


# ---- small questions ----


def _of_its_trainer(cell: Cell, engine: EngineFile) -> EngineFile:
    if cell.is_stock:
        raise CannotSimulateError("engine.yaml has our trainer's update, not that of verl's own")
    return engine


def _without(cell: Cell, cells: Sequence[Cell]) -> EngineFile:
    """Calibrated on all other cells with the same kind of trainer.

    The update costs are those of the same workload if it has others: they depend on how much of a
    micro-batch is padding.
    """
    others = [
        other
        for other in cells
        if other is not cell and other.is_stock == cell.is_stock and _is_modelled(other)
    ]
    workload = [other for other in others if other.workload == cell.workload] or others
    if not others:
        raise CannotSimulateError("no other cell with the same kind of trainer to calibrate on")
    return calibrate_runs(_runs(others), trained_like=_runs(workload))


def _runs(cells: Sequence[Cell]) -> list[MeasuredRun]:
    return [run for cell in cells for run in cell.rounds]


def _is_modelled(cell: Cell) -> bool:
    try:
        strategy_of(cell)
    except CannotSimulateError:
        return False
    return all(run.engines for run in cell.rounds)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else math.nan


def _place(cell: Cell) -> str:
    return cell.name.rpartition("/")[0]


def _whole(cell: Cell, key: str) -> int:
    value = setting(cell.config, key)
    if not isinstance(value, int):
        raise CannotSimulateError(f"its config.yaml does not tell {key}")
    return value


def _prompt_tokens(cell: Cell) -> int:
    """What a fresh request alone prefills: the small end of the prefills in the engine logs."""
    prefills = [rows[rows[:, PREFILL] > 0, PREFILL] for run in cell.rounds for rows in run.engines]
    together = np.concatenate(prefills) if prefills else np.array([])
    return int(np.quantile(together, 0.1)) if len(together) else PROMPT_TOKENS
