"""What the router tells the trainer and the agent loops."""

from dataclasses import dataclass


class GroupDroppedError(RuntimeError):
    """The response belongs to a group that was given up for its age."""


@dataclass(frozen=True, kw_only=True)
class News:
    """What the trainer must react to while a stage runs."""

    prompts_wanted: int
    """Prompts to draw now."""
    stage_is_over: bool
    """B groups are complete and the gate admits nobody any more."""
    failed: tuple[str, ...]
    """Prompts whose group failed since the last news."""
    useless: tuple[str, ...]
    """Prompts whose responses have all ended since the last news and are not trained: given up for
    their age, or filtered."""
    reason: str
    """Why the last of ``failed`` did; empty without."""
    surrender: str
    """Why the run cannot go on; empty while it can."""
