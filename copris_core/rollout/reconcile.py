"""One story from two witnesses: the gate knows who is where, the clients hold the tokens."""

from collections.abc import Sequence
from dataclasses import replace

from copris_core.rollout.gate_state import GateState, Place, SavedGroup, SavedMember
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.partials import PartialResponse, PartialStore
from copris_core.rollout.trajectory import Status


def reconciled(
    *, version: int, gate: GateState, responses: Sequence[PartialResponse]
) -> PartialStore:
    """A store of what two processes told one after the other while a gate was closed.

    In between, a response may have been stored or may have asked for its next turn. The clients are
    believed: a response whose last call is not finished waits, and one that belongs to no group of
    the gate's is given up. Neither moves a token.

    Args:
        version: policy version of the weights beside which it is saved.
        gate: the closed gate.
        responses: what the clients hold, once they have taken every answer.

    Raises:
        ValueError: the two contradict each other in another way.
    """
    known = {group.uid for group in gate.growing} | {group.uid for group in gate.ready}
    held = {each.key: each for each in responses if each.key.uid in known}
    growing = tuple(_believing(group, held) for group in gate.growing)
    return PartialStore.of(
        version=version, gate=replace(gate, growing=growing), responses=tuple(held.values())
    )


def _believing(group: SavedGroup, held: dict[ResponseKey, PartialResponse]) -> SavedGroup:
    members = tuple(
        _placed(member, held.get(ResponseKey(group.uid, index)))
        for index, member in enumerate(group.members)
    )
    return replace(group, members=members)


def _placed(member: SavedMember, response: PartialResponse | None) -> SavedMember:
    if response is None or member.oldest_version is None:
        return member
    done = response.calls[-1].status is Status.FINISHED
    return replace(member, place=Place.IDLE if done else Place.PAUSED)
