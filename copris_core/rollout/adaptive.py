"""An in-flight limit that finds its own value: facts in, a limit and its reason out; no clock.

The policy, in five bullets:
- Search: change N' by at most a factor of 2 a stage until the cheapest N' of the cost curve is
  bracketed by stages that were really run; then hold it.
- Hold: N' stays while the whole step is within a few percent of the cheapest one; it moves only
  when that has not been so for several stages in a row, so that noise moves nothing.
- Small: of all N' that cost nearly the same, the smallest, because interruptions per response, and
  so staleness, are N' / (B n).
- Cut: preemptions or a nearly full KV cache lower N' at once, within the stage, in proportion to
  what still runs; N' never grows to where the KV cache would pass its mark.
- Trim: what the engines keep waiting for most of a stage is no concurrency: N' becomes what runs.
"""

import math
from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from typing import Any

from copris_core.rollout.concurrency import EngineFacts, StageFacts
from copris_core.rollout.cost_curve import Cost, CostCurve
from copris_core.rollout.engine_watch import EngineWatch
from copris_core.rollout.states import check_move
from copris_core.rollout.step_plan import Plan, StepPlanner

SEARCH_FACTOR = 2.0
"""Largest change of N' from one stage to the next; 8x off is three stages away."""

BRACKET = 1.6
"""Factor beyond the cheapest N', on either side, that stages must have tried: the fit then
interpolates. Where a curve has a clear minimum, it has risen by some percent there."""

BRACKET_STAGES = 2
"""Stages on either side that make a bracket; one may have been noise."""

TRIED_SHARE = 0.9
"""Share of a bracket's side that counts as tried: the mean in flight falls short of the limit."""

MAX_SEARCH_STAGES = 14
"""Stages after which a search settles for what it has; users' runs have tens to hundreds."""

PATIENCE_STAGES = 5
"""Stages in a row outside the band before a held N' moves: with 8% noise one or two happen."""

START_INTERRUPTIONS = 4.0
"""Interruptions per response, N' / (B n), beyond which no run starts and N' grows slowly. Of N'
fresh responses a stage trains B n: what is started in excess is a stock that is prefilled again and
again, for dozens of stages in which no N' can be judged."""

SLOW_FACTOR = 1.25
"""Largest growth of N' from one stage to the next beyond ``START_INTERRUPTIONS``."""

PROBE_DOWN_ABOVE = 2.0
"""Interruptions per response above which the first step of a search goes down: every response is
then prefilled more than twice, and the answer is more often below than above."""

DRIFT_GAIN = 0.05
"""Share of a stage's surprise that is put down to the machine or the lengths having changed for
every N' alike, which keeps the levels that were visited long ago comparable."""

DRIFT_LIMIT = 0.25
"""Sum of that drift, in log cost, after which the curve's shape is no longer believed either and
the search starts over."""

CUT_FACTOR = 0.85
"""What a cut leaves of the running responses."""


class Phase(Enum):
    """What the controller is doing."""

    STARTING = auto()
    SEARCHING = auto()
    HOLDING = auto()


PHASE_MOVES = {
    Phase.STARTING: frozenset({Phase.SEARCHING}),
    Phase.SEARCHING: frozenset({Phase.HOLDING}),
    Phase.HOLDING: frozenset({Phase.SEARCHING}),  # the engine or the lengths have changed
}


class Reason(IntEnum):
    """Why the limit is what it is; the number is ``rollout/limit_reason``."""

    START = 0
    """As configured; no stage has been judged."""
    HOLD = 1
    """The step's time is within the band of the cheapest."""
    GROW = 2
    """More in flight is cheaper, or has to be tried."""
    SHRINK = 3
    """Fewer in flight are cheaper or as cheap, or have to be tried."""
    CUT = 4
    """Preemptions, or a nearly full KV cache."""
    TRIM = 5
    """The engines kept the rest waiting."""
    STALENESS_CAP = 6
    """More would be cheaper, but interruptions per response are capped."""
    MEMORY_CAP = 7
    """More would be cheaper, but the KV cache would pass its mark."""
    QUEUE_CAP = 8
    """More would be cheaper, but the engines would not run them."""


class AdaptiveLimit:
    """The limit, and how it is learned. ``observe`` and ``end_stage`` are its only inputs.

    Invariant: ``floor <= limit <= max_interruptions x samples_per_stage``, after every call.
    """

    def __init__(
        self,
        *,
        start: int,
        samples_per_stage: int,
        floor: int = 1,
        max_interruptions: float | None = None,
    ) -> None:
        """Begin at ``start``, moved into the bounds and to ``START_INTERRUPTIONS`` at most.

        Args:
            start: N' of the first stage.
            samples_per_stage: B n, responses trained per step.
            floor: smallest N', at least 1.
            max_interruptions: the user's staleness cap: N' / (B n) never exceeds it; None for none.

        Raises:
            ValueError: a bound below 1, or a cap below the floor.
        """
        if min(start, samples_per_stage, floor) < 1:
            raise ValueError(
                f"start={start}, samples_per_stage={samples_per_stage}, floor={floor}: "
                "each must be >= 1"
            )
        cap = math.inf if max_interruptions is None else max_interruptions * samples_per_stage
        if not cap >= floor:
            raise ValueError(
                f"max_interruptions={max_interruptions} allows {cap:g} in flight, fewer than "
                f"the floor of {floor}; raise it"
            )
        self._samples_per_stage = samples_per_stage
        self._floor = floor
        self._staleness_cap = cap
        self._queue_cap = math.inf
        self._limit = self._within_bounds(min(start, START_INTERRUPTIONS * samples_per_stage))
        self._reason = Reason.START
        self._phase = Phase.STARTING
        self._curve = CostCurve()
        self._planner = StepPlanner(samples_per_stage=samples_per_stage)
        self._watch = EngineWatch()
        self._was_cut = False
        self._search_stages = 0
        self._stages_outside = 0
        self._drift = 0.0

    # ---- questions ----

    @property
    def limit(self) -> int:
        """In-flight limit N' in force."""
        return self._limit

    @property
    def reason(self) -> str:
        """Why, in a word."""
        return self._reason.name.lower()

    @property
    def phase(self) -> Phase:
        """What the controller is doing."""
        return self._phase

    def metrics(self) -> dict[str, float]:
        """``rollout/limit`` in responses; ``rollout/limit_reason`` as numbered in ``Reason``."""
        return {"rollout/limit": self._limit, "rollout/limit_reason": int(self._reason)}

    # ---- facts ----

    def observe(self, facts: EngineFacts) -> None:
        """Take one report of the engines; a memory shortage cuts the limit now.

        Raises:
            ValueError: it is older than the one before.
        """
        self._watch.observe(facts)
        if self._may_cut(facts) and self._watch.memory_is_short():
            self._watch.forgive_preemptions()
            self._was_cut = True
            self._lower(math.floor(CUT_FACTOR * facts.running), Reason.CUT)

    def end_stage(self, facts: StageFacts) -> None:
        """Take what a step came to, and set the limit of the next stage.

        A stage that sampled nothing teaches nothing.
        """
        if not (facts.tokens and facts.open_s and facts.in_flight):
            return
        was_cut, self._was_cut = self._was_cut, False
        ran_while_queueing = self._watch.ran_while_queueing
        self._watch.end_stage(was_cut=was_cut, is_first=self._phase is Phase.STARTING)
        self._planner.record(facts, is_steady=self._phase is Phase.HOLDING)
        if self._phase is Phase.STARTING:  # all began at once and the engine warmed up: no measure
            self._move(Phase.SEARCHING)
        elif not was_cut:
            self._learn(facts)
        if ran_while_queueing is not None:
            self._queue_cap = min(self._queue_cap, ran_while_queueing)
            self._lower(ran_while_queueing, Reason.TRIM)
        elif self._phase is Phase.SEARCHING:
            self._search()
        elif not was_cut:
            self._hold()

    # ---- across a restart ----

    def state_dict(self) -> dict[str, Any]:
        """Everything learned, as JSON; what the engines counted is not part of it."""
        return {
            "limit": self._limit,
            "reason": self._reason.name,
            "phase": self._phase.name,
            "queue_cap": None if self._queue_cap == math.inf else self._queue_cap,
            "curve": self._curve.state_dict(),
            "planner": self._planner.state_dict(),
            "watch": self._watch.state_dict(),
            "search_stages": self._search_stages,
            "stages_outside": self._stages_outside,
            "drift": self._drift,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave; this object's own bounds hold at once.

        Raises:
            KeyError: a part is missing; nothing was changed.
        """
        limit, queue_cap, drift = state["limit"], state["queue_cap"], state["drift"]
        phase, reason = Phase[state["phase"]], Reason[state["reason"]]
        search_stages, stages_outside = state["search_stages"], state["stages_outside"]
        curve, planner, watch = state["curve"], state["planner"], state["watch"]
        self._curve.load_state_dict(curve)
        self._planner.load_state_dict(planner)
        self._watch.load_state_dict(watch)
        self._queue_cap = math.inf if queue_cap is None else queue_cap
        self._limit, self._reason, self._phase = self._within_bounds(limit), reason, phase
        self._search_stages, self._stages_outside = search_stages, stages_outside
        self._drift = drift

    # ---- bounds ----

    def _within_bounds(self, limit: float) -> int:
        return max(self._floor, math.floor(min(limit, self._staleness_cap)))

    def _may_cut(self, facts: EngineFacts) -> bool:
        """A held N' is nearly right: once a stage. Else as soon as the last cut has shown."""
        if self._was_cut and self._phase is Phase.HOLDING:
            return False
        return not self._was_cut or facts.running <= self._limit

    def _lower(self, to: int, reason: Reason) -> None:
        lower = self._within_bounds(to)
        if lower < self._limit:
            self._limit, self._reason = lower, reason
            self._stages_outside = 0

    def _ceiling(self) -> tuple[float, Reason]:
        """The largest N' to grow to, and what sets it; it lowers nothing."""
        cap, reason = min(
            (self._staleness_cap, Reason.STALENESS_CAP),
            (self._watch.memory_cap, Reason.MEMORY_CAP),
            (self._queue_cap, Reason.QUEUE_CAP),
        )
        return max(self._limit, cap), reason

    def _reachable(self, goal: float) -> int:
        """``goal`` within the bounds, the ceiling and the reach of one stage."""
        ceiling, _ = self._ceiling()
        stock = START_INTERRUPTIONS * self._samples_per_stage
        highest = max(SLOW_FACTOR * self._limit, min(SEARCH_FACTOR * self._limit, stock))
        reach = min(max(goal, self._limit / SEARCH_FACTOR), highest)
        return self._within_bounds(math.floor(ceiling) if reach > ceiling else math.ceil(reach))

    # ---- decisions ----

    def _learn(self, facts: StageFacts) -> None:
        cost = self._curve.fit(facts.in_flight)
        if cost is not None and self._phase is Phase.HOLDING:
            expected = cost.per_token(facts.in_flight, facts.prefilled_again / facts.tokens)
            drift = DRIFT_GAIN * math.log(facts.open_s / facts.tokens / expected)
            self._curve.scale(math.exp(drift))
            self._drift += drift
        self._curve.record(
            in_flight=facts.in_flight,
            open_s=facts.open_s,
            tokens=facts.tokens,
            again=facts.prefilled_again,
        )

    def _search(self) -> None:
        self._search_stages += 1
        cost = self._curve.fit(self._limit)
        if cost is None:
            self._go(self._limit * (1 / SEARCH_FACTOR if self._probes_down() else SEARCH_FACTOR))
            return
        plan = self._plan(cost)
        to_try = self._untried(plan)
        is_last = self._search_stages >= MAX_SEARCH_STAGES
        if to_try is not None and not is_last:
            self._go(to_try)
            return
        self._go(plan.target)
        if is_last or self._limit == self._reachable(plan.target):
            self._move(Phase.HOLDING)

    def _hold(self) -> None:
        if abs(self._drift) > DRIFT_LIMIT:
            self._curve.forget()
            self._move(Phase.SEARCHING)
            return
        cost = self._curve.fit(self._limit)
        plan = None if cost is None else self._plan(cost)
        if plan is None or plan.allows(self._limit):
            self._stages_outside, self._reason = 0, Reason.HOLD
            return
        self._stages_outside += 1
        if self._stages_outside >= PATIENCE_STAGES:
            self._stages_outside = 0
            self._go(plan.target)

    def _plan(self, cost: Cost) -> Plan:
        top = max(SEARCH_FACTOR * self._limit, self._curve.highest)
        return self._planner.plan(cost, floor=self._floor, top=top)

    def _probes_down(self) -> bool:
        interruptions = self._limit / self._samples_per_stage
        return interruptions > PROBE_DOWN_ABOVE or self._reachable(self._limit + 1) <= self._limit

    def _untried(self, plan: Plan) -> float | None:
        """The side of the bracket around the cheapest N' that lacks stages; None if none does."""
        above = self._reachable(plan.target * BRACKET)
        if self._curve.num_within(above * TRIED_SHARE, math.inf) < BRACKET_STAGES:
            return above
        below = self._reachable(plan.target / BRACKET)
        if self._curve.num_within(0.0, below / TRIED_SHARE) < BRACKET_STAGES:
            return below
        return None

    def _go(self, goal: float) -> None:
        ceiling, cap_reason = self._ceiling()
        was, self._limit = self._limit, self._reachable(goal)
        if self._limit > was:
            self._reason = Reason.GROW
        elif self._limit < was:
            self._reason = Reason.SHRINK
        else:
            self._reason = cap_reason if goal > ceiling else Reason.HOLD

    def _move(self, to: Phase) -> None:
        self._phase = check_move(PHASE_MOVES, self._phase, to, "adaptive limit")
        self._search_stages = self._stages_outside = 0
        self._drift = 0.0
