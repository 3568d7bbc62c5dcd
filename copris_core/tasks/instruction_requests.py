"""Draws requests and the parameters of their constraints, so that every row can be followed.

The words of different constraints come from lists that share no word, no word of a list is inside
another, and none has one of ``RARE_LETTERS``: so no keyword is ever forbidden, and no letter that
must be rare is in a keyword that must be there.
This file refuses to know how a response is judged.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

_SUBJECTS = """
    a broken umbrella; a city without cars; a day at the sea; a forgotten birthday; a lost key;
    a new neighbor; a night train; a power cut; a rainy wedding; a small island; a snow storm;
    an old bakery; an honest mistake; baking bread; beekeeping; bird watching; boiling an egg;
    borrowing books; chess; climbing a hill; coral reefs; cycling to work; dreams; earthworms;
    electric trams; fishing at dawn; folding paper boats; good manners; growing tomatoes;
    hedgehogs; home repairs; hot air balloons; keeping a diary; lazy Sundays; learning Latin;
    learning to swim; lighthouses; moving house; mushrooms; old photographs; packing a bag;
    painting a room; planting trees; public libraries; rainbows; recycling glass; running late;
    saving water; school uniforms; singing in a choir; sleeping outdoors; spiders; street markets;
    tea; the first frost; the moon; tidal power; traffic lights; train stations; volcanoes;
    walking a dog; washing wool; wind turbines; writing letters
"""
SUBJECTS = tuple(subject.strip() for subject in _SUBJECTS.replace("\n", " ").split(";"))
FORMS = (
    "Write a short text about {subject}.",
    "Write an email to a friend about {subject}.",
    "Tell a short story about {subject}.",
    "Explain to a child what is special about {subject}.",
    "Give a beginner some advice about {subject}.",
    "Write a diary entry about {subject}.",
    "Write a local news report about {subject}.",
    "Write a letter to the mayor about {subject}.",
    "Write a blog post about {subject}.",
    "Draft a speech about {subject}.",
    "Write about a memory that has to do with {subject}.",
    "Describe what people get wrong about {subject}.",
    "Write a radio advertisement that has to do with {subject}.",
    "Compare what two friends think about {subject}.",
    "Write a guide for visitors about {subject}.",
    "Write a complaint that has to do with {subject}.",
    "Write down what a grandmother might say about {subject}.",
    "Write the first page of a novel about {subject}.",
    "Write a birthday greeting that mentions {subject}.",
    "Write some notes for a talk about {subject}.",
)
QUESTIONS = (  # for the constraint that wants yes, no or maybe
    "Would you tell a friend about {subject}?",
    "Is {subject} a good theme for a children's book?",
    "Should a school spend an hour on {subject}?",
    "Can {subject} make a dull week better?",
)

EXISTENCE = ("harbor", "candle", "meadow", "copper", "thunder", "basket", "lantern", "pebble")
FREQUENCY = ("river", "garden", "silver", "winter", "weather", "forest", "mirror", "bridge")
FORBIDDEN = ("very", "great", "important", "always", "never", "however", "actually", "really")
ORDER = ("breakfast", "lunch", "supper", "sunrise", "midnight", "summit", "valley", "engine")
FIRST_WORDS = ("today", "often", "people", "while", "once", "perhaps", "there", "many")
KEYS = ("headline", "summary", "details", "author", "place", "reason", "advice", "mood")
START_PHRASES = ("Here is what I found.", "Good morning to you all!", "Let me begin at the end.")
END_PHRASES = (
    "Any other questions?",
    "Is there anything else I can help with?",
    "Now it is your turn!",
    "What would you have done?",
)
RARE_LETTERS = "jqxz"
COMMON_LETTERS = "abcdefghiklmnoprstuvwy"
LANGUAGES = ("de", "es", "fr", "it", "pl", "pt", "ru")

Draw = Callable[[random.Random], dict[str, Any]]


def draw_request(rng: random.Random, *, question: bool) -> str:
    """A request, or a question that can be answered with yes or no."""
    form = rng.choice(QUESTIONS if question else FORMS)
    return form.format(subject=rng.choice(SUBJECTS))


def draw_parameters(constraint: str, rng: random.Random, *, request: str) -> dict[str, Any]:
    """Parameters of one constraint, all of them given."""
    if constraint == "combination:repeat_prompt":
        return {"prompt_to_repeat": request}
    return _DRAWS.get(constraint, _nothing)(rng)


def _nothing(rng: random.Random) -> dict[str, Any]:
    return {}


def _count(name: str, least: int, most: int) -> Draw:
    return lambda rng: {name: rng.randint(least, most)}


def _texts(name: str, known: tuple[str, ...], size: int) -> Draw:
    return lambda rng: {name: rng.sample(known, size)}


def _text(name: str, known: tuple[str, ...]) -> Draw:
    return lambda rng: {name: rng.choice(known)}


def _compared(count: str, relation: str, counts: Mapping[str, tuple[int, ...]]) -> Draw:
    """Draw a relation among the keys of ``counts``, and one of its thresholds."""

    def draw(rng: random.Random) -> dict[str, Any]:
        drawn = rng.choice(sorted(counts))
        return {count: rng.choice(counts[drawn]), relation: drawn}

    return draw


def _letter(rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.5:
        letter, count, relation = rng.choice(RARE_LETTERS), rng.randint(3, 6), "less than"
    else:
        letter, count, relation = rng.choice(COMMON_LETTERS), rng.randint(3, 12), "at least"
    return {"letter": letter, "let_frequency": count, "let_relation": relation}


def _first_word(rng: random.Random) -> dict[str, Any]:
    paragraphs = rng.randint(2, 4)
    return {
        "num_paragraphs": paragraphs,
        "nth_paragraph": rng.randint(1, paragraphs),
        "first_word": rng.choice(FIRST_WORDS),
    }


def _sections(rng: random.Random) -> dict[str, Any]:
    splitter = rng.choice(("Section", "SECTION"))
    return {"section_spliter": splitter, "num_sections": rng.randint(2, 4)}


def _table(rng: random.Random) -> dict[str, Any]:
    return {"num_columns": rng.randint(2, 4), "num_rows": rng.randint(2, 4)}


_DRAWS: dict[str, Draw] = {
    "change_case:capital_word_frequency": _compared(
        "capital_frequency", "capital_relation", {"at least": (2, 3, 5, 8), "less than": (4, 6, 10)}
    ),
    "detectable_content:number_placeholders": _count("num_placeholders", 1, 4),
    "detectable_content:postscript": _text("postscript_marker", ("P.S.", "P.P.S")),
    "detectable_format:multiple_sections": _sections,
    "detectable_format:number_bullet_lists": _count("num_bullets", 2, 5),
    "detectable_format:number_highlighted_sections": _count("num_highlights", 1, 4),
    "keywords:existence": _texts("keywords", EXISTENCE, 2),
    "keywords:forbidden_words": _texts("forbidden_words", FORBIDDEN, 2),
    "keywords:frequency": lambda rng: {
        "keyword": rng.choice(FREQUENCY),
        "frequency": rng.randint(2, 4),
        "relation": "at least",  # "less than" is followed by every response that never heard of it
    },
    "keywords:letter_frequency": _letter,
    "keywords:order": _texts("keywords", ORDER, 3),
    "language:response_language": _text("language", LANGUAGES),
    "length_constraints:nth_paragraph_first_word": _first_word,
    "length_constraints:number_paragraphs": _count("num_paragraphs", 2, 5),
    "length_constraints:number_sentences": _compared(
        "num_sentences", "relation", {"at least": (3, 5, 8), "less than": (4, 6, 8)}
    ),
    "length_constraints:number_words": _compared(
        "num_words", "relation", {"at least": (40, 80, 120, 200), "less than": (100, 150, 250)}
    ),
    "length_constraints:sentence_words": _count("max_words", 10, 16),
    "startend:end_checker": _text("end_phrase", END_PHRASES),
    "startend:start_phrase": _text("start_phrase", START_PHRASES),
    "structure:headings": _count("num_headings", 2, 4),
    "structure:json_keys": _texts("keys", KEYS, 3),
    "structure:number_lines": _count("num_lines", 3, 6),
    "structure:numbered_list": _count("num_items", 3, 5),
    "structure:table": _table,
}
