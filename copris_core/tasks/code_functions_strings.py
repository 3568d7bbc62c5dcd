"""Families of functions on text. A docstring is the question; see ``code_problems``."""

from typing import Any

from copris_core.tasks.code_problems import family, integer, joined, one_of, several, word, words

COUNTS = range(1, 8)


@family(words(), shift=range(1, 26))
def shift_letters(text: str, *, shift: int) -> str:
    """Return the text with each letter moved {shift} places on in the alphabet.

    The text has small letters a to z and spaces; after z comes a again, and spaces stay.
    """
    return "".join(
        chr((ord(c) - ord("a") + shift) % 26 + ord("a")) if c != " " else c for c in text
    )


@family(word(least=0, most=10), k=COUNTS)
def rotate_word(text: str, *, k: int) -> str:
    """Return the text with its last character brought to the front, {k} times over."""
    for _ in range(k):
        text = text[-1:] + text[:-1]
    return text


@family(word(least=0, most=14), k=range(2, 7), start=range(4))
def every_kth(text: str, *, k: int, start: int) -> str:
    """Return every {k}th character of the text, from index {start} on.

    The character at index {start} is the first one taken, if the text is that long.
    """
    return text[start::k]


@family(joined(word("abdest"), " ", 0, 9), letter=tuple("abdest"), place=("start", "end"))
def count_words(text: str, *, letter: str, place: str) -> int:
    """Return how many words of the text {place} with {letter}.

    Words are separated by single spaces.
    """
    index = 0 if place == "start" else -1
    return sum(1 for word in text.split() if word[index] == letter)


@family(words(), mark=tuple("*#-_+"), kind=("vowel", "consonant"))
def hide_letters(text: str, *, mark: str, kind: str) -> str:
    """Return the text with each {kind} replaced by {mark}.

    The vowels are a, e, i, o and u; the other letters are consonants, and spaces stay.
    """
    return "".join(mark if c != " " and (c in "aeiou") == (kind == "vowel") else c for c in text)


@family(word("aab", most=12), order=("count", "letter"))
def run_lengths(text: str, *, order: str) -> str:
    """Return the text with each run of one letter written as the letter and its count.

    The {order} comes first. A run of one letter has the count 1.
    """
    result = ""
    start = 0
    for i in range(1, len(text) + 1):
        if i == len(text) or text[i] != text[start]:
            count = str(i - start)
            result += count + text[start] if order == "count" else text[start] + count
            start = i
    return result


@family(word("abx", most=6), ignored=("a", "b", "x"))
def is_mirror(text: str, *, ignored: str) -> bool:
    """Return whether the text reads the same backwards when every {ignored} is left out."""
    kept = text.replace(ignored, "")
    return kept == kept[::-1]


@family(words(), pick=("first", "last"), size=("longest", "shortest"))
def extreme_word(text: str, *, pick: str, size: str) -> str:
    """Return the {size} word of the text; of several, the {pick} one.

    Words are separated by single spaces, and there is at least one.
    """
    found = text.split()
    length = (max if size == "longest" else min)(map(len, found))
    fitting = [word for word in found if len(word) == length]
    return fitting[0 if pick == "first" else -1]


@family(words(), k=range(2, 8))
def raise_every(text: str, *, k: int) -> str:
    """Return the text with every {k}th letter as a capital.

    Spaces are not counted; the first capital is the {k}th letter of the text.
    """
    result, seen = "", 0
    for c in text:
        seen += c != " "
        result += c.upper() if c != " " and seen % k == 0 else c
    return result


@family(words(1, 10), width=range(7, 20))
def wrap_words(text: str, *, width: int) -> list[str]:
    """Return the words of the text as lines of at most {width} characters.

    Each line takes as many of the next words as fit, with single spaces between them. No word is
    longer than a line.
    """
    lines: list[str] = []
    for each in text.split():
        if lines and len(lines[-1]) + 1 + len(each) <= width:
            lines[-1] += " " + each
        else:
            lines.append(each)
    return lines


@family(joined(one_of("()", "(", ")", "[]", "(())", "[", "]"), "", 0, 5), kind=("round", "square"))
def is_balanced(text: str, *, kind: str) -> bool:
    """Return whether the {kind} brackets of the text are balanced; other characters do not matter.

    The text has round brackets () and square brackets []. They are balanced when each closing one
    closes an open one of its kind and none stays open.
    """
    opening, closing = "()" if kind == "round" else "[]"
    depth = 0
    for c in text:
        depth += (c == opening) - (c == closing)
        if depth < 0:
            return False
    return depth == 0


@family(
    joined(one_of("red", " blue", "green ", "", "  ", "two words", " x "), ",", 1, 6),
    keep=("empty fields stay", "empty fields are left out"),
)
def split_fields(line: str, *, keep: str) -> list[str]:
    """Return the fields of a line, which are separated by commas, without spaces around them.

    A field of spaces is empty; {keep}.
    """
    fields = [field.strip() for field in line.split(",")]
    return fields if keep == "empty fields stay" else [field for field in fields if field]


@family(
    joined(one_of("a=1", "b=20", "c=-3", "a=7", "d=0", "b=5", "e=12"), ";", 1, 6),
    again=("first", "last", "greatest"),
)
def parse_settings(text: str, *, again: str) -> dict[str, int]:
    """Return the settings of a text such as "a=1;b=20" as a dict from name to number.

    When a name is given more than once, the {again} number counts.
    """
    found: dict[str, int] = {}
    for part in text.split(";"):
        name, number = part.split("=")
        if name not in found or again == "last":
            found[name] = int(number)
        elif again == "greatest":
            found[name] = max(found[name], int(number))
    return found


@family(word(least=0, most=12), k=range(1, 5), mark=tuple("*#x"))
def mask_middle(text: str, *, k: int, mark: str) -> str:
    """Return the text with all but its first {k} and last {k} characters replaced by {mark}.

    A text of at most twice {k} characters stays as it is.
    """
    if len(text) <= 2 * k:
        return text
    return text[:k] + mark * (len(text) - 2 * k) + text[-k:]


@family(words(0, 7), by=("length", "last letter", "number of vowels"), down=("rising", "falling"))
def sort_words(text: str, *, by: str, down: str) -> list[str]:
    """Return the words of the text sorted by {by}, in {down} order.

    Words are separated by single spaces. Words that are equal in this stay in their order.
    """
    keys: dict[str, Any] = {
        "length": len,
        "last letter": lambda word: ord(word[-1]),
        "number of vowels": lambda word: sum(word.count(vowel) for vowel in "aeiou"),
    }
    sign = 1 if down == "rising" else -1
    return sorted(text.split(), key=lambda word: sign * keys[by](word))


@family(word("ab", least=3, most=14), pattern=("aa", "ab", "aba", "bb", "bab", "aab", "abb"))
def count_pattern(text: str, *, pattern: str) -> int:
    """Return how often "{pattern}" occurs in the text; occurrences may overlap."""
    return sum(text.startswith(pattern, i) for i in range(len(text)))


@family(joined(one_of("a", "bc", "7", "42", "305", " ", "x"), "", 1, 7), width=range(3, 12))
def pad_numbers(text: str, *, width: int) -> str:
    """Return the text with every number filled with zeros in front to at least {width} digits.

    A number is a run of digits that is not part of a longer one.
    """
    import re

    return re.sub("[0-9]+", lambda found: str(found[0]).zfill(width), text)


@family(
    word(least=0, most=8), start=range(0, 6), sign=("added", "taken alternately plus and minus")
)
def letter_value(text: str, *, start: int, sign: str) -> int:
    """Return the values of the letters, {sign}, as one number.

    The text has small letters; "a" has the value {start}, "b" one more, and so on. The first letter
    always counts as plus, and an empty text gives 0.
    """
    values = [ord(c) - ord("a") + start for c in text]
    if sign == "added":
        return sum(values)
    return sum(values[0::2]) - sum(values[1::2])


@family(several(word("ab", most=5), 1, 5), end=("beginning", "end"))
def shared_part(names: list[str], *, end: str) -> str:
    """Return the longest text that stands at the {end} of every name; it may be empty."""
    turned = names if end == "beginning" else [name[::-1] for name in names]
    length = 0
    while all(len(name) > length and name[length] == turned[0][length] for name in turned):
        length += 1
    shared = turned[0][:length]
    return shared if end == "beginning" else shared[::-1]


@family(words(), integer(0, 6), mode=("without", "with only"))
def cut_words(text: str, n: int, *, mode: str) -> str:
    """Return the text {mode} the words of more than n letters, with single spaces between words."""
    kept = [word for word in text.split() if (len(word) > n) == (mode == "with only")]
    return " ".join(kept)
