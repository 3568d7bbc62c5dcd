"""One judged response of an evaluation: a line of samples.jsonl.

Refuses to judge, and to read files: a task's verifier filled it, a report reads it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from reprlib import repr as shorten
from typing import Any, Final

FINISHES: Final = ("stop", "length")
"""How a response ends: by itself, or cut off at its token limit."""

MEND: Final = "mend or delete that line of samples.jsonl and run the eval again"


@dataclass(frozen=True, kw_only=True)
class EvalSample:
    """One response to one prompt, and what the verifier said of it.

    Raises:
        ValueError: a field whose value can't be; one line that names it.
    """

    uid: str
    """Of the prompt, ``<task>:<number>``; samples of one prompt share it."""
    task: str
    """Benchmark, such as ``math500``."""
    index: int
    """Which sample of the prompt, 0 .. n - 1."""
    question: str
    """The last user message."""
    response: str
    """What the model wrote, as it is."""
    ground_truth: str
    """The right answer, as the dataset has it."""
    answer: str | None
    """The final answer found in the response, canonical: equal answers are equal strings. None:
    none was found."""
    score: float
    """Reward of the verifier."""
    correct: bool
    """Whether the verifier takes the answer for right."""
    reason: str
    """The verifier's, one line."""
    num_tokens: int
    """Tokens of the response."""
    finish: str
    """One of `FINISHES`."""
    subject: str
    """Such as ``Geometry``; "" where unknown."""
    level: str
    """Such as ``5``; "" where unknown."""

    def __post_init__(self) -> None:
        """Refuse what no sample can be.

        Raises:
            ValueError: a field is empty or out of its range.
        """
        wrong = {
            "uid": not self.uid,
            "task": not self.task,
            "index": self.index < 0,
            "score": not math.isfinite(self.score),
            "num_tokens": self.num_tokens < 0,
            "finish": self.finish not in FINISHES,
        }
        for key in (key for key, is_wrong in wrong.items() if is_wrong):
            raise ValueError(f"a sample has {key} = {shorten(getattr(self, key))}: {MEND}")

    @property
    def truncated(self) -> bool:
        """Whether it was cut off at its token limit."""
        return self.finish == "length"

    def to_json(self) -> dict[str, Any]:
        """The object that stands on its line."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> EvalSample:
        """Read such an object back; unknown keys are left alone.

        Raises:
            ValueError: no object, or a key that is missing or of another type; names it.
        """
        if not isinstance(value, Mapping):
            raise ValueError(f"a sample is no JSON object: {MEND}")
        return cls(**{key: _checked(value, key, types) for key, types in TYPES.items()})


_Types = tuple[type, ...]

TYPES: Final[Mapping[str, _Types]] = {
    "uid": (str,),
    "task": (str,),
    "index": (int,),
    "question": (str,),
    "response": (str,),
    "ground_truth": (str,),
    "answer": (str, type(None)),
    "score": (float, int),
    "correct": (bool,),
    "reason": (str,),
    "num_tokens": (int,),
    "finish": (str,),
    "subject": (str,),
    "level": (str,),
}
"""What each key of a line may hold in JSON."""


def _checked(line: Mapping[str, Any], key: str, types: _Types) -> Any:
    if key not in line:
        raise ValueError(f"a sample has no {key!r}: {MEND}")
    value = line[key]
    # A bool is an int to isinstance, and no number here.
    if type(value) not in types:
        names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in types)
        raise ValueError(f"a sample has {key} = {shorten(value)}, which is not {names}: {MEND}")
    return value
