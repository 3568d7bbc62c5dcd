"""A reward service as they are: every response's first try fails."""

import hashlib
from typing import Any

from copris_core.verl_adapter.reward import compute_score as reliable

_seen: set[str] = set()


def compute_score(data_source: str, solution_str: str, ground_truth: str, **more: Any) -> Any:
    """Fail on one response in four, once."""
    name = hashlib.sha256(f"{solution_str} {ground_truth}".encode()).hexdigest()
    if name[0] in "0123" and name not in _seen:
        _seen.add(name)
        raise TimeoutError("the reward service did not answer")
    return reliable(data_source, solution_str, ground_truth, **more)
