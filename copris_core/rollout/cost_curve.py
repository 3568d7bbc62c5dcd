"""Seconds that a generated token costs at N' in flight, learned from the stages seen so far.

    cost = step_s / N' + token_s + again_s x (response tokens prefilled again per new token)

A decode step of N' responses takes step_s + token_s N' and yields N' tokens; what was interrupted
is prefilled again. The three are fitted by least squares under the constraint that none is
negative, over single stages: how much is prefilled again differs from stage to stage, and that
tells again_s; step_s is told by stages of different N'. Near stages weigh most: far away the engine
may bend (flat, then rising), and a straight line through everything would be wrong here.
"""

import itertools
import math
from dataclasses import asdict, dataclass

MAX_STAGES = 64
"""Stages kept; a fit costs some microseconds for each."""

LEVELS_PER_OCTAVE = 2
"""Levels per factor 2 of N'. Where a stage must go, the oldest of the fullest level goes, so that
hundreds of stages at a held N' do not push out the few that tell what another one costs."""

NEARNESS_OCTAVES = 1.5
"""Distance, in factors of 2, over which a stage's weight falls to exp(-1/2)."""

FAR_WEIGHT = 0.02
"""Least weight of a stage, however far: with few stages the fit needs them all."""

NOISE = 0.08
"""Standard deviation of the log of a stage's cost that is taken for granted; a shared machine."""

PRIOR_STAGES = (3 * NOISE) ** 2
"""Stages that the prior weighs: (``NOISE`` / uncertainty of a third)^2. It decides only what the
stages so far leave open."""

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
class _Stage:
    """One stage, per generated token."""

    in_flight: float
    cost: float
    again: float

    @property
    def level(self) -> int:
        return round(LEVELS_PER_OCTAVE * math.log2(self.in_flight))

    @property
    def features(self) -> tuple[float, float, float]:
        """What step_s, token_s and again_s are multiplied with."""
        return (1 / self.in_flight, 1.0, self.again)


class CostCurve:
    """What the stages cost, and the fit through them."""

    def __init__(self) -> None:
        """Start without a stage."""
        self._stages: list[_Stage] = []

    @property
    def highest(self) -> float:
        """Most in flight in any stage; 0.0 without one."""
        return max((stage.in_flight for stage in self._stages), default=0.0)

    def num_within(self, low: float, high: float) -> int:
        """Stages with ``low`` to ``high`` in flight."""
        return sum(low <= stage.in_flight <= high for stage in self._stages)

    def record(self, *, in_flight: float, open_s: float, tokens: int, again: int) -> None:
        """One stage: mean in flight, its seconds, tokens sampled and tokens prefilled again."""
        stage = _Stage(in_flight=in_flight, cost=open_s / tokens, again=again / tokens)
        self._stages.append(stage)
        if len(self._stages) > MAX_STAGES:
            levels = [each.level for each in self._stages]
            del self._stages[levels.index(max(levels, key=levels.count))]

    def scale(self, factor: float) -> None:
        """All stages have become ``factor`` times as dear: the machine changed, not N'."""
        for stage in self._stages:
            stage.cost *= factor

    def forget(self) -> None:
        """Start over."""
        self._stages.clear()

    def fit(self, around: float) -> Cost | None:
        """The coefficients near N' = ``around``; None before two levels of N' were visited."""
        if len({stage.level for stage in self._stages}) < 2:
            return None
        rows = [self._row(stage, around) for stage in self._stages]
        rows += self._prior_rows(around)
        normal = [[sum(row[i] * row[j] for row in rows) for j in range(4)] for i in range(4)]
        best, least = (0.0, 0.0, 0.0), math.inf
        for size in (1, 2, 3):
            for chosen in itertools.combinations(range(3), size):
                solved = _least_squares(normal, chosen)
                if solved is None or min(solved) < 0:
                    continue
                error = _squared_error(normal, solved)
                if error < least - MIN_GAIN * len(rows):
                    best, least = solved, error
        return Cost(step_s=best[0], token_s=best[1], again_s=best[2])

    def state_dict(self) -> list[dict[str, float]]:
        """As JSON: the stages, oldest first."""
        return [asdict(stage) for stage in self._stages]

    def load_state_dict(self, state: list[dict[str, float]]) -> None:
        """Take up what ``state_dict`` gave."""
        self._stages = [_Stage(**stage) for stage in state]

    def _prior_rows(self, around: float) -> list[tuple[float, ...]]:
        """Each coefficient brings a third of the nearest stage's cost, give or take a third."""
        nearest = min(self._stages, key=lambda stage: abs(math.log(stage.in_flight / around)))
        root = math.sqrt(PRIOR_STAGES)
        shares = [root * feature / nearest.cost for feature in nearest.features]
        return [
            (*(share if i == j else 0.0 for j, share in enumerate(shares)), root / 3)
            for i in range(3)
        ]

    @staticmethod
    def _row(stage: _Stage, around: float) -> tuple[float, ...]:
        """Features over cost, times the root of the weight; the error is then a relative one."""
        octaves = math.log2(stage.in_flight / around)
        near = math.exp(-0.5 * (octaves / NEARNESS_OCTAVES) ** 2)
        root = math.sqrt(max(FAR_WEIGHT, near))
        return (*(root * feature / stage.cost for feature in stage.features), root)


def _least_squares(
    normal: list[list[float]], chosen: tuple[int, ...]
) -> tuple[float, float, float] | None:
    """Minimise |X w - y|^2 over the ``chosen`` columns of X; None if they are collinear.

    ``normal`` is [X y]'[X y], [4, 4].
    """
    scales = [math.sqrt(normal[i][i]) for i in chosen]
    if min(scales) <= 0:
        return None
    matrix = [
        [normal[i][j] / (a * b) for j, b in zip(chosen, scales, strict=True)] + [normal[i][3] / a]
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


def _squared_error(normal: list[list[float]], weights: tuple[float, float, float]) -> float:
    """|X w - y|^2 from [X y]'[X y]."""
    signed = (*weights, -1.0)
    return sum(
        x * y * normal[i][j] for (i, x), (j, y) in itertools.product(enumerate(signed), repeat=2)
    )
