"""In which order waiting responses are served.

    1. resumed responses, oldest policy version first (they are what the next update waits for)
    2. siblings of groups that have started, the group closest to completion first
    3. members of new groups, in data order

Ties fall to data order, then to the member's index: the order is a function of the facts alone.
"""

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple


class ResponseKey(NamedTuple):
    """Names one response for as long as it lives."""

    uid: str
    """The prompt's unique id; its responses form one group."""
    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody needs here
    """Member of the group, 0 <= index < group size."""


@dataclass(slots=True, kw_only=True)
class QueuedGroup:
    """What the order must know of one group; the gate keeps the numbers current."""

    uid: str
    """The prompt's unique id."""
    draw_order: int
    """0, 1, 2, ... in data order."""
    unfinished: int
    """Members whose sampling is not done."""
    started: bool = False
    """Whether any member has been admitted."""
    waiting: list[int] = field(default_factory=list)
    """Heap of the indices of members that wait for their first admission."""

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Service rank of its un-started members; smaller is served earlier."""
        return (not self.started, self.unfinished if self.started else 0, self.draw_order)


class ServiceOrder:
    """The waiting line. ``push_*`` and ``pop`` cost O(log n) (amortised, stale entries skipped)."""

    def __init__(self) -> None:
        self._resumed: list[tuple[int, int, int, ResponseKey]] = []
        self._groups: list[tuple[tuple[bool, int, int], str]] = []
        self._by_uid: dict[str, QueuedGroup] = {}
        self._num_new = 0

    def __len__(self) -> int:
        """Responses in the line."""
        return len(self._resumed) + self._num_new

    @property
    def has_resumed(self) -> bool:
        """Whether the response to serve next has been admitted before."""
        return bool(self._resumed)

    @property
    def starts_group(self) -> bool:
        """Whether the response to serve next is the first of its group; False when nobody waits."""
        return bool(self._num_new) and not self._resumed and not self._first_group().started

    def push_resumed(self, key: ResponseKey, *, oldest_version: int, draw_order: int) -> None:
        """Queue a response that has been admitted before."""
        heapq.heappush(self._resumed, (oldest_version, draw_order, key.index, key))

    def push_new(self, group: QueuedGroup, index: int) -> None:
        """Queue a member that has never been admitted."""
        is_first = not group.waiting  # the others need no entry of their own
        self._by_uid[group.uid] = group
        heapq.heappush(group.waiting, index)
        self._num_new += 1
        if is_first:
            self.rerank(group)

    def rerank(self, group: QueuedGroup) -> None:
        """Tell the order that the group's rank has changed."""
        if group.waiting:
            heapq.heappush(self._groups, (group.rank, group.uid))

    def forget(self, uid: str) -> None:
        """Take a group's un-started members out of the line; unknown groups are fine."""
        group = self._by_uid.pop(uid, None)
        if group is not None:
            self._num_new -= len(group.waiting)
            group.waiting.clear()

    def withdraw(self, uid: str) -> None:
        """Take all members of a group out of the line, resumed ones too; O(n), for rare use."""
        self.forget(uid)
        self._resumed = [entry for entry in self._resumed if entry[3].uid != uid]
        heapq.heapify(self._resumed)

    def pop(self) -> ResponseKey:
        """Take the response to serve next.

        Raises:
            IndexError: nobody waits.
        """
        if self._resumed:
            return heapq.heappop(self._resumed)[3]
        group = self._first_group()
        self._num_new -= 1
        return ResponseKey(group.uid, heapq.heappop(group.waiting))

    def _first_group(self) -> QueuedGroup:
        while True:
            rank, uid = self._groups[0]
            group = self._by_uid.get(uid)
            if group is not None and group.waiting and group.rank == rank:
                return group
            heapq.heappop(self._groups)
