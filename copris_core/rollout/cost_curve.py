"""Seconds that a generated token costs at N' in flight, learned from the stages seen so far.

    cost(N') = step_s / N' + token_s + again_s x (response tokens prefilled again per new token)

A decode step of N' responses takes step_s + token_s N' and yields N' tokens; what was interrupted
is prefilled again. The three are fitted by least squares under the constraint that none is
negative, on the levels of N' that were visited, the near ones weighing most: far away the engine
may bend (flat, then rising) and a straight line through everything would be wrong here.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

LEVELS_PER_OCTAVE = 2
"""Levels per factor 2 of N': stages within about 20% of each other are averaged."""

STAGES_KEPT = 16.0
"""Stages that a level's average reaches back; with 8% noise a stage it is good to 2%."""

NEARNESS_OCTAVES = 1.5
"""Distance, in factors of 2, over which a level's weight falls to exp(-1/2)."""

FAR_WEIGHT = 0.02
"""Least weight of a level, however far: with few levels the fit needs them all."""

NOISE = 0.08
"""Standard deviation of the log of a stage's cost that is taken for granted; a shared machine."""

PRIOR_STAGES = 0.06
"""Stages that the prior weighs: (``NOISE`` / uncertainty of a third)^2. It decides only what the
levels visited so far leave open."""

SINGULAR = 1e-9
"""Pivot, relative to the diagonal, below which columns count as collinear."""

MIN_GAIN = 1e-6
"""Relative fall of the squared error that one more coefficient must bring; below it is rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The fitted coefficients, none negative."""

    step_s: float
    """Seconds per decode step that any batch costs, over all replicas."""
    token_s: float
    """Seconds per generated token that no batch size saves."""
    again_s: float
    """Seconds per response token that is prefilled again."""

    def per_token(self, in_flight: float, again_per_token: float) -> float:
        """Seconds per generated token."""
        return self.step_s / in_flight + self.token_s + self.again_s * again_per_token


@dataclass(slots=True, kw_only=True)
class _Level:
    """Sums over the stages at one level of N'; old ones fade."""

    stages: float = 0.0
    open_s: float = 0.0
    tokens: float = 0.0
    steps: float = 0.0
    again: float = 0.0

    @property
    def in_flight(self) -> float:
        return self.tokens / self.steps

    @property
    def features(self) -> tuple[float, float, float]:
        """What step_s, token_s and again_s are multiplied with, per generated token."""
        return (self.steps / self.tokens, 1.0, self.again / self.tokens)

    @property
    def cost(self) -> float:
        return self.open_s / self.tokens


class CostCurve:
    """What each level of N' cost, and the fit through it."""

    def __init__(self) -> None:
        """Start without a stage."""
        self._levels: dict[int, _Level] = {}

    @property
    def highest(self) -> float:
        """Most in flight at any level; 0.0 without one."""
        return max((level.in_flight for level in self._levels.values()), default=0.0)

    def stages_within(self, low: float, high: float) -> float:
        """Stages, old ones faded, at levels of ``low`` to ``high`` in flight."""
        levels = self._levels.values()
        return sum(level.stages for level in levels if low <= level.in_flight <= high)

    def record(self, *, in_flight: float, open_s: float, tokens: int, again: int) -> None:
        """One stage: mean in flight, its seconds, tokens sampled and tokens prefilled again."""
        number = round(LEVELS_PER_OCTAVE * math.log2(in_flight))
        level = self._levels.setdefault(number, _Level())
        fade = 1 - 1 / STAGES_KEPT
        level.stages = fade * level.stages + 1
        level.open_s = fade * level.open_s + open_s
        level.tokens = fade * level.tokens + tokens
        level.steps = fade * level.steps + tokens / in_flight
        level.again = fade * level.again + again

    def scale(self, factor: float) -> None:
        """Every level has become ``factor`` times as dear: the machine changed, not N'."""
        for level in self._levels.values():
            level.open_s *= factor

    def forget(self) -> None:
        """Start over."""
        self._levels.clear()

    def fit(self, around: float) -> Cost | None:
        """The coefficients near N' = ``around``; None before two levels were visited."""
        if len(self._levels) < 2:
            return None
        rows = [self._row(level, around) for level in self._levels.values()]
        rows += self._prior_rows(around)
        best = (0.0, 0.0, 0.0)
        least = math.inf
        for size in (1, 2, 3):
            for chosen in itertools.combinations(range(3), size):
                solved = _least_squares(rows, chosen)
                if solved is None or min(solved) < 0:
                    continue
                error = _squared_error(rows, solved)
                if error < least - MIN_GAIN * len(rows):
                    best, least = solved, error
        return Cost(step_s=best[0], token_s=best[1], again_s=best[2])

    def state_dict(self) -> dict[str, dict[str, float]]:
        """As JSON: level number -> its sums."""
        return {str(number): asdict(level) for number, level in self._levels.items()}

    def load_state_dict(self, state: dict[str, dict[str, float]]) -> None:
        """Take up what ``state_dict`` gave."""
        self._levels = {int(number): _Level(**level) for number, level in state.items()}

    def _prior_rows(self, around: float) -> list[tuple[float, ...]]:
        """Each coefficient brings a third of the nearest level's cost, give or take a third."""
        levels = self._levels.values()
        nearest = min(levels, key=lambda level: abs(math.log(level.in_flight / around)))
        root = math.sqrt(PRIOR_STAGES)
        shares = [root * feature / nearest.cost for feature in nearest.features]
        return [
            (*(share if i == j else 0.0 for j, share in enumerate(shares)), root / 3)
            for i in range(3)
        ]

    @staticmethod
    def _row(level: _Level, around: float) -> tuple[float, ...]:
        """Features over cost, times the root of the weight; the error is then a relative one."""
        octaves = math.log2(level.in_flight / around)
        near = math.exp(-0.5 * (octaves / NEARNESS_OCTAVES) ** 2)
        root = math.sqrt(level.stages * max(FAR_WEIGHT, near))
        return (*(root * feature / level.cost for feature in level.features), root)


def _least_squares(
    rows: Sequence[tuple[float, ...]], chosen: tuple[int, ...]
) -> tuple[float, float, float] | None:
    """Minimise |X w - y|^2 over the ``chosen`` of three columns; None if they are collinear."""
    scales = [math.sqrt(sum(row[i] ** 2 for row in rows)) for i in chosen]
    if min(scales) <= 0:
        return None
    matrix = [
        [
            sum(row[i] * row[j] for row in rows) / (a * b)
            for j, b in zip(chosen, scales, strict=True)
        ]
        + [sum(row[i] * row[3] for row in rows) / a]
        for i, a in zip(chosen, scales, strict=True)
    ]
    solution = _solve(matrix)
    if solution is None:
        return None
    weights = [0.0, 0.0, 0.0]
    for i, value, scale in zip(chosen, solution, scales, strict=True):
        weights[i] = value / scale
    return (weights[0], weights[1], weights[2])


def _solve(matrix: list[list[float]]) -> list[float] | None:
    """Gauss-Jordan on [size][size + 1] with a unit diagonal; None if it is singular."""
    size = len(matrix)
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(matrix[row][column]))
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        if abs(matrix[column][column]) < SINGULAR:
            return None
        top = [value / matrix[column][column] for value in matrix[column]]
        matrix = [
            top if row == column else [x - line[column] * t for x, t in zip(line, top, strict=True)]
            for row, line in enumerate(matrix)
        ]
    return [line[size] for line in matrix]


def _squared_error(rows: Sequence[tuple[float, ...]], weights: Sequence[float]) -> float:
    return sum(
        (sum(x * w for x, w in zip(row[:3], weights, strict=True)) - row[3]) ** 2 for row in rows
    )
