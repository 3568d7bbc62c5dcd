"""Writes a plain response that follows every constraint of a generated row.

It says nothing of worth: it is the proof that a row can be followed, and the check on its verifier
(``copris data make`` scores it). One layout at most is asked for (the conflict table says so), so a
response is built in one pass: the pieces that words ask for, laid out, then wrapped.
This file refuses to know how a response is judged.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

Asked = Mapping[str, Mapping[str, Any]]

# At most ten words each, no comma, none of the rare letters, no word that a row may forbid.
FILLER = {
    "de": "wir denken oft an die schönen Tage im Garten",
    "en": "we think this is good for all of us",
    "es": "nosotros pensamos mucho en los días de verano",
    "fr": "nous pensons souvent aux beaux jours dans la ville",
    "it": "noi pensiamo spesso alle belle giornate della nostra città",
    "pl": "często myślimy o pięknych dniach w naszym mieście",
    "pt": "nós pensamos muitas vezes nos dias bonitos da nossa cidade",
    "ru": "мы часто думаем о хороших днях в нашем городе",  # noqa: RUF001
}


def compose(asked: Asked) -> str:
    """A response that follows what is asked: parameters by constraint id."""
    for constraint, write in _WHOLE_RESPONSES.items():
        if constraint in asked:
            return write(asked)
    pieces = _pieces(asked)
    body = _stop(asked).join([*pieces, *_filler(asked, len(pieces))]) + _stop(asked).strip()
    lines = _laid_out(asked, body)
    lines[0] = " ".join([*_values(asked, "startend:start_phrase"), lines[0]])
    postscripts = [f"{mark} yes." for mark in _values(asked, "detectable_content:postscript")]
    lines[-1] = " ".join([lines[-1], *postscripts, *_values(asked, "startend:end_checker")])
    return _dressed(asked, "\n".join(lines))


def _pieces(asked: Asked) -> list[str]:
    """What the words of the response must be or contain, one sentence each."""
    pieces = [" and ".join(asked[each]["keywords"]) for each in _KEYWORDS if each in asked]
    if "keywords:frequency" in asked:
        times = asked["keywords:frequency"]
        pieces.append(" ".join([times["keyword"]] * times["frequency"]))
    if "keywords:letter_frequency" in asked:
        times = asked["keywords:letter_frequency"]
        if times["let_relation"] == "at least":
            pieces.append(times["letter"] * times["let_frequency"])
    if "change_case:capital_word_frequency" in asked:
        times = asked["change_case:capital_word_frequency"]
        if times["capital_relation"] == "at least":
            pieces.append(" ".join(["OK"] * times["capital_frequency"]))
    for constraint, mark in _MARKS.items():
        if constraint in asked:
            [times_marked] = asked[constraint].values() or [1]
            pieces.append(" ".join(["1", *[mark] * times_marked]))  # "*1*" first: a bullet
    return pieces


def _filler(asked: Asked, num_pieces: int) -> list[str]:
    """At least two sentences, and what the pieces lack of the sentences or words asked for."""
    count = 2
    sentences = asked.get("length_constraints:number_sentences", {})
    if sentences.get("relation") == "at least":
        count = max(count, sentences["num_sentences"] - num_pieces)
    words = asked.get("length_constraints:number_words", {})
    if words.get("relation") == "at least":
        count = max(count, 1 + words["num_words"] // 7)  # the shortest sentence has seven words
    return [_sentence(asked)] * count


def _laid_out(asked: Asked, body: str) -> list[str]:
    """The lines of the response, the body in the first that may hold it."""
    more = _sentence(asked) + "."
    for constraint, lay_out in _LAYOUTS.items():
        if constraint in asked:
            return lay_out(asked[constraint], body, more)
    return [body]


def _paragraphs(asked: Mapping[str, Any], body: str, more: str) -> list[str]:
    return "\n***\n".join([body] + [more] * (asked["num_paragraphs"] - 1)).split("\n")


def _first_word(asked: Mapping[str, Any], body: str, more: str) -> list[str]:
    paragraphs = [body] + [more] * (asked["num_paragraphs"] - 1)
    nth = asked["nth_paragraph"] - 1
    paragraphs[nth] = f"{asked['first_word']} {paragraphs[nth]}"
    return "\n\n".join(paragraphs).split("\n")


def _sections(asked: Mapping[str, Any], body: str, more: str) -> list[str]:
    numbers = range(2, asked["num_sections"] + 1)
    mark = asked["section_spliter"]
    return [f"{mark} 1", body, *(line for n in numbers for line in (f"{mark} {n}", more))]


def _table(asked: Mapping[str, Any], body: str, more: str) -> list[str]:
    columns = asked["num_columns"]
    row = "|" + " 1 |" * columns
    return [body, "", row, "|" + "---|" * columns, *[row] * asked["num_rows"], "", more]


def _json(asked: Asked) -> str:
    keys = asked.get("structure:json_keys", {"keys": ["answer"]})["keys"]
    words = asked.get("keywords:existence", {"keywords": ["yes"]})["keywords"]
    return json.dumps(dict.fromkeys(keys, " ".join(words)))


def _two_responses(asked: Asked) -> str:
    one = f"{' '.join(_pieces(asked))} {_sentence(asked)}."
    return f"{one}\n******\n{one} {_sentence(asked)}."


def _repeat(asked: Asked) -> str:
    request = asked["combination:repeat_prompt"]["prompt_to_repeat"]
    return "\n".join([request, *_pieces(asked), "So it is."])


def _dressed(asked: Asked, text: str) -> str:
    if "change_case:english_capital" in asked:
        text = text.upper()
    if "change_case:english_lowercase" in asked:
        text = text.lower()
    return f'"{text}"' if "startend:quotation" in asked else text


def _sentence(asked: Asked) -> str:
    return FILLER[asked.get("language:response_language", {"language": "en"})["language"]]


def _stop(asked: Asked) -> str:
    """What ends a sentence; few sentences are one long one."""
    wanted = asked.get("length_constraints:number_sentences", {})
    return " " if wanted.get("relation") == "less than" else ". "


def _values(asked: Asked, constraint: str) -> list[str]:
    return [str(value) for value in asked.get(constraint, {}).values()]


_KEYWORDS = ("keywords:existence", "keywords:order")
_MARKS = {
    "detectable_content:number_placeholders": "[1]",
    "detectable_format:number_highlighted_sections": "*1*",
    "detectable_format:title": "<<1>>",
}
_WHOLE_RESPONSES: dict[str, Callable[[Asked], str]] = {
    "combination:repeat_prompt": _repeat,
    "combination:two_responses": _two_responses,
    "detectable_format:constrained_response": lambda asked: "My answer is yes.",
    "detectable_format:json_format": _json,
    "structure:json_keys": _json,
}
_LAYOUTS: dict[str, Callable[[Mapping[str, Any], str, str], list[str]]] = {
    "detectable_format:multiple_sections": _sections,
    "detectable_format:number_bullet_lists": lambda asked, body, more: (
        [body] + [f"- {more}"] * asked["num_bullets"]
    ),
    "length_constraints:nth_paragraph_first_word": _first_word,
    "length_constraints:number_paragraphs": _paragraphs,
    "structure:headings": lambda asked, body, more: [body] + ["## 1", more] * asked["num_headings"],
    "structure:number_lines": lambda asked, body, more: [body] + [more] * (asked["num_lines"] - 1),
    "structure:numbered_list": lambda asked, body, more: [
        body,
        *(f"{number}. {more}" for number in range(1, asked["num_items"] + 1)),
    ],
    "structure:table": _table,
}
