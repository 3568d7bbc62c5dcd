"""What must hold for rows that this house did not make itself: their form, and a clean split.

Answers are half sentences; who asks puts the place in front. This file refuses to know where rows
came from.
"""

from collections.abc import Sequence

from copris_core.tasks.task import Message, Row

ROLES = ("system", "user")


def row_complaint(row: object) -> str | None:
    """What is wrong with a row and how to mend it; None when nothing is."""
    if not isinstance(row, Row):
        return f"is {type(row).__name__}, not a Row: build it with copris_core.tasks.Row"
    if not isinstance(row.prompt, tuple) or not row.prompt:
        return "has no prompt: give a tuple of Message(role=..., content=...)"
    for message in row.prompt:
        if not isinstance(message, Message) or message.role not in ROLES:
            return f"has a prompt of other things than Message with a role of {ROLES}: use those"
        if not is_text(message.content):
            return "has a message without text: give every Message some content"
    if not is_text(row.ground_truth):
        return f"has the ground truth {row.ground_truth!r}: give text, such as str(...)"
    if not is_text(row.ability):
        return f"has the ability {row.ability!r}: give a word, such as 'math'"
    for key, value in row.facts.items():
        if not is_text(key) or not is_fact(value):
            return f"has the fact {key!r}: {value!r}: keep text, and int of 64 bits"
    return None


def is_text(value: object) -> bool:
    """Whether a value is text that says something and can be stored."""
    return isinstance(value, str) and bool(value.strip()) and _is_utf8(value)


def is_fact(value: object) -> bool:
    """Whether a value can be stored as a fact: text, or an int of 64 bits; bool is neither."""
    if isinstance(value, str):
        return _is_utf8(value)
    return type(value) is int and -(2**63) <= value < 2**63


def _is_utf8(text: str) -> bool:
    """Whether a file can hold the text; JSON can escape half a character, which none can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def prompt_text(row: Row) -> str:
    """What the user asks, white space evened out; rows with the same text ask the same."""
    words = [word for each in row.prompt if each.role == "user" for word in each.content.split()]
    return " ".join(words)


def first_shared_prompt(train: Sequence[Row], held_out: Sequence[Row]) -> tuple[int, int] | None:
    """Positions of the first training row whose prompt is held out too, and of its twin."""
    places: dict[str, int] = {}
    for place, row in enumerate(held_out):
        places.setdefault(prompt_text(row), place)
    for place, row in enumerate(train):
        twin = places.get(prompt_text(row))
        if twin is not None:
            return place, twin
    return None
