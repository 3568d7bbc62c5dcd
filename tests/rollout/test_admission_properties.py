"""Properties of a gate that is fed exactly what it wants."""

import pickle
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from copris_core.rollout.admission import AdmissionGate, Gate
from copris_core.rollout.concurrency import FixedLimit, waiting_margin
from copris_core.rollout.order import ResponseKey

# One round: which of those in flight finish, and whether the stage is cut short there.
Rounds: TypeAlias = list[tuple[list[bool], bool]]
Sizes: TypeAlias = tuple[int, int, int]
Member: TypeAlias = tuple[int, int]

ROUNDS = st.lists(st.tuples(st.lists(st.booleans(), max_size=6), st.booleans()), max_size=12)
SIZES = st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3))  # N', B, n


class _Driver:
    """Draws exactly what is wanted, lets everybody ask, admits; names each prompt by ``name``."""

    def __init__(self, sizes: Sizes, name: Callable[[int], str], seed: int | None = None) -> None:
        self.limit, self.groups_per_stage, self.group_size = sizes
        self.gate = AdmissionGate(
            limit=FixedLimit(limit=self.limit),
            groups_per_stage=self.groups_per_stage,
            group_size=self.group_size,
        )
        self.name = name
        self.shuffle = None if seed is None else Random(seed).shuffle
        self.asking: list[Member] = []
        self.unfinished: list[int] = []  # by draw order
        self.version = 0

    def admit(self) -> list[Member]:
        """Open if closed, draw, let everybody ask; say who is admitted as (draw order, index)."""
        if self.gate.state is Gate.CLOSED:
            self.gate.take(min(self.gate.num_ready, self.groups_per_stage))
            self.gate.open(self.version)
            self.version += 1
        for _ in range(self.gate.prompts_wanted()):
            order = len(self.unfinished)
            self.gate.draw(self.name(order), self.group_size)
            self.unfinished.append(self.group_size)
            self.asking += [(order, index) for index in range(self.group_size)]
        if self.shuffle is not None:
            self.shuffle(self.asking)
        for order, index in self.asking:
            self.gate.ask(ResponseKey(self.name(order), index))
        self.asking.clear()
        return self._members(self.gate.admit())

    def finish(self, finishes: list[bool]) -> int:
        """Finish some of those in flight; return how many."""
        running = sorted(self._members(list(self.gate.running())))
        finished = [who for who, ends in zip(running, finishes, strict=False) if ends]
        for order, index in finished:
            self.gate.settle(ResponseKey(self.name(order), index), interrupted=False)
            self.unfinished[order] -= 1
            if not self.unfinished[order]:
                self.gate.complete(self.name(order), failed=False)
        return len(finished)

    def end_round(self, *, cut: bool) -> None:
        """Abort everybody in flight if the stage is over or cut short."""
        if cut and self.gate.state is Gate.OPEN:
            self.gate.close()
        if self.gate.state is Gate.CLOSING:
            running = list(self.gate.running())
            for key in running:
                self.gate.settle(key, interrupted=True)
            self.asking += self._members(running)

    def _members(self, keys: Sequence[ResponseKey]) -> list[Member]:
        orders = {self.name(order): order for order in range(len(self.unfinished))}
        return [(orders[key.uid], key.index) for key in keys]


def _rising(order: int) -> str:
    return f"{order:04}"


def _falling(order: int) -> str:
    return f"{9999 - order:04}"


@given(rounds=ROUNDS, sizes=SIZES, seed=st.integers(0, 99))
def test_neither_names_nor_the_order_of_asking_change_who_is_admitted(
    rounds: Rounds, sizes: Sizes, seed: int
) -> None:
    drivers = [_Driver(sizes, _rising), _Driver(sizes, _rising), _Driver(sizes, _falling, seed)]
    for finishes, cut in rounds:
        first, same_facts, shuffled = [driver.admit() for driver in drivers]
        assert first == same_facts == shuffled
        for driver in drivers:
            driver.finish(finishes)
            driver.end_round(cut=cut)


@given(rounds=ROUNDS, sizes=SIZES)
def test_a_fed_gate_keeps_every_slot_busy_until_the_stage_ends(
    rounds: Rounds, sizes: Sizes
) -> None:
    driver = _Driver(sizes, _rising)
    for finishes, cut in rounds:
        driver.admit()
        assert driver.gate.in_flight == (driver.limit if driver.gate.state is Gate.OPEN else 0)
        num_freed = driver.finish(finishes)
        # no draw needed yet: a margin of responses waits behind the pool
        margin = waiting_margin(driver.limit, driver.group_size)
        if driver.gate.state is Gate.OPEN and num_freed <= margin:
            driver.gate.admit()
            assert driver.gate.in_flight == driver.limit
        driver.end_round(cut=cut)


@given(rounds=ROUNDS, sizes=SIZES)
def test_drawn_but_unfinished_responses_stay_under_limit_margin_and_one_group(
    rounds: Rounds, sizes: Sizes
) -> None:
    driver = _Driver(sizes, _rising)
    bound = driver.limit + waiting_margin(driver.limit, driver.group_size) + driver.group_size
    for finishes, cut in rounds:
        driver.admit()
        assert driver.gate.num_live == sum(driver.unfinished) < bound
        driver.finish(finishes)
        driver.end_round(cut=cut)
        assert driver.gate.num_live == sum(driver.unfinished) < bound


def test_a_gate_that_has_run_for_long_is_no_larger_than_a_young_one() -> None:
    driver = _Driver((4, 2, 3), _rising)
    num_bytes = []
    for _ in range(600):
        driver.admit()
        driver.finish([True, False, True])
        driver.end_round(cut=False)
        num_bytes.append(len(pickle.dumps(driver.gate)))
    assert len(driver.unfinished) > 300  # prompts drawn, nearly all of them long gone
    assert max(num_bytes[300:]) < 1.2 * max(num_bytes[:300])
