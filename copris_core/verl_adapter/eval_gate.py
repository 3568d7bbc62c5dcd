"""Who samples next in an evaluation: the gate's own order of service, with nothing in between.

An evaluation is one stage of the gate: all prompts must be complete, at most N' responses are in
flight, and a group that has started is finished before the next begins. Facts in, keys out; no
engine, no clock.
"""

from collections.abc import Mapping, Sequence

from copris_core.rollout.admission import AdmissionGate, Gate
from copris_core.rollout.concurrency import FixedLimit
from copris_core.rollout.order import ResponseKey


class EvalGate:
    """Deals out the samples that are missing; every one once."""

    def __init__(self, missing: Mapping[str, Sequence[int]], *, limit: int) -> None:
        """Begin.

        Args:
            missing: by prompt, in data order, the sample indices that are not there yet; none
                empty.
            limit: N', responses in flight.
        """
        self._missing = dict(missing)
        self._undrawn = iter(self._missing)
        self._num_undrawn = len(self._missing)
        self._left = {uid: len(indices) for uid, indices in self._missing.items()}
        largest = max(self._left.values(), default=1)
        self._gate = AdmissionGate(
            limit=FixedLimit(limit=limit), groups_per_stage=len(self._left), group_size=largest
        )
        self._gate.open(0)

    @property
    def in_flight(self) -> int:
        """Responses that were dealt out and have not finished."""
        return self._gate.in_flight

    @property
    def is_done(self) -> bool:
        """Whether every sample has finished."""
        return self._gate.state is Gate.CLOSED

    def next(self) -> list[ResponseKey]:
        """Whoever may start now, by prompt and sample index."""
        for _ in range(min(self._gate.prompts_wanted(), self._num_undrawn)):
            self._draw()
        return [
            ResponseKey(key.uid, self._missing[key.uid][key.index]) for key in self._gate.admit()
        ]

    def finish(self, key: ResponseKey) -> None:
        """A response has ended.

        Raises:
            IllegalMoveError: it was not in flight.
        """
        uid = key.uid
        member = self._missing[uid].index(key.index)
        self._gate.settle(ResponseKey(uid, member), interrupted=False)
        self._left[uid] -= 1
        if not self._left[uid]:
            del self._left[uid]
            self._gate.complete(uid, failed=False)

    def _draw(self) -> None:
        uid = next(self._undrawn)
        self._num_undrawn -= 1
        self._gate.draw(uid, len(self._missing[uid]))
        for member in range(len(self._missing[uid])):
            self._gate.ask(ResponseKey(uid, member))
