"""The verifiable constraints: golden responses, hostile ones, and which of them go together."""

import importlib.util
import itertools
import random
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from copris_core.tasks import instruction_constraints_own as own
from copris_core.tasks import instruction_ifeval as ifeval
from copris_core.tasks.instruction_constraints import (
    PARAMETERS,
    conflict,
    describe,
    fault_of,
    follows,
)
from copris_core.tasks.instruction_reference import compose
from copris_core.tasks.instruction_requests import (
    EXISTENCE,
    FIRST_WORDS,
    FORBIDDEN,
    FREQUENCY,
    ORDER,
    RARE_LETTERS,
    draw_parameters,
    draw_request,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm_eval is not installed"
)

IDS = sorted(PARAMETERS)
ENGLISH = "the old man went down to the sea and he looked at the ships for a long time"
FRENCH = "Je pense que cette ville est tr\u00e8s belle et que les gens y sont heureux."
TABLE = "| a | b |\n|---|:-:|\n| 1 | 2 |\n| 3 | 4 |"


def _least(count, relation, least):
    return {count: least, relation: "at least"}


def _less(count, relation, less):
    return {count: less, relation: "less than"}


# id, parameters, what follows it, what doesn't
GOLDEN = [
    (
        "change_case:capital_word_frequency",
        _least("capital_frequency", "capital_relation", 2),
        ["NEVER say NEVER", "A WELL-KNOWN thing"],
        ["NEVER say never", "Two Words", "WELL-KNOWN"],
    ),
    (
        "change_case:capital_word_frequency",
        _less("capital_frequency", "capital_relation", 2),
        ["no capitals", "One BIG thing"],
        ["TWO BIG things"],
    ),
    (
        "change_case:english_capital",
        {},
        [ENGLISH.upper(), "SUPPER AND BREAKFAST AND THEN WE ALL WENT HOME."],
        [ENGLISH, ENGLISH.upper() + " x", FRENCH.upper(), "1 2 3"],
    ),
    (
        "change_case:english_lowercase",
        {},
        [ENGLISH, ENGLISH + " (1)."],
        [ENGLISH.title(), ENGLISH + " I", FRENCH.lower(), "1 2 3"],
    ),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Write about tea."},
        ["Write about tea.\nTea is hot.", "  write about TEA. Tea is hot."],
        ["Sure! Write about tea. Tea is hot.", "Write about coffee.", "Write about"],
    ),
    (
        "combination:two_responses",
        {},
        ["one\n******\ntwo", "******one******two******"],
        ["one", "one\n******\none", "one******two******three", "one******  ******two"],
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        ["[name] of [place]", "[a]\n[b] [c]", "[[a] [b]"],
        ["[name]", "[name\n] of [place]", "]name[", "[ [ [ ]"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        ["Bye.\nP.S. Call me", "p. s. call me"],
        ["Bye. PS call me", "P.P.S call me"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        ["Bye.\nP.P.S. Call me", "p.p. s"],
        ["Bye. P.S. call me"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "(N.B.)"},
        ["Bye. (n.b.) call me"],
        ["Bye. NOB call me"],
    ),
    (
        "detectable_format:constrained_response",
        {},
        ["My answer is yes.", " My answer is maybe. "],
        ["Yes.", "my answer is yes", "My answer is hardly."],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": [1.5, null]}', '```json\n{"a": 1}\n```', "[]", "```\n[1]```"],
        ["{'a': 1}", '{"a": NaN}', "[Infinity]", "42", '"text"', "null", 'Here: {"a": 1}', '{"a"'],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        ["Section 1\na\nSection 2\nb", "Section 1 a Section 2 b Section 3 c"],
        ["Section 1\na", "SECTION 1 a SECTION 2 b", "Section one Section two"],
    ),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n* b", "Look:\n  - a\n\n* b\nend", "* a\n**bold**\n* b"],
        ["* a", "* a\n* b\n* c", "** a\n** b", "a * b\nc - d"],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and *b c*", "**a** and *b*"],
        ["*a*", "**", "* *\n* *", "*a\nb* c"],
    ),
    (
        "detectable_format:title",
        {},
        ["<<joy>>\ntext", "text <<a>b>> text", "<<< joy >>>"],
        ["<joy>", "<<>>", "<< >>", "<<a\nb>>", ">>joy<<", "<<joy>", "<<>"],
    ),
    (
        "keywords:existence",
        {"keywords": ["c++", "tea"]},
        ["Tea and C++.", "teapot c++"],
        ["tea and ccc", "c++", "te a c++"],
    ),
    (
        "keywords:forbidden_words",
        {"forbidden_words": ["tea", "a.b"]},
        ["teapot axb", "coffee"],
        ["Some TEA.", "tea", "so a.b it"],
    ),
    (
        "keywords:frequency",
        {"keyword": "a.b", "frequency": 2, "relation": "at least"},
        ["a.b a.b", "A.B.a.b.a.b"],
        ["a.b axb", "a.b"],
    ),
    (
        "keywords:frequency",
        {"keyword": "tea", "frequency": 1, "relation": "less than"},
        ["coffee"],
        ["tea", "teapot"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "E", "let_frequency": 2, "let_relation": "at least"},
        ["bee", "Eve"],
        ["be", "abc"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "#", "let_frequency": 1, "let_relation": "less than"},
        ["no sign"],
        ["a # sign"],
    ),
    (
        "keywords:order",
        {"keywords": ["tea", "milk", "cup"]},
        ["Tea then milk then a cup.", "tea milk tea cup milk"],
        ["milk tea cup", "tea milk", "tea cup milk", "teapot milk cup", "milk cup", "cups"],
    ),
    (
        "language:response_language",
        {"language": "fr"},
        [FRENCH],
        [ENGLISH, "123 456", "\u2603"],
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "today"},
        ["a b\n\nToday, we go", "a\n\n'today' we go"],
        ["a b\n\nwe go today", "today\n\nb", "a\n\nb\n\ntoday", "today", "a\n\ntodays"],
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a\n***\nb", "***\na\n***\nb\n***"],
        ["a\n\nb", "a***b***c", "a***   ***b"],
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "at least"},
        ["One. Two! Three?", "Mr. Ray has 2.5 cups. He drinks. He leaves."],
        ["One. Two.", "Mr. Ray has 2.5 cups. Yes.", "What?! No!!!", "a<stop>b<stop>c", "One..."],
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "less than"},
        ["One. Two.", "no end"],
        ["One. Two. Three."],
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        ["one two three", "it's on"],
        ["one two", "- - - -"],
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "less than"},
        ["one two"],
        ["one two three", "one, two, three"],
    ),
    (
        "length_constraints:sentence_words",
        {"max_words": 3},
        ["One two three. Four five.", "one two\nthree four", "Oh! One two three"],
        ["One two three four.", "Yes. One two three four."],
    ),
    ("punctuation:no_comma", {}, ["a b; c"], ["a, b", ","]),
    (
        "startend:end_checker",
        {"end_phrase": "Any other questions?"},
        ["So. Any other questions?", 'So. "any other QUESTIONS?" '],
        ["Any other questions? Ask.", "Any other questions"],
    ),
    ("startend:quotation", {}, ['"a"', ' "a "b" c" '], ['"', '"a', 'a"', "'a'", "\u201ca\u201d"]),
    (
        "startend:start_phrase",
        {"start_phrase": "Good morning!"},
        ["Good morning! Tea?", "\n good MORNING!"],
        ["Well, good morning!", "Good morning"],
    ),
    (
        "structure:headings",
        {"num_headings": 2},
        ["# a\ntext\n## b", "###### a\n # b"],
        ["# a", "#a\n#b", "# a\n# b\n# c", "####### a\n# b"],
    ),
    (
        "structure:json_keys",
        {"keys": ["a", "b"]},
        ['{"b": 1, "a": "x"}', '```json\n{"a": [0], "b": false}\n```'],
        ['{"a": 1}', '{"a": 1, "b": 2, "c": 3}', '{"a": 1, "b": ""}', '["a", "b"]', "a b", "{}"],
    ),
    (
        "structure:number_lines",
        {"num_lines": 2},
        ["a\nb", "a\n\n \nb\n"],
        ["a", "a\nb\nc", "a b"],
    ),
    (
        "structure:numbered_list",
        {"num_items": 2},
        ["1. a\n2. b", "List:\n 1) a\nmore of a\n 2) b\nend"],
        ["1. a", "1. a\n1. b", "2. b\n1. a", "1. a\n2. b\n3. c", "1.a\n2.b", "1. \n2. b"],
    ),
    (
        "structure:table",
        {"num_columns": 2, "num_rows": 2},
        [TABLE, f"See:\n\n{TABLE}\n\nDone."],
        [
            TABLE.replace("4", " "),
            TABLE.replace("| 4", ""),
            TABLE + "\n| 5 | 6 |",
            TABLE.replace("---", "abc"),
            "a | b",
            f"{TABLE}\n\n{TABLE}",
        ],
    ),
]


def _cases(column):
    return [
        pytest.param(golden[0], golden[1], text, id=f"{golden[0]}-{text[:20]!r}")
        for golden in GOLDEN
        for text in golden[column]
    ]


def test_every_constraint_has_golden_responses():
    assert {golden[0] for golden in GOLDEN} == set(PARAMETERS)
    assert all(golden[2] and golden[3] for golden in GOLDEN)


@pytest.mark.parametrize(("constraint", "parameters", "text"), _cases(2))
def test_a_response_that_follows_is_told(constraint, parameters, text):
    assert follows(constraint, text, parameters)


@pytest.mark.parametrize(("constraint", "parameters", "text"), _cases(3))
def test_a_response_that_does_not_follow_is_told(constraint, parameters, text):
    assert not follows(constraint, text, parameters)


def test_a_blank_response_follows_nothing():
    for constraint, parameters, *_ in GOLDEN:
        assert not any(follows(constraint, text, parameters) for text in ("", " ", "\n\t\u00a0"))


PIECES = st.sampled_from(
    [*"[]<>*-#|.!?,'\"0aZ \n", "p.", "s.", "P.P.S", "\n\n", "<<", ">>", "a b", "\u00e9", "\u2028"]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join)
SAME_AS_LM_EVAL = [
    ("detectable_content:number_placeholders", {"num_placeholders": 2}),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}),
    ("detectable_format:title", {}),
    ("keywords:letter_frequency", {"letter": "a", "let_frequency": 3, "let_relation": "at least"}),
]


@pytest.mark.parametrize(("constraint", "parameters"), SAME_AS_LM_EVAL)
@settings(max_examples=40)
@given(text=TEXTS)
@example(text="[[a][b]")
@example(text="<<>a>>")
@example(text="- a\n\n\n  * b")
def test_our_faster_checkers_say_what_lm_evals_say(constraint, parameters, text):
    # The one known difference: for lm-eval, the line after a lone star is the star's text.
    text = text.replace("*\n", "* a\n") + "." if "bullet" in constraint else text
    assert constraint in own.CHECKS
    assert follows(constraint, text, parameters) == bool(
        text.strip() and ifeval.follows(constraint, text, parameters)
    )


HOSTILE = [
    "[",
    "]",
    "<",
    "<<",
    "*",
    "**",
    "* ",
    "\n",
    " \n",
    "p.",
    "P.S",
    "#",
    "1. ",
    "|",
    "{",
    '"',
]


@pytest.mark.parametrize("constraint", IDS)
def test_thousands_of_hostile_characters_take_no_time(constraint):
    parameters = next(golden[1] for golden in GOLDEN if golden[0] == constraint)
    follows(constraint, "load what it needs", parameters)
    started = time.process_time()
    for piece in HOSTILE:
        follows(constraint, "a" + piece * (30_000 // len(piece)), parameters)
    assert time.process_time() - started < 1.0  # a quadratic checker needs seconds for each


@pytest.mark.parametrize("one", IDS)
def test_two_constraints_conflict_or_one_response_follows_both(one):
    for other, seed in itertools.product(IDS, range(3)):
        assert conflict(one, other) == conflict(other, one)
        if conflict(one, other):
            continue
        rng = random.Random(f"{one} {other} {seed}")
        request = draw_request(rng, question=False)
        asked = {each: draw_parameters(each, rng, request=request) for each in (one, other)}
        response = compose(asked)
        failed = [each for each in asked if not follows(each, response, asked[each])]
        assert failed == [], response


def test_a_constraint_conflicts_with_itself():
    assert all(conflict(each, each) for each in IDS)


CONTRADICTIONS = [
    ("change_case:english_capital", "change_case:english_lowercase"),
    ("detectable_format:json_format", "punctuation:no_comma"),
    ("language:response_language", "keywords:existence"),
    ("startend:quotation", "startend:start_phrase"),
    ("detectable_format:constrained_response", "length_constraints:number_words"),
    ("structure:number_lines", "detectable_format:number_bullet_lists"),
    ("combination:repeat_prompt", "change_case:english_capital"),
]


@pytest.mark.parametrize(("one", "other"), CONTRADICTIONS)
def test_a_plain_contradiction_is_a_conflict(one, other):
    assert conflict(one, other)


def test_every_conflict_of_ifeval_is_one_of_ours():
    theirs = ifeval._modules()["instructions_registry"].INSTRUCTION_CONFLICTS
    pairs = [(one, other) for one, others in theirs.items() for other in others]
    known = [(one, other) for one, other in pairs if {one, other} <= set(IDS)]
    assert len(known) > 50
    assert [pair for pair in known if not conflict(*pair)] == []


def test_no_word_of_a_constraint_is_in_the_way_of_another():
    words = [*EXISTENCE, *FREQUENCY, *FORBIDDEN, *ORDER, *FIRST_WORDS]
    inside = [(one, other) for one, other in itertools.permutations(words, 2) if one in other]
    assert inside == []
    assert not {letter for word in words for letter in word} & set(RARE_LETTERS)


@pytest.mark.parametrize("constraint", IDS)
def test_the_words_of_a_constraint_name_its_parameters(constraint):
    rng = random.Random(7)
    parameters = draw_parameters(constraint, rng, request="Write about tea.")
    assert fault_of(constraint, parameters) is None
    text = describe(constraint, parameters)
    assert describe(constraint, parameters) == text  # nothing is drawn on the way
    shown = {"language": ifeval.languages().get(parameters.get("language", ""), "")}
    shown["prompt_to_repeat"] = "repeat the request"
    for name, value in parameters.items():
        for each in value if isinstance(value, list) else [value]:
            assert str(shown.get(name, each)) in text


FAULTS = [
    ("keywords:exist", {}, "unknown instruction id 'keywords:exist'"),
    (["a"], {}, "unknown instruction id"),
    (None, {}, "unknown instruction id None"),
    ("punctuation:no_comma", None, "needs kwargs"),
    ("punctuation:no_comma", {"num_words": 3}, "needs kwargs with [] and no others"),
    ("keywords:existence", {}, "needs kwargs with ['keywords']"),
    ("keywords:existence", {"keywords": []}, "not a list of texts"),
    ("keywords:existence", {"keywords": ["a", " "]}, "not a list of texts"),
    ("keywords:existence", {"keywords": "tea"}, "not a list of texts"),
    ("structure:number_lines", {"num_lines": -1}, "not a whole number"),
    ("structure:number_lines", {"num_lines": True}, "not a whole number"),
    ("structure:number_lines", {"num_lines": 2.0}, "not a whole number"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "more than"}, "less than"),
    ("language:response_language", {"language": "xx"}, "not a language code"),
    (
        "keywords:letter_frequency",
        {"letter": "ab", "let_frequency": 1, "let_relation": "at least"},
        "not one character",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "so"},
        "nth_paragraph is not within",
    ),
]


@pytest.mark.parametrize(("constraint", "parameters", "fault"), FAULTS)
def test_a_fault_of_a_file_is_named(constraint, parameters, fault):
    assert fault in (fault_of(constraint, parameters) or "")
