"""Sees what happens at the gate and tells it as facts for the ledger."""

from collections.abc import Iterable, Mapping

from copris_core.rollout.events import Event, Fact
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.partials import PartialResponse


class Witness:
    """Collects facts until they are taken; remembers how long each live response is."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._facts: list[Fact] = []
        self._tokens: dict[str, dict[int, int]] = {}

    def restored(self, responses: Iterable[PartialResponse]) -> None:
        """These responses had begun before the restart."""
        for response in responses:
            self._tokens.setdefault(response.key.uid, {})[response.key.index] = response.num_tokens

    def admitted(self, key: ResponseKey, version: int, *, had: int) -> None:
        """A response goes to an engine, for the first time or again.

        Args:
            key: the response.
            version: the policy version that will sample it.
            had: tokens that its client holds; an answer that was refused as damaged is not in it.
        """
        lengths = self._tokens.setdefault(key.uid, {})
        if key.index in lengths:
            self._facts.append(Fact(Event.RESUMED, version, key.uid, key.index, had))
        else:
            self._facts.append(Fact(Event.STARTED, version, key.uid, key.index))
        lengths[key.index] = had

    def sampled(self, key: ResponseKey, tokens: int) -> None:
        """An engine gave ``tokens`` more."""
        self._tokens[key.uid][key.index] += tokens

    def completed(self, uid: str, version: int, lengths: Mapping[int, int]) -> None:
        """A group is stored; ``lengths``: tokens of each of its responses by index."""
        for index, tokens in sorted(lengths.items()):
            self._facts.append(Fact(Event.FINISHED, version, uid, index, tokens))
        self._tokens[uid] = dict(lengths)

    def filtered(self, uid: str, version: int, reason: str) -> None:
        """A complete group is not trained."""
        self._facts.append(Fact(Event.FILTERED, version, uid, reason=reason))
        self.forget([uid])

    def failed(self, uid: str, version: int, reason: str) -> None:
        """A group is given up after an error."""
        self._facts.append(Fact(Event.FAILED, version, uid, reason=reason))
        self.forget([uid])

    def dropped(self, uids: Iterable[str], version: int) -> None:
        """Groups are given up for their age; tells how long each of their responses was."""
        for uid in uids:
            self._facts.append(Fact(Event.DROPPED, version, uid, reason="too old"))
            for index, tokens in sorted(self._tokens.pop(uid, {}).items()):
                self._facts.append(Fact(Event.DROPPED, version, uid, index, tokens))

    def forget(self, uids: Iterable[str]) -> None:
        """These groups are no longer the gate's."""
        for uid in uids:
            self._tokens.pop(uid, None)

    def take(self) -> list[Fact]:
        """Hand out the facts since the last call, in order."""
        facts, self._facts = self._facts, []
        return facts
