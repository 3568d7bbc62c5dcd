"""Where trainer and engine of one run meet to hand weights over, and nobody else's do.

verl names the socket in /tmp by Ray's job (vllm_rollout.py:141, utils.py:431), and every run's own
cluster begins with the same one: two runs on a machine would meet each other's engines, and wait
for ever or sample with each other's weights.
"""

import os
from typing import Final

from copris_core.verl_adapter.processes import MARK

VERLS: Final = "rl-colocate-zmq-"
MARK_CHARS: Final = 12
"""Of the run's mark; the path of a socket holds little more than 100 characters."""


def of_this_run(handle: str) -> str:
    """Verl's address with the run's mark in it; as it is in a process without one."""
    mark = os.environ.get(MARK, "")[:MARK_CHARS]
    return handle.replace(VERLS, f"{VERLS}{mark}-", 1) if mark else handle
