"""The verifiable constraints: which there are, what they take, which go together.

Most ids, parameters and wordings are IFEval's (arXiv 2311.07911, table 1); ``structure:``,
``keywords:order``, ``length_constraints:sentence_words`` and ``startend:start_phrase`` are ours.
Who judges an id is in ``instruction_constraints_own.CHECKS``, else it is lm-eval's checker.
This file refuses to know requests, rows and how a response is split into thought and answer.
"""

from collections.abc import Mapping
from typing import Any

from copris_core.tasks import instruction_constraints_own as own
from copris_core.tasks import instruction_ifeval as ifeval

RELATIONS = ("less than", "at least")

# id -> parameter -> kind, see _KINDS.
PARAMETERS: dict[str, dict[str, str]] = {
    "change_case:capital_word_frequency": {
        "capital_frequency": "count",
        "capital_relation": "relation",
    },
    "change_case:english_capital": {},
    "change_case:english_lowercase": {},
    "combination:repeat_prompt": {"prompt_to_repeat": "text"},
    "combination:two_responses": {},
    "detectable_content:number_placeholders": {"num_placeholders": "count"},
    "detectable_content:postscript": {"postscript_marker": "text"},
    "detectable_format:constrained_response": {},
    "detectable_format:json_format": {},
    "detectable_format:multiple_sections": {"section_spliter": "text", "num_sections": "count"},
    "detectable_format:number_bullet_lists": {"num_bullets": "count"},
    "detectable_format:number_highlighted_sections": {"num_highlights": "count"},
    "detectable_format:title": {},
    "keywords:existence": {"keywords": "texts"},
    "keywords:forbidden_words": {"forbidden_words": "texts"},
    "keywords:frequency": {"keyword": "text", "frequency": "count", "relation": "relation"},
    "keywords:letter_frequency": {
        "letter": "letter",
        "let_frequency": "count",
        "let_relation": "relation",
    },
    "keywords:order": {"keywords": "texts"},
    "language:response_language": {"language": "language"},
    "length_constraints:nth_paragraph_first_word": {
        "num_paragraphs": "count",
        "nth_paragraph": "count",
        "first_word": "text",
    },
    "length_constraints:number_paragraphs": {"num_paragraphs": "count"},
    "length_constraints:number_sentences": {"num_sentences": "count", "relation": "relation"},
    "length_constraints:number_words": {"num_words": "count", "relation": "relation"},
    "length_constraints:sentence_words": {"max_words": "count"},
    "punctuation:no_comma": {},
    "startend:end_checker": {"end_phrase": "text"},
    "startend:quotation": {},
    "startend:start_phrase": {"start_phrase": "text"},
    "structure:headings": {"num_headings": "count"},
    "structure:json_keys": {"keys": "texts"},
    "structure:number_lines": {"num_lines": "count"},
    "structure:numbered_list": {"num_items": "count"},
    "structure:table": {"num_columns": "count", "num_rows": "count"},
}

_KINDS = {
    "count": "a whole number, 0 or more",
    "relation": '"less than" or "at least"',
    "text": "a text that is not blank",
    "texts": "a list of texts that are not blank",
    "letter": "one character",
    "language": "a language code such as fr",
}

# Within a group every two contradict each other, or read oddly together.
_LAYOUTS = {
    "combination:two_responses",
    "detectable_format:constrained_response",
    "detectable_format:json_format",
    "detectable_format:multiple_sections",
    "detectable_format:number_bullet_lists",
    "length_constraints:nth_paragraph_first_word",
    "length_constraints:number_paragraphs",
    "structure:headings",
    "structure:json_keys",
    "structure:number_lines",
    "structure:numbered_list",
    "structure:table",
}
_CASES = {
    "change_case:capital_word_frequency",
    "change_case:english_capital",
    "change_case:english_lowercase",
}
_EXCLUSIVE = (_LAYOUTS, _CASES)

_ENGLISH_WORDS = {
    "keywords:existence",
    "keywords:forbidden_words",
    "keywords:frequency",
    "keywords:letter_frequency",
    "keywords:order",
    "startend:end_checker",
    "startend:start_phrase",
    "detectable_content:postscript",
    "length_constraints:nth_paragraph_first_word",
    "detectable_format:multiple_sections",
    "combination:repeat_prompt",
}

# Those that fix the whole response go with nothing but the few named here.
_ONLY_WITH = {
    "combination:repeat_prompt": {
        "detectable_format:title",
        "keywords:existence",
        "punctuation:no_comma",
    },
    "combination:two_responses": {
        "detectable_format:title",
        "keywords:existence",
        "keywords:forbidden_words",
        "language:response_language",
        "punctuation:no_comma",
    },
    "detectable_format:constrained_response": set[str](),
    "detectable_format:json_format": {"keywords:existence", "keywords:forbidden_words"},
    "structure:json_keys": {"keywords:existence", "keywords:forbidden_words"},
}

# id -> ids that it can't stand beside; read both ways.
_NEVER_WITH: dict[str, set[str]] = {
    "language:response_language": _ENGLISH_WORDS | _CASES,
    # The marks and phrases below are spelt in a case of their own.
    "change_case:english_capital": {"startend:end_checker", "startend:start_phrase"},
    "change_case:english_lowercase": {
        "detectable_content:postscript",
        "startend:end_checker",
        "startend:start_phrase",
        "structure:table",  # langdetect doubts the language of cells
    },
    "change_case:capital_word_frequency": {"detectable_content:postscript"},
    "detectable_format:multiple_sections": {
        *_CASES,
        "detectable_format:number_highlighted_sections",
    },
    # A layout asks for sentences of its own; few short ones can't make many words.
    "length_constraints:number_sentences": {*_LAYOUTS, "length_constraints:sentence_words"},
    # What comes first, and what wraps all.
    "startend:start_phrase": {
        "startend:quotation",
        "length_constraints:nth_paragraph_first_word",
        "structure:headings",
    },
    "startend:quotation": {"detectable_format:title"},
}


def conflict(one: str, other: str) -> bool:
    """Whether two constraints can't both be asked of one response; symmetric."""
    if one == other or any({one, other} <= group for group in _EXCLUSIVE):
        return True
    for left, right in ((one, other), (other, one)):
        if right in _NEVER_WITH.get(left, ()) or right not in _ONLY_WITH.get(left, {right}):
            return True
    return False


def describe(constraint: str, parameters: Mapping[str, Any]) -> str:
    """The constraint in words, as a prompt says it.

    Raises:
        ValueError: lm-eval is not installed.
    """
    describe_it = own.describe if constraint in own.WORDS else ifeval.describe
    return describe_it(constraint, parameters)


def follows(constraint: str, text: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a response follows the constraint; a blank one follows none (IFEval's rule).

    Raises:
        ValueError: lm-eval or langdetect is not installed.
    """
    if not text.strip():
        return False
    check = own.CHECKS.get(constraint)
    return check(text, parameters) if check else ifeval.follows(constraint, text, parameters)


def fault_of(constraint: Any, parameters: Any) -> str | None:
    """What is wrong with a constraint that a file names; None when it can be judged."""
    if not isinstance(constraint, str) or constraint not in PARAMETERS:
        return f"unknown instruction id {constraint!r}"
    wanted = PARAMETERS[constraint]
    if not isinstance(parameters, dict) or set(parameters) != set(wanted):
        return f"{constraint} needs kwargs with {sorted(wanted)} and no others"
    for name, kind in wanted.items():
        if not _is(kind, parameters[name]):
            return f"{constraint}: {name} is {parameters[name]!r}, not {_KINDS[kind]}"
    if constraint == "length_constraints:nth_paragraph_first_word" and not (
        1 <= parameters["nth_paragraph"] <= parameters["num_paragraphs"]
    ):
        return f"{constraint}: nth_paragraph is not within 1..num_paragraphs"
    return None


def _is(kind: str, value: Any) -> bool:
    if kind == "count":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if kind == "texts":
        return isinstance(value, list) and bool(value) and all(_is("text", each) for each in value)
    if not isinstance(value, str) or not value.strip():
        return False
    tests = {
        "relation": lambda: value in RELATIONS,
        "letter": lambda: len(value) == 1,
        "language": lambda: value in ifeval.languages(),
    }
    return tests.get(kind, lambda: True)()
