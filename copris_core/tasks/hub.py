"""Whether the Hugging Face hub can be asked, and what to say when a data set is not had from it.

Its libraries retry a hub that does not answer for half a minute; here that is found out once, in
seconds, and they are told to look at what is on this machine alone. This file refuses to know what
rows look like.
"""

import functools
import os
import sys
from typing import Final

from copris_core.tasks.task import HubUnreachable, TaskDataError

ADDRESS: Final = "https://huggingface.co"
ANSWER_S: Final = 5.0
"""Seconds after which the hub counts as not answering."""
OFFLINE: Final = "HF_HUB_OFFLINE"
"""The hub's own switch: 1 keeps its libraries from the network."""
SWITCHES: Final = ("huggingface_hub.constants", "datasets.config")
"""Modules that read the switch when they are imported."""


def is_offline() -> bool:
    """Whether the network is out of the question: the user says so, or the hub does not answer.

    In the second case its libraries are told, in this process and those below it.
    """
    said = os.environ.get(OFFLINE, "")
    if said.upper() in ("1", "ON", "YES", "TRUE"):
        return True
    if _answers(os.environ.get("HF_ENDPOINT", ADDRESS)):
        return False
    os.environ[OFFLINE] = "1"
    for name in SWITCHES:
        if name in sys.modules:
            vars(sys.modules[name])[OFFLINE] = True
    return True


def unread(hub_id: str, error: Exception, *, mend: str) -> TaskDataError:
    """The complaint about a data set that was not had, in one line that ends with ``mend``."""
    reason = str(error).partition("\n")[0]
    line = f"{hub_id}: {reason}; or {mend}"
    if isinstance(error, ConnectionError) or is_offline():
        return HubUnreachable(line, hub_id=hub_id)
    return TaskDataError(line)


@functools.cache
def _answers(address: str) -> bool:
    """Ask once a process; an HTTP error is an answer too, and proxies are honoured."""
    import urllib.error  # with the network's libraries, which a worker that judges never needs
    import urllib.request

    try:
        asked = urllib.request.Request(address, method="HEAD")
        with urllib.request.urlopen(asked, timeout=ANSWER_S):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
