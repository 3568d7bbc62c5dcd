"""Was every drawn prompt trained exactly once? Reads a ledger, trusts nobody, counts everything.

Ledger lines in, one frozen ``Audit`` out. The rules are those of `books`; what breaks one is lost
(work that nobody will train) or duplicated (work that was done, or would be used, twice).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from copris_core.report.books import GROUP_ENDS, Books
from copris_core.report.lengths import Bias, Lengths, bias, describe
from copris_core.report.timeline import live_spans, told_apart
from copris_core.rollout.events import Event, Fact, LedgerEvent


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """What restarts undid, and what was therefore done again."""

    lines: int
    """Ledger lines that do not count."""
    finished: int
    """Responses finished in them."""
    tokens: int
    """Tokens of these responses."""
    trained: int
    """Responses trained in them."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a ledger proves."""

    groups: dict[str, int]
    """Groups ``drawn``, ``live`` (neither ended nor lost), and by the event that ended them."""
    responses: dict[str, int]
    """Responses ``started``, ``finished``, by the event that ended them, and times ``resumed``."""
    lost: dict[str, str]
    """``uid`` or ``uid:index`` -> why nobody will train it."""
    duplicated: dict[str, str]
    """``uid``, ``uid:index`` or ``row N`` -> what was done twice."""
    restarts: int
    """Times that a process went on from a saved state, undone ones included."""
    continued_tokens: int
    """Tokens that resumed responses already had, over all resumptions."""
    continued_over_restarts: tuple[int, ...]
    """Tokens that resumed responses brought over each restart that counts."""
    repeated: Repeated
    """What restarts undid."""
    lengths: dict[str, Lengths]
    """Response lengths by what became of the responses."""
    length_bias: Bias | None
    """Trained against finished lengths; None before anything was trained."""

    @property
    def ok(self) -> bool:
        """Whether nothing was lost and nothing was done twice."""
        return not self.lost and not self.duplicated

    def to_json(self) -> dict[str, Any]:
        """The audit as a JSON object."""
        return {"ok": self.ok, **asdict(self)}


def audit(events: Iterable[LedgerEvent], *, num_rows: int | None = None) -> Audit:
    """Check a ledger.

    Args:
        events: all lines, in order; iterated twice, so a list or a ``SavedLedger``.
        num_rows: rows in the data set; None takes the number of rows seen.

    Raises:
        ValueError: nothing was ever drawn, or a line is malformed.
    """
    spans = live_spans(events)
    books, undone = Books(), list[Fact]()
    for event, counts in told_apart(events, spans):
        if counts:
            books.enter(event.fact)
        else:
            undone.append(event.fact)
    if not books.groups and not undone:
        raise ValueError("the ledger tells of no prompt: the run has not drawn one yet")
    books.close(num_rows=num_rows)
    return _balance(books, undone)


def _balance(books: Books, undone: list[Fact]) -> Audit:
    responses = [(group, each) for group in books.groups.values() for each in group.members()]
    fates = Counter(group.fate_of(each) for group, each in responses)
    finished = [fact for fact in undone if fact.event is Event.FINISHED]
    lengths = _lengths(books)
    return Audit(
        groups=_groups(books),
        responses={
            "started": sum(each.has_started for _, each in responses),
            "resumed": books.num_resumed,
            "finished": sum(each.has_finished for _, each in responses),
            **{end.value: fates[end] for end in (Event.TRAINED, Event.PRUNED, *GROUP_ENDS)},
        },
        lost=books.lost,
        duplicated=books.duplicated,
        restarts=len(books.over_restarts) + sum(fact.event is Event.RESUMED_RUN for fact in undone),
        continued_tokens=books.continued_tokens,
        continued_over_restarts=tuple(books.over_restarts),
        repeated=Repeated(
            lines=len(undone),
            finished=len(finished),
            tokens=sum(fact.tokens or 0 for fact in finished),
            trained=sum(fact.event is Event.TRAINED for fact in undone),
        ),
        lengths={name: describe(each) for name, each in lengths.items()},
        length_bias=bias(trained=lengths["trained"], finished=lengths["finished"]),
    )


def _groups(books: Books) -> dict[str, int]:
    ends = Counter(group.end for group in books.groups.values())
    lost = sum(group.end is None and uid in books.lost for uid, group in books.groups.items())
    counts = {end.value: ends[end] for end in (Event.TRAINED, Event.PRUNED, *GROUP_ENDS)}
    return {"drawn": len(books.groups), "live": ends[None] - lost, **counts}


def _lengths(books: Books) -> dict[str, list[int]]:
    """Lengths by fate; of a response that did not finish, the tokens that it was known to have."""
    names = ("trained", "pruned", "filtered", "dropped", "finished", "started")
    lengths: dict[str, list[int]] = {name: [] for name in names}
    for group in books.groups.values():
        for each in group.members():
            fate = group.fate_of(each)
            kinds = [fate.value] if fate is not None else []
            kinds += ["finished"] * each.has_finished + ["started"] * each.has_started
            for kind in kinds:
                if kind in lengths:
                    lengths[kind].append(each.tokens)
    return lengths
