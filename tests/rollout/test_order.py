"""Who is served next: resumed by age, then siblings of started groups, then new prompts."""

from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.rollout.order import QueuedGroup, ResponseKey, ServiceOrder

Resumed: TypeAlias = tuple[int, int, int, ResponseKey]


def _group(uid: str, draw_order: int, *, unfinished: int = 4, started: bool = False) -> QueuedGroup:
    return QueuedGroup(uid=uid, draw_order=draw_order, unfinished=unfinished, started=started)


def _served(line: ServiceOrder) -> list[tuple[str, int]]:
    return [(key.uid, key.index) for key in (line.pop() for _ in range(len(line)))]


def test_resumed_then_siblings_then_new() -> None:
    line = ServiceOrder()
    line.push_new(_group("new", 0), 0)
    line.push_new(_group("started", 1, started=True), 3)
    line.push_resumed(ResponseKey("resumed", 2), oldest_version=9, draw_order=2)
    assert _served(line) == [("resumed", 2), ("started", 3), ("new", 0)]


def test_resumed_are_served_by_oldest_version_then_data_order_then_index() -> None:
    line = ServiceOrder()
    # (oldest version, data order, index); the names run against the order on purpose
    for uid, version, draw_order, index in [
        ("w", 4, 0, 0),
        ("x", 3, 5, 1),
        ("x", 3, 5, 0),
        ("y", 3, 1, 7),
        ("z", 2, 9, 9),
    ]:
        key = ResponseKey(uid, index)
        line.push_resumed(key, oldest_version=version, draw_order=draw_order)
    assert _served(line) == [("z", 9), ("y", 7), ("x", 0), ("x", 1), ("w", 0)]


def test_siblings_are_served_by_the_group_closest_to_completion_then_data_order() -> None:
    line = ServiceOrder()
    line.push_new(_group("z", 0, unfinished=3, started=True), 2)
    line.push_new(_group("y", 1, unfinished=1, started=True), 3)
    line.push_new(_group("x", 2, unfinished=2, started=True), 1)
    line.push_new(_group("w", 3, unfinished=2, started=True), 0)
    assert _served(line) == [("y", 3), ("x", 1), ("w", 0), ("z", 2)]


def test_new_prompts_are_served_in_data_order_whatever_their_size() -> None:
    line = ServiceOrder()
    line.push_new(_group("y", 1, unfinished=1), 0)
    line.push_new(_group("z", 0, unfinished=8), 1)
    line.push_new(_group("x", 2, unfinished=2), 0)
    assert _served(line) == [("z", 1), ("y", 0), ("x", 0)]


def test_members_of_one_group_are_served_by_index() -> None:
    line, group = ServiceOrder(), _group("a", 0)
    for index in (2, 0, 3, 1):
        line.push_new(group, index)
    assert _served(line) == [("a", 0), ("a", 1), ("a", 2), ("a", 3)]


def test_a_group_that_starts_overtakes_the_new_ones() -> None:
    line = ServiceOrder()
    early, late = _group("early", 0), _group("late", 1)
    line.push_new(early, 0)
    line.push_new(late, 1)
    late.started = True
    line.rerank(late)
    assert _served(line) == [("late", 1), ("early", 0)]


def test_a_group_may_fall_back_as_well_as_rise() -> None:
    line = ServiceOrder()
    a, b = _group("a", 0, unfinished=1, started=True), _group("b", 1, unfinished=2, started=True)
    line.push_new(a, 0)
    line.push_new(b, 0)
    a.unfinished = 3  # members that came back for another turn
    line.rerank(a)
    assert _served(line) == [("b", 0), ("a", 0)]


def test_a_forgotten_group_leaves_the_line_and_the_count() -> None:
    line, gone = ServiceOrder(), _group("gone", 0, started=True)
    line.push_new(gone, 0)
    line.push_new(gone, 1)
    line.push_new(_group("kept", 1), 0)
    line.forget("gone")
    line.forget("never seen")
    assert len(line) == 1
    assert gone.waiting == []
    assert _served(line) == [("kept", 0)]


def test_an_empty_line_has_nobody_to_serve() -> None:
    line = ServiceOrder()
    with pytest.raises(IndexError):
        line.pop()
    line.push_new(_group("a", 0), 0)
    line.forget("a")
    with pytest.raises(IndexError):
        line.pop()
    assert len(line) == 0


def test_the_line_tells_whether_the_next_one_is_resumed() -> None:
    line = ServiceOrder()
    line.push_new(_group("new", 0), 0)
    assert not line.has_resumed
    line.push_resumed(ResponseKey("resumed", 0), oldest_version=0, draw_order=1)
    assert line.has_resumed
    line.pop()
    assert not line.has_resumed


class _NaiveOrder:
    """The same contract by one ``min`` over lists: no heap, no stale entry, no counter."""

    def __init__(self) -> None:
        self.resumed: list[Resumed] = []
        self.new: list[tuple[QueuedGroup, int]] = []

    def pop(self) -> ResponseKey:
        if self.resumed:
            first = min(self.resumed)
            self.resumed.remove(first)
            return first[3]
        group, index = min(self.new, key=lambda entry: self._rank(*entry))
        self.new = [entry for entry in self.new if entry != (group, index)]
        return ResponseKey(group.uid, index)

    def forget(self, uid: str) -> None:
        self.new = [entry for entry in self.new if entry[0].uid != uid]

    @staticmethod
    def _rank(group: QueuedGroup, index: int) -> tuple[int, ...]:
        if group.started:
            return (1, group.unfinished, group.draw_order, index)
        return (2, group.draw_order, index)


class _Twins:
    """The real line and the naive one, told the same facts."""

    def __init__(self) -> None:
        self.real, self.naive = ServiceOrder(), _NaiveOrder()
        self.groups = [_group("dcba"[order], order) for order in range(4)]
        self.next_index = 0

    def push_new(self, which: int, _: int) -> None:
        self.real.push_new(self.groups[which], self.next_index)
        self.naive.new.append((self.groups[which], self.next_index))
        self.next_index += 1

    def push_resumed(self, which: int, version: int) -> None:
        key = ResponseKey(self.groups[which].uid, self.next_index)
        self.real.push_resumed(key, oldest_version=version, draw_order=which)
        self.naive.resumed.append((version, which, self.next_index, key))
        self.next_index += 1

    def start(self, which: int, _: int) -> None:
        self.groups[which].started = True
        self.real.rerank(self.groups[which])

    def change_unfinished(self, which: int, unfinished: int) -> None:
        self.groups[which].unfinished = unfinished
        self.real.rerank(self.groups[which])

    def forget(self, which: int, _: int) -> None:
        self.real.forget(self.groups[which].uid)
        self.naive.forget(self.groups[which].uid)

    def pop(self, _: int, __: int) -> None:
        if len(self.real):
            assert self.real.pop() == self.naive.pop()


FACTS: list[Callable[[_Twins, int, int], None]] = [
    _Twins.push_new,
    _Twins.push_resumed,
    _Twins.start,
    _Twins.change_unfinished,
    _Twins.forget,
    _Twins.pop,
]


@given(
    facts=st.lists(
        st.tuples(st.sampled_from(FACTS), st.integers(0, 3), st.integers(0, 4)), max_size=60
    )
)
def test_the_heaps_serve_as_one_min_over_all_waiting_would(
    facts: list[tuple[Callable[[_Twins, int, int], None], int, int]],
) -> None:
    twins = _Twins()
    for tell, which, number in facts:
        tell(twins, which, number)
        assert len(twins.real) == len(twins.naive.resumed) + len(twins.naive.new)
    while len(twins.real):
        twins.pop(0, 0)


@given(
    entries=st.permutations([(order, index) for order in range(3) for index in range(3)]),
    started=st.lists(st.booleans(), min_size=3, max_size=3),
    unfinished=st.lists(st.integers(1, 3), min_size=3, max_size=3),
)
def test_the_order_of_asking_does_not_matter(
    entries: list[tuple[int, int]], started: list[bool], unfinished: list[int]
) -> None:
    def served(asking: list[tuple[int, int]]) -> list[tuple[str, int]]:
        line = ServiceOrder()
        groups = [
            _group("cba"[order], order, unfinished=unfinished[order], started=started[order])
            for order in range(3)
        ]
        for order, index in asking:
            line.push_new(groups[order], index)
        return _served(line)

    assert served(entries) == served(sorted(entries))
