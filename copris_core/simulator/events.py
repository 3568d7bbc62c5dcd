"""The log of a simulated run: one JSON line for whatever happens, in the order it happens.

    {"at_s": 1.25, "version": 3, "event": "admitted", "uid": "prompt-7", "index": 2, "tokens": 40}

The same seed writes the same bytes, in whatever process. Reading it back is nobody's business here.
"""

import json
from enum import Enum
from typing import TextIO

from copris_core.rollout.order import ResponseKey


class Happening(Enum):
    """What a line tells."""

    OPENED = "opened"
    """The gate opened for a stage."""
    DRAWN = "drawn"
    """A prompt was drawn; ``lengths``: tokens that its responses will have."""
    ADMITTED = "admitted"
    """A response was sent to an engine; ``tokens``: what it already had."""
    PREEMPTED = "preempted"
    """An engine's KV cache ran full, and its latest response was thrown out."""
    FINISHED = "finished"
    """A response is whole; ``tokens``: its length."""
    OVER = "over"
    """The stage's last group is complete, and nobody is admitted any more."""
    INTERRUPTED = "interrupted"
    """A response was cut off at the end of the stage; ``tokens``: what it has so far."""
    UPDATED = "updated"
    """The weights moved; ``tokens``: response tokens that were trained."""


class EventLog:
    """Writes to a stream that the caller opens and closes."""

    def __init__(self, stream: TextIO) -> None:
        """Write nothing yet."""
        self._stream = stream

    def tell(
        self,
        happening: Happening,
        *,
        at_s: float,
        version: int,
        key: ResponseKey | None = None,
        tokens: int | None = None,
        lengths: tuple[int, ...] | None = None,
    ) -> None:
        """Append one line.

        Args:
            happening: what happened.
            at_s: virtual seconds since the run began.
            version: policy version that samples.
            key: the response; of ``DRAWN``, the group's first.
            tokens: see `Happening`.
            lengths: see `Happening`.
        """
        line: dict[str, object] = {"at_s": at_s, "version": version, "event": happening.value}
        if key is not None:
            line["uid"] = key.uid
            if lengths is None:
                line["index"] = key.index
        if tokens is not None:
            line["tokens"] = tokens
        if lengths is not None:
            line["lengths"] = lengths
        self._stream.write(json.dumps(line) + "\n")
