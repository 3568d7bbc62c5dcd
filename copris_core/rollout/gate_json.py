"""A gate's state as JSON and back; what it means is `gate_state`."""

from collections.abc import Mapping
from typing import Any

from copris_core.rollout.gate_state import (
    GateState,
    Place,
    SavedGroup,
    SavedMember,
    SavedReady,
)
from copris_core.rollout.json_fields import list_of, optional, required


def gate_to_json(state: GateState) -> dict[str, Any]:
    """The state as a JSON object."""
    return {
        "next_order": state.next_order,
        "growing": [
            {
                "uid": group.uid,
                "draw_order": group.draw_order,
                "members": [
                    {"place": member.place.name, "oldest_version": member.oldest_version}
                    for member in group.members
                ],
            }
            for group in state.growing
        ],
        "ready": [
            {
                "uid": group.uid,
                "draw_order": group.draw_order,
                "oldest_version": group.oldest_version,
            }
            for group in state.ready
        ],
    }


def gate_from_json(state: Mapping[str, Any]) -> GateState:
    """Read what `gate_to_json` wrote.

    Raises:
        ValueError: a missing or malformed field, a place that ends with the process, a prompt or a
            draw order that is there twice, or a draw order that is not drawn yet.
    """
    read = GateState(
        next_order=required(state, "next_order", int),
        growing=tuple(_group(group) for group in list_of(state, "growing", dict)),
        ready=tuple(_ready(group) for group in list_of(state, "ready", dict)),
    )
    uids = {group.uid for group in read.growing} | {group.uid for group in read.ready}
    orders = {group.draw_order for group in read.growing}
    orders |= {group.draw_order for group in read.ready}
    if min(len(uids), len(orders)) < len(read.growing) + len(read.ready):
        raise ValueError("the saved gate holds a prompt twice")
    if orders and not 0 <= min(orders) <= max(orders) < read.next_order:
        raise ValueError(f"the saved gate holds a prompt that is not among its {read.next_order}")
    return read


def _group(group: Mapping[str, Any]) -> SavedGroup:
    return SavedGroup(
        uid=required(group, "uid", str),
        draw_order=required(group, "draw_order", int),
        members=tuple(_member(member) for member in list_of(group, "members", dict)),
    )


def _member(member: Mapping[str, Any]) -> SavedMember:
    place = required(member, "place", str)
    if place not in Place.__members__:
        raise ValueError(f"the saved gate holds the unknown place {place}")
    oldest_version = optional(member, "oldest_version", int)
    if (oldest_version is None) != (Place[place] is Place.DRAWN):
        raise ValueError(f"the saved gate has a {place} response of version {oldest_version}")
    return SavedMember(place=Place[place], oldest_version=oldest_version)


def _ready(group: Mapping[str, Any]) -> SavedReady:
    return SavedReady(
        uid=required(group, "uid", str),
        draw_order=required(group, "draw_order", int),
        oldest_version=required(group, "oldest_version", int),
    )
