r"""Our own constraint checkers: IFEval's that don't work offline or fast enough, and new ones.

Every checker takes time linear in the response and never raises. lm-eval's are replaced where

- they need nltk's data: ``number_sentences``, ``capital_word_frequency``;
- they take quadratic time on a hostile response (a million ``[``, ``<`` or newlines):
  ``number_placeholders``, ``number_bullet_lists``, ``postscript``, ``title``; same verdicts;
- a policy could cheat them: ``json_format`` takes NaN (RFC 8259, section 6, does not) and a bare
  number, ``response_language`` takes a response of digits;
- they are wrong: langdetect takes English in capitals for other languages, so for
  ``english_capital`` and ``english_lowercase`` it reads lower case;
- they draw at random what they don't understand: ``letter_frequency`` of a sign such as "#".

This file refuses to know prompts, rows and how constraints are combined.
"""

import itertools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from copris_core.tasks import instruction_ifeval as ifeval

Parameters = Mapping[str, Any]
Check = Callable[[str, Parameters], bool]

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")  # a hyphenated word is one
_NUMBERED = re.compile(r"([0-9]{1,4})[.)]\s+\S")
_HEADING = re.compile(r"#{1,6}\s+\S")
_RULE_CELL = re.compile(r":?-+:?")
_FENCES = ("```json", "```Json", "```JSON", "```")


def words(text: str) -> list[str]:
    """Words of a text, without punctuation."""
    return _WORD.findall(text)


def lines(text: str) -> list[str]:
    """Lines that are not blank, stripped."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def compare(count: int, relation: str, threshold: int) -> bool:
    """IFEval's two relations: "less than" and "at least"."""
    return count < threshold if relation == "less than" else count >= threshold


def number_placeholders(text: str, parameters: Parameters) -> bool:
    """At least so many ``[...]`` within a line."""
    count = 0
    for line in text.split("\n"):
        closed = -1
        while (opened := line.find("[", closed + 1)) >= 0:
            closed = line.find("]", opened)
            if closed < 0:
                break
            count += 1
    return bool(count >= parameters["num_placeholders"])


def number_bullet_lists(text: str, parameters: Parameters) -> bool:
    """Exactly so many lines that start with ``-`` or a single ``*``."""
    stars = sum(line.startswith("*") and line[1:2] not in ("", "*") for line in lines(text))
    dashes = sum(line.startswith("-") for line in lines(text))
    return bool(stars + dashes == parameters["num_bullets"])


def postscript(text: str, parameters: Parameters) -> bool:
    """The marker is somewhere, in any case; "P.S." and "P.P.S" also with spaces."""
    marker = parameters["postscript_marker"].strip()
    spaced = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
    return bool(re.search(spaced.get(marker, re.escape(marker.lower())), text.lower()))


def title(text: str, parameters: Parameters) -> bool:
    """Some line has ``<<...>>`` with something in it."""
    for line in text.split("\n"):
        opened, closed = line.find("<<"), line.rfind(">>")
        if 0 <= opened < closed and line[opened : closed + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def json_value(text: str) -> dict[str, Any] | list[Any] | None:
    """The object or array that the whole text is, fenced or not; None when it is none."""
    text = text.strip()
    for fence in _FENCES:
        text = text.removeprefix(fence)
    try:
        value = json.loads(text.removesuffix("```").strip(), parse_constant=_not_a_number)
    except (ValueError, RecursionError):  # RecursionError: a million open brackets
        return None
    return value if isinstance(value, dict | list) else None


def json_format(text: str, parameters: Parameters) -> bool:
    """The whole response is a JSON object or array."""
    return json_value(text) is not None


def number_sentences(text: str, parameters: Parameters) -> bool:
    """Sentences as ``instruction_ifeval.sentences`` splits them."""
    count = len(ifeval.sentences(text))
    return compare(count, parameters["relation"], parameters["num_sentences"])


def capital_word_frequency(text: str, parameters: Parameters) -> bool:
    """Words in capitals, "I" and "A" among them."""
    count = sum(word.isupper() for word in words(text))
    return compare(count, parameters["capital_relation"], parameters["capital_frequency"])


def letter_frequency(text: str, parameters: Parameters) -> bool:
    """Occurrences of one character, in any case."""
    count = text.lower().count(parameters["letter"].lower())
    return compare(count, parameters["let_relation"], parameters["let_frequency"])


def response_language(text: str, parameters: Parameters) -> bool:
    """Langdetect names the language."""
    return bool(ifeval.language_of(text) == parameters["language"])


def english_capital(text: str, parameters: Parameters) -> bool:
    """No small letter, and English as far as langdetect can tell."""
    return text.isupper() and _may_be_english(text)


def english_lowercase(text: str, parameters: Parameters) -> bool:
    """No capital letter, and English as far as langdetect can tell."""
    return text.islower() and _may_be_english(text)


def numbered_list(text: str, parameters: Parameters) -> bool:
    """The numbered lines are 1 to n, in order."""
    found = [match for line in lines(text) if (match := _NUMBERED.match(line))]
    wanted = list(range(1, parameters["num_items"] + 1))
    return [int(match[1]) for match in found] == wanted


def number_headings(text: str, parameters: Parameters) -> bool:
    """Exactly so many markdown headings."""
    count = sum(bool(_HEADING.match(line)) for line in lines(text))
    return bool(count == parameters["num_headings"])


def number_lines(text: str, parameters: Parameters) -> bool:
    """Exactly so many lines that are not blank."""
    return bool(len(lines(text)) == parameters["num_lines"])


def table(text: str, parameters: Parameters) -> bool:
    """One markdown table: a head, a rule, and so many rows; each as wide as asked."""
    rows = [_cells(line) for line in lines(text) if line.startswith("|")]
    if len(rows) != parameters["num_rows"] + 2:
        return False
    filled = all(all(row) and len(row) == parameters["num_columns"] for row in rows)
    return filled and all(_RULE_CELL.fullmatch(cell) for cell in rows[1])


def json_keys(text: str, parameters: Parameters) -> bool:
    """A JSON object with exactly these keys, none of them with an empty value."""
    value = json_value(text)
    if not isinstance(value, dict) or set(value) != set(parameters["keys"]):
        return False
    return all(each not in (None, "", [], {}) for each in value.values())


def start_phrase(text: str, parameters: Parameters) -> bool:
    """The response starts with the phrase, in any case."""
    return text.lstrip().lower().startswith(parameters["start_phrase"].strip().lower())


def keyword_order(text: str, parameters: Parameters) -> bool:
    """Every keyword is there as a word, and their first places are in the order given."""
    places = {word: place for place, word in reversed(list(enumerate(words(text.lower()))))}
    first = [places.get(keyword.lower(), -1) for keyword in parameters["keywords"]]
    return first[0] >= 0 and all(left < right for left, right in itertools.pairwise(first))


def sentence_words(text: str, parameters: Parameters) -> bool:
    """No sentence has more words than allowed; a line ends a sentence too."""
    found = ifeval.sentences("".join(f"{line}.\n" for line in lines(text)))
    return all(len(words(sentence)) <= parameters["max_words"] for sentence in found)


CHECKS: dict[str, Check] = {
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:json_format": json_format,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:title": title,
    "keywords:letter_frequency": letter_frequency,
    "keywords:order": keyword_order,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:sentence_words": sentence_words,
    "startend:start_phrase": start_phrase,
    "structure:headings": number_headings,
    "structure:json_keys": json_keys,
    "structure:number_lines": number_lines,
    "structure:numbered_list": numbered_list,
    "structure:table": table,
}

# What IFEval has no words for. {name} is a parameter; a list is joined by commas.
WORDS = {
    "keywords:order": "Use the words {keywords}, each for the first time in this order.",
    "length_constraints:sentence_words": "No sentence may have more than {max_words} words.",
    "startend:start_phrase": "Start your response with this exact phrase: {start_phrase}",
    "structure:headings": "Structure your response with exactly {num_headings} markdown headings "
    "(lines that start with ##).",
    "structure:json_keys": "Your entire output must be one JSON object with exactly these keys, "
    "each with a value that is not empty: {keys}. You can use markdown ticks such as ```.",
    "structure:number_lines": "Your response must have exactly {num_lines} lines; blank lines "
    "don't count.",
    "structure:numbered_list": "Your response must contain one numbered list with exactly "
    "{num_items} items: 1. first item, 2. second item, and so on, one a line.",
    "structure:table": "Include exactly one markdown table with {num_columns} columns and "
    "{num_rows} rows below its head; leave no cell empty.",
}


def describe(constraint: str, parameters: Parameters) -> str:
    """The constraint in words; only for those in ``WORDS``."""
    shown = {
        name: value if isinstance(value, str | int) else ", ".join(value)
        for name, value in parameters.items()
    }
    return WORDS[constraint].format(**shown)


def _may_be_english(text: str) -> bool:
    # Langdetect takes "no problem" for Slovene; from a dozen words on it is seldom wrong.
    return ifeval.language_of(text.lower()) in ("en", None)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _not_a_number(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
