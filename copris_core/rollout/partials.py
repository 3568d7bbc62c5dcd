"""Everything in flight at a checkpoint, as one value that can be written down and read back.

``PartialStore.pack`` gives one JSON object and three flat arrays; the object says how long each
piece is, the arrays hold the pieces in that order. Reading back gives the same tokens, log-probs
(bit for bit) and versions, or a one-line ``ValueError``: half a store is never used.

    prompts [P] int32    tokens [T] int32    logps [T] float32

Knows nothing of files: `copris_core.checkpoint` writes and reads them.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from copris_core.rollout.gate_json import gate_from_json, gate_to_json
from copris_core.rollout.gate_state import GateState, Place
from copris_core.rollout.json_fields import list_of, required
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.trajectory import Segment, Status, Trajectory

FORMAT = 1
"""Version of the layout; another one is refused."""

ARRAYS = {"prompts": "i", "tokens": "i", "logps": "f"}
"""Name -> typecode of each packed array, 4 bytes an item."""

LAST_STATUS = {
    Place.DRAWN: frozenset({Status.WAITING}),
    Place.PAUSED: frozenset({Status.WAITING, Status.PAUSED}),
    Place.IDLE: frozenset({Status.WAITING, Status.PAUSED, Status.FINISHED}),
}
"""Where the gate has a response -> where its last call may stand. A response that has left the
engine with an error is ``IDLE`` for the gate, and its call is as unfinished as it was."""

COMPLETE = frozenset({Status.FINISHED})
"""The same for a response of a complete group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialResponse:
    """One response of a group that no update has taken yet."""

    key: ResponseKey
    """Whose it is."""
    calls: tuple[Trajectory, ...]
    """Its calls to an engine, one a turn, in order; only the last may be unfinished."""

    @property
    def num_tokens(self) -> int:
        """Sampled tokens over all calls."""
        return sum(call.num_tokens for call in self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialStore:
    """What a checkpoint must hold beside the weights so that nothing is lost or done twice.

    Invariant: gate and responses tell the same story, so a store that can be built can be resumed.
    """

    version: int
    """Policy version of the weights beside which it is saved; no token is newer."""
    gate: GateState
    """The closed gate."""
    responses: tuple[PartialResponse, ...]
    """Every response that has begun, and whatever is kept of those that have ended."""

    def __post_init__(self) -> None:
        """Refuse a store that could not be resumed, so that it is never saved either.

        Raises:
            ValueError: a response is there twice, runs, exceeds its budget, is newer than the
                weights, or stands elsewhere than the gate says; or a partial is missing.
        """
        for response in self.responses:
            _check_calls(response, self.version)
        _check_places(self.gate, self.responses)

    @classmethod
    def of(
        cls, *, version: int, gate: GateState, responses: Iterable[PartialResponse]
    ) -> "PartialStore":
        """Leave out the responses that were never admitted: they have nothing but their prompt.

        Raises:
            ValueError: see `PartialStore`.
        """
        places = _places(gate)
        begun = (each for each in responses if places.get(each.key) is not Place.DRAWN)
        return cls(version=version, gate=gate, responses=tuple(begun))

    @property
    def num_tokens(self) -> int:
        """Sampled tokens over all responses."""
        return sum(response.num_tokens for response in self.responses)

    @property
    def uids(self) -> tuple[str, ...]:
        """Every prompt that is drawn and not taken, growing ones first."""
        growing = (group.uid for group in self.gate.growing)
        return (*growing, *(group.uid for group in self.gate.ready))

    def pack(self) -> "tuple[dict[str, Any], dict[str, array[Any]]]":
        """The store as a JSON object and the arrays of `ARRAYS`."""
        arrays: dict[str, array[Any]] = {name: array(code) for name, code in ARRAYS.items()}
        for call in (call for response in self.responses for call in response.calls):
            arrays["prompts"].extend(array("i", call.prompt))
            for segment in call.segments:
                arrays["tokens"].extend(segment.tokens)
                arrays["logps"].extend(segment.logps)
        head = {
            "format": FORMAT,
            "version": self.version,
            "num_tokens": len(arrays["tokens"]),
            "gate": gate_to_json(self.gate),
            "responses": [_response_to_json(response) for response in self.responses],
        }
        return head, arrays

    @classmethod
    def unpack(cls, head: Mapping[str, Any], arrays: "Mapping[str, array[Any]]") -> "PartialStore":
        """Read what `pack` wrote.

        Raises:
            ValueError: an unknown format, a missing or malformed field, arrays of another type or
                length, or a store that `PartialStore` refuses.
        """
        if required(head, "format", int) != FORMAT:
            raise ValueError(
                f"partials have format {head['format']}, this program reads format {FORMAT}"
            )
        pieces = _Pieces(arrays)
        responses = tuple(
            _response_from_json(response, pieces) for response in list_of(head, "responses", dict)
        )
        pieces.check_used_up(num_tokens=required(head, "num_tokens", int))
        return cls(
            version=required(head, "version", int),
            gate=gate_from_json(required(head, "gate", dict)),
            responses=responses,
        )


@dataclass(slots=True)
class _Pieces:
    """The packed arrays, read from front to back."""

    arrays: "Mapping[str, array[Any]]"
    at: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ARRAYS, 0))

    def __post_init__(self) -> None:
        kinds = {name: piece.typecode for name, piece in self.arrays.items()}
        if kinds != ARRAYS:
            raise ValueError(f"partials hold arrays {kinds}, not {ARRAYS}")
        if math.isnan(sum(self.arrays["logps"])):  # one NaN makes the sum NaN
            raise ValueError("partials hold a log-prob that is not a number")

    def next(self, name: str, length: int) -> "array[Any]":
        start = self.at[name]
        self.at[name] = start + length
        if length < 0 or self.at[name] > len(self.arrays[name]):
            raise ValueError(f"partials hold {len(self.arrays[name])} {name}, more are announced")
        return self.arrays[name][start : start + length]

    def check_used_up(self, *, num_tokens: int) -> None:
        for name, piece in self.arrays.items():
            if self.at[name] != len(piece):
                raise ValueError(
                    f"partials hold {len(piece)} {name}, {self.at[name]} are announced"
                )
        if num_tokens != len(self.arrays["tokens"]):
            raise ValueError(
                f"partials announce {num_tokens} tokens, {len(self.arrays['tokens'])} are there"
            )


def _response_to_json(response: PartialResponse) -> dict[str, Any]:
    calls = [
        {
            "prompt": len(call.prompt),
            "max_tokens": call.max_tokens,
            "status": call.status.name,
            "stop_reason": call.stop_reason,
            "segments": [[len(segment.tokens), segment.version] for segment in call.segments],
        }
        for call in response.calls
    ]
    return {"uid": response.key.uid, "index": response.key.index, "calls": calls}


def _response_from_json(response: Mapping[str, Any], pieces: _Pieces) -> PartialResponse:
    key = ResponseKey(required(response, "uid", str), required(response, "index", int))
    calls = tuple(_call_from_json(call, pieces) for call in list_of(response, "calls", dict))
    return PartialResponse(key=key, calls=calls)


def _call_from_json(call: Mapping[str, Any], pieces: _Pieces) -> Trajectory:
    status = required(call, "status", str)
    if status not in Status.__members__:
        raise ValueError(f"partials hold a response with the unknown status {status}")
    return Trajectory(
        prompt=tuple(pieces.next("prompts", required(call, "prompt", int))),
        max_tokens=required(call, "max_tokens", int),
        segments=list(_segments_from_json(list_of(call, "segments", list), pieces)),
        status=Status[status],
        stop_reason=required(call, "stop_reason", str),
    )


def _segments_from_json(segments: list[list[Any]], pieces: _Pieces) -> Iterator[Segment]:
    for pair in segments:
        if len(pair) != 2 or any(type(number) is not int for number in pair):
            raise ValueError(f"partials hold a segment {pair}, not [length, version]")
        length, version = pair
        yield Segment(
            tokens=pieces.next("tokens", length),
            logps=pieces.next("logps", length),
            version=version,
        )


def _check_calls(response: PartialResponse, version: int) -> None:
    """What a response's own calls must satisfy."""
    who = f"response {response.key.uid}:{response.key.index}"
    if not response.calls:
        raise ValueError(f"{who} has no call")
    if any(call.status is not Status.FINISHED for call in response.calls[:-1]):
        raise ValueError(f"{who} has an unfinished call before its last")
    for call in response.calls:
        if call.status is Status.RUNNING:
            raise ValueError(f"{who} still runs: write partials down when the gate is closed")
        if call.remaining_tokens < (call.status is not Status.FINISHED):
            raise ValueError(
                f"{who} is {call.status.name} with {call.num_tokens} of {call.max_tokens} tokens"
            )
        if call.status is Status.WAITING and call.segments:
            raise ValueError(f"{who} has tokens although it never ran")
    segments = [segment for call in response.calls for segment in call.segments]
    if any(len(each.tokens) != len(each.logps) or not each.tokens for each in segments):
        raise ValueError(f"{who} has a segment that is empty or lacks log-probs")
    versions = [segment.version for segment in segments]
    if versions != sorted(versions) or (versions and not 0 <= versions[0] <= versions[-1]):
        raise ValueError(f"{who} has segments of versions {versions}, which do not follow in time")
    if versions and versions[-1] > version:
        raise ValueError(f"{who} has tokens of version {versions[-1]}, the weights are {version}")


def _check_places(gate: GateState, responses: tuple[PartialResponse, ...]) -> None:
    """That gate and responses tell the same story."""
    place_of = _places(gate)
    by_key = {response.key: response for response in responses}
    if len(by_key) < len(responses):
        raise ValueError("a response is there twice")
    ready = {group.uid for group in gate.ready}
    for key, response in by_key.items():
        if key not in place_of and key.uid not in ready:
            raise ValueError(f"response {key.uid}:{key.index} is unknown to the gate")
        place, status = place_of.get(key), response.calls[-1].status
        if status not in (COMPLETE if place is None else LAST_STATUS[place]):
            where = "complete" if place is None else place.name
            raise ValueError(
                f"response {key.uid}:{key.index} is {status.name}, the gate has it as {where}"
            )
    for key, place in place_of.items():
        if place is Place.PAUSED and key not in by_key:
            raise ValueError(f"the tokens of response {key.uid}:{key.index} are missing")


def _places(gate: GateState) -> dict[ResponseKey, Place]:
    return {
        ResponseKey(group.uid, index): member.place
        for group in gate.growing
        for index, member in enumerate(group.members)
    }
