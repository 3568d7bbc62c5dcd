"""How groups end: complete, failed, filtered or dropped; told to the gate, witness and trainer.

Part of the router actor. Translates; the gate and the filter decide.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from copris_core.filtering import FilterBook, Judgement
from copris_core.rollout.admission import AdmissionGate
from copris_core.rollout.witness import Witness
from copris_core.verl_adapter.news import News
from copris_core.verl_adapter.stage import StageCounts

NO_SPREAD: Final = "all scores are equal"
"""Why a group was filtered, in the ledger."""


class GroupEnds:
    """Remembers what the trainer has not been told of yet."""

    def __init__(self, gate: AdmissionGate, witness: Witness, book: FilterBook | None) -> None:
        """``book`` judges complete groups; None: all of them are trained."""
        self._gate = gate
        self._witness = witness
        self._book = book
        self._leaving: set[str] = set()  # dropped, with responses that have not ended yet
        self._dropped: list[str] = []
        self._filtered: list[str] = []
        self._reason = ""
        self._surrender = ""

    def begin_stage(self) -> None:
        """The gate is about to open."""
        if self._book is not None:
            self._book.begin_stage()

    def is_leaving(self, uid: str) -> bool:
        """Whether the group was given up although some of its responses have not ended."""
        return uid in self._leaving

    def complete(
        self,
        uid: str,
        version: int,
        counts: StageCounts,
        *,
        lengths: Mapping[int, int],
        scores: Sequence[float],
        error: str | None,
    ) -> None:
        """All responses of a prompt have ended; arguments as ``Router.complete`` has them."""
        if uid in self._leaving:
            self._leaving.discard(uid)
            self._dropped.append(uid)
        elif error is not None:
            self._gate.complete(uid, failed=True)
            counts.failed_groups += 1
            self._witness.failed(uid, version, error)
            self._reason = error
        else:
            self._witness.completed(uid, version, lengths)
            self._judge(uid, version, scores)

    def _judge(self, uid: str, version: int, scores: Sequence[float]) -> None:
        judgement = Judgement.TRAIN if self._book is None else self._book.judge(scores)
        if judgement in (Judgement.TRAIN, Judgement.KEEP_ANYWAY):
            self._gate.complete(uid, failed=False)
            return
        self._gate.discard(uid)
        self._witness.filtered(uid, version, NO_SPREAD)
        self._filtered.append(uid)
        if judgement is Judgement.STOP:
            self._surrender = self._book.complaint if self._book else ""

    def drop_older_than(self, oldest: int, version: int, counts: StageCounts) -> set[str]:
        """Give groups up that began before ``oldest``; return those that have not ended."""
        complete, growing = self._gate.drop_older_than(oldest)
        self._witness.dropped([*complete, *growing], version)
        counts.dropped_groups += len(complete) + len(growing)
        self._dropped.extend(complete)
        self._leaving.update(growing)
        return set(growing)

    def metrics(self) -> dict[str, float]:
        """Of the stage so far."""
        return {} if self._book is None else self._book.metrics()

    def news(self) -> News | None:
        """What the trainer must react to; each thing is told once. None: nothing."""
        failed = tuple(self._gate.take_failed())
        useless = (*self._dropped, *self._filtered)
        self._dropped, self._filtered = [], []
        over, wanted = self._gate.stage_is_over, self._gate.prompts_wanted()
        if not (failed or useless or over or wanted or self._surrender):
            return None
        return News(
            prompts_wanted=wanted,
            stage_is_over=over,
            failed=failed,
            useless=useless,
            reason=self._reason if failed else "",
            surrender=self._surrender,
        )
