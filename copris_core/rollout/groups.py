"""The groups that the gate knows: growing ones, complete ones, and how old each of them is."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from copris_core.rollout.gate_state import (
    GateState,
    Place,
    SavedGroup,
    SavedMember,
    SavedReady,
)
from copris_core.rollout.order import QueuedGroup, ResponseKey
from copris_core.rollout.pacing import Pacing, Starts


@dataclass(slots=True)
class Member:
    """One response."""

    place: Place = Place.DRAWN
    """Where it is."""
    oldest_version: int | None = None
    """Policy version under which it was first admitted."""


@dataclass(slots=True, kw_only=True)
class Group:
    """A prompt whose responses are not all stored."""

    queued: QueuedGroup
    """What the order of service knows of it."""
    members: list[Member] = field(default_factory=list)
    """Its responses, by index."""
    oldest_version: int | None = None
    """Policy version of its first admission."""

    @property
    def is_sampled(self) -> bool:
        """Whether no member is left to sample."""
        return self.queued.unfinished == 0

    @property
    def start(self) -> int:
        """Version of the oldest token of a group that has started."""
        assert self.oldest_version is not None
        return self.oldest_version


class Groups:
    """Keeps the counts that the gate decides on; knows nothing of limits or of the line."""

    def __init__(self, pacing: Pacing) -> None:
        """Start empty."""
        self._pacing = pacing
        self._growing: dict[str, Group] = {}
        self._ready: dict[str, SavedReady] = {}
        # Started, untrained groups: with members to sample, all sampled, complete.
        self._starts_growing = Starts()
        self._starts_sampled = Starts()
        self._starts_ready = Starts()
        self._next_order = 0
        self.num_live = 0
        """Drawn responses whose sampling is not done."""
        self.num_paused = 0
        """Those of them that were interrupted and have not asked again."""

    # ---- questions ----

    def __len__(self) -> int:
        """Groups drawn and not taken."""
        return len(self._growing) + len(self._ready)

    @property
    def is_fresh(self) -> bool:
        """Whether no prompt was ever drawn."""
        return self._next_order == 0

    @property
    def num_ready(self) -> int:
        """Complete groups not yet taken."""
        return len(self._ready)

    def may_start(self) -> bool:
        """Whether one more group may start beside those that have and are not taken."""
        if self._pacing.max_lag is None:
            return True
        started = (self._starts_growing, self._starts_sampled, self._starts_ready)
        return self._pacing.may_start_group(sum(map(len, started)))

    def may_step(self, version: int, *, stored: bool) -> bool:
        """Whether B groups are done and nobody would be late if ``version`` were followed now.

        Args:
            version: the policy version that samples.
            stored: count only groups that are complete, not those that are merely sampled.
        """
        num_done = len(self._ready) + (0 if stored else len(self._starts_sampled))
        if num_done < self._pacing.groups_per_stage:  # cheap, and mostly the answer
            return False
        done, undone = [self._starts_ready], [self._starts_growing]
        (undone if stored else done).append(self._starts_sampled)
        return self._pacing.may_step(version, done=done, undone=undone)

    def find(self, key: ResponseKey) -> tuple[Group, Member]:
        """A growing group and one of its members.

        Raises:
            KeyError: the prompt was never drawn or is complete.
        """
        group = self._growing[key.uid]
        return group, group.members[key.index]

    def members(self, uid: str) -> Iterator[Member]:
        """All members of a growing group.

        Raises:
            KeyError: the prompt was never drawn or is complete.
        """
        return iter(self._growing[uid].members)

    def running(self) -> Iterator[ResponseKey]:
        """The responses in flight, in data order."""
        for uid, group in self._growing.items():
            for index, member in enumerate(group.members):
                if member.place is Place.RUNNING:
                    yield ResponseKey(uid, index)

    # ---- facts ----

    def draw(self, uid: str, size: int) -> None:
        """Begin a group.

        Raises:
            ValueError: the prompt is known already.
        """
        if uid in self._growing or uid in self._ready:
            raise ValueError(f"prompt {uid} was drawn twice")
        queued = QueuedGroup(uid=uid, draw_order=self._next_order, unfinished=size)
        self._growing[uid] = Group(queued=queued, members=[Member() for _ in range(size)])
        self._next_order += 1
        self.num_live += size

    def start(self, group: Group, version: int) -> None:
        """The first member of a group is admitted."""
        group.oldest_version = version
        group.queued.started = True
        self._starts_growing.add(version)

    def member_done(self, group: Group) -> None:
        """A member's sampling has ended."""
        self.num_live -= 1
        group.queued.unfinished -= 1
        if group.is_sampled:
            self._starts_growing.move_to(self._starts_sampled, group.start)

    def member_goes_on(self, group: Group) -> None:
        """A member that was done samples a further turn."""
        self.num_live += 1
        if group.is_sampled:
            self._starts_sampled.move_to(self._starts_growing, group.start)
        group.queued.unfinished += 1

    def remove(self, uid: str) -> Group:
        """Take a growing group out of every count."""
        group = self._growing.pop(uid)
        self.num_live -= sum(member.place is not Place.IDLE for member in group.members)
        self.num_paused -= sum(member.place is Place.PAUSED for member in group.members)
        if group.oldest_version is not None:
            starts = self._starts_sampled if group.is_sampled else self._starts_growing
            starts.remove(group.oldest_version)
        return group

    def put_ready(self, ready: SavedReady) -> None:
        """A group is complete."""
        self._ready[ready.uid] = ready
        self._starts_ready.add(ready.oldest_version)

    def take(self, count: int) -> list[str]:
        """Hand out ``count`` complete groups, the oldest first.

        Raises:
            ValueError: fewer are ready.
        """
        if count > len(self._ready):
            raise ValueError(f"{count} groups wanted, {len(self._ready)} are complete")
        in_order = sorted(self._ready.values(), key=lambda g: (g.oldest_version, g.draw_order))
        for group in in_order[:count]:
            self._take_one(group.uid)
        return [group.uid for group in in_order[:count]]

    def drop_older_than(self, version: int) -> tuple[list[str], list[str]]:
        """Give up every started, untrained group with a token sampled before ``version``.

        Returns:
            The complete ones, and those whose responses have not all ended.
        """
        complete = [group.uid for group in self._ready.values() if group.oldest_version < version]
        for uid in complete:
            self._take_one(uid)
        growing = [
            uid
            for uid, group in self._growing.items()
            if group.oldest_version is not None and group.oldest_version < version
        ]
        for uid in growing:
            self.remove(uid)
        return complete, growing

    def _take_one(self, uid: str) -> None:
        self._starts_ready.remove(self._ready.pop(uid).oldest_version)

    # ---- across a restart ----

    def snapshot(self) -> GateState:
        """All of it, written down."""
        return GateState(
            next_order=self._next_order,
            growing=tuple(_saved(uid, group) for uid, group in self._growing.items()),
            ready=tuple(sorted(self._ready.values(), key=lambda group: group.draw_order)),
        )

    def restore(self, state: GateState) -> None:
        """Take up what was written down; only when fresh."""
        self._next_order = state.next_order
        for saved in state.growing:
            self._grow(saved)
        for ready in state.ready:
            self.put_ready(ready)

    def _grow(self, saved: SavedGroup) -> None:
        members = [Member(each.place, each.oldest_version) for each in saved.members]
        versions = [each.oldest_version for each in members if each.oldest_version is not None]
        unfinished = sum(each.place is not Place.IDLE for each in members)
        queued = QueuedGroup(
            uid=saved.uid,
            draw_order=saved.draw_order,
            unfinished=unfinished,
            started=bool(versions),
        )
        group = Group(queued=queued, members=members, oldest_version=min(versions, default=None))
        self._growing[saved.uid] = group
        self.num_live += unfinished
        self.num_paused += sum(each.place is Place.PAUSED for each in members)
        if versions:
            starts = self._starts_sampled if group.is_sampled else self._starts_growing
            starts.add(group.start)


def _saved(uid: str, group: Group) -> SavedGroup:
    members = tuple(
        SavedMember(place=_place_after_restart(member), oldest_version=member.oldest_version)
        for member in group.members
    )
    return SavedGroup(uid=uid, draw_order=group.queued.draw_order, members=members)


def _place_after_restart(member: Member) -> Place:
    """Whoever waits has asked, and will ask again."""
    if member.place is not Place.WAITING:
        return member.place
    return Place.DRAWN if member.oldest_version is None else Place.PAUSED
