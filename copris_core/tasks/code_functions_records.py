"""Families of functions on dicts and records.

A docstring is the question; see ``code_problems``.
"""

from typing import Any

from copris_core.tasks.code_problems import (
    family,
    integer,
    joined,
    one_of,
    several,
    table,
    together,
    word,
    words,
)

NAMES = one_of("ann", "bob", "cid", "dot", "eve", "fay")


@family(words(0, 9), by=("length", "first letter", "last letter", "number of vowels"))
def count_by(text: str, *, by: str) -> dict[Any, int]:
    """Return how many words of the text there are of each {by}, as a dict from it to the count.

    Words are separated by single spaces. Vowels are a, e, i, o and u.
    """
    keys: dict[str, Any] = {
        "length": len,
        "first letter": lambda word: word[0],
        "last letter": lambda word: word[-1],
        "number of vowels": lambda word: sum(word.count(vowel) for vowel in "aeiou"),
    }
    counts: dict[Any, int] = {}
    for each in text.split():
        key = keys[by](each)
        counts[key] = counts.get(key, 0) + 1
    return counts


@family(
    several(word("abcd", most=4), 0, 7),
    by=("length", "first letter", "sorted text of different letters"),
)
def group_words(names: list[str], *, by: str) -> dict[Any, list[str]]:
    """Group the names by {by}: return a dict from it to the list of names with it, in order."""
    keys: dict[str, Any] = {
        "length": len,
        "first letter": lambda name: name[0],
        "sorted text of different letters": lambda name: "".join(sorted(set(name))),
    }
    groups: dict[Any, list[str]] = {}
    for name in names:
        groups.setdefault(keys[by](name), []).append(name)
    return groups


@family(
    table(NAMES, integer(-5, 9), 0, 5),
    table(NAMES, integer(-5, 9), 0, 5),
    how=("sum", "maximum", "minimum", "first minus the second", "product"),
    alone=("kept", "left out"),
)
def merge_tables(a: dict[str, int], b: dict[str, int], *, how: str, alone: str) -> dict[str, int]:
    """Return one dict of a and b; the value of a key that is in both is the {how} of its values.

    The keys that only one of them has are {alone}.
    """
    folds = {
        "sum": lambda x, y: x + y,
        "maximum": lambda x, y: max(x, y),
        "minimum": lambda x, y: min(x, y),
        "first minus the second": lambda x, y: x - y,
        "product": lambda x, y: x * y,
    }
    both = {key: folds[how](a[key], b[key]) for key in a if key in b}
    return {**a, **b, **both} if alone == "kept" else both


@family(table(NAMES, integer(0, 3), 0, 6), pick=("first", "last"), low=range(3))
def invert(places: dict[str, int], *, pick: str, low: int) -> dict[int, str]:
    """Return the dict turned round, from value to key, for the values of at least {low}.

    Where several keys have one value, take the {pick} in alphabetical order.
    """
    turned: dict[int, str] = {}
    for key in sorted(places, reverse=pick == "first"):
        if places[key] >= low:
            turned[places[key]] = key
    return turned


@family(
    table(NAMES, integer(0, 20), 0, 6), limit=range(4, 17, 2), side=("above", "below", "exactly")
)
def names_beyond(scores: dict[str, int], *, limit: int, side: str) -> list[str]:
    """Return the names whose score is {side} {limit}, in alphabetical order."""
    sides = {
        "above": lambda score: score > limit,
        "below": lambda score: score < limit,
        "exactly": lambda score: score == limit,
    }
    return sorted(name for name, score in scores.items() if sides[side](score))


@family(
    several(together(NAMES, integer(1, 9), integer(1, 30)), 0, 6),
    free=range(10, 60, 5),
    fee=(3, 5, 8),
)
def order_totals(orders: list[tuple[str, int, int]], *, free: int, fee: int) -> dict[str, int]:
    """Return what each buyer pays, as a dict from name to amount.

    An order is a tuple of name, number of things and price of one. A buyer pays the sum of
    all their orders, and a delivery fee of {fee} once when that sum is below {free}.
    """
    totals: dict[str, int] = {}
    for name, count, price in orders:
        totals[name] = totals.get(name, 0) + count * price
    return {name: total + (fee if total < free else 0) for name, total in totals.items()}


@family(several(together(NAMES, integer(0, 5)), 0, 8), k=range(1, 4), tie=("", "reverse "))
def leaders(results: list[tuple[str, int]], *, k: int, tie: str) -> list[str]:
    """Return the names of the {k} players with the most points in all, best first.

    A result is a tuple of name and points, and a name may occur more than once. Players with equal
    points are in {tie}alphabetical order. Return all when there are fewer.
    """
    points: dict[str, int] = {}
    for name, gained in results:
        points[name] = points.get(name, 0) + gained
    names = sorted(points, reverse=tie == "reverse ")
    return sorted(names, key=lambda name: -points[name])[:k]


@family(
    several(together(one_of("add", "take"), one_of("nut", "pin", "cog"), integer(1, 6)), 0, 8),
    start=range(0, 9),
    short=("is refused whole", "takes what is there"),
)
def stock_after(moves: list[tuple[str, str, int]], *, start: int, short: str) -> dict[str, int]:
    """Return the stock of "nut", "pin" and "cog" after all moves; it begins with {start} of each.

    A move is a tuple of "add" or "take", the thing and a number. A take of more than there is
    {short}.
    """
    stock = {"nut": start, "pin": start, "cog": start}
    for what, thing, number in moves:
        if what == "add":
            stock[thing] += number
        elif number <= stock[thing]:
            stock[thing] -= number
        elif short == "takes what is there":
            stock[thing] = 0
    return stock


@family(
    joined(one_of("a", "b", "c", "x"), ".", 1, 3),
    one_of(
        {"a": {"b": 1, "x": 2}, "b": 3},
        {"a": {"a": {"a": 4, "b": 5}}, "c": 6},
        {"x": {"c": 7}, "a": {"b": {"c": 8, "x": 9}}},
        {"b": {"b": {"b": 10}}, "x": 11, "c": {"a": 12}},
    ),
    missing=range(-3, 0),
)
def look_up(path: str, tree: dict[str, Any], *, missing: int) -> int:
    """Follow the names of a path such as "a.b" from dict to inner dict; return the number there.

    When a name is missing, or the path ends at a dict or goes on after a number: return {missing}.
    """
    now: Any = tree
    for name in path.split("."):
        if not isinstance(now, dict) or name not in now:
            return missing
        now = now[name]
    return missing if isinstance(now, dict) else now


@family(several(together(NAMES, NAMES), 0, 7), way=("gives to", "gets from"))
def partners(gifts: list[tuple[str, str]], *, way: str) -> dict[str, set[str]]:
    """Return a dict from each name that {way} anyone to the set of these partners.

    A gift is a tuple of giver and receiver. Gifts to oneself do not count.
    """
    found: dict[str, set[str]] = {}
    for giver, receiver in gifts:
        one, other = (giver, receiver) if way == "gives to" else (receiver, giver)
        if one != other:
            found.setdefault(one, set()).add(other)
    return found


@family(
    several(together(integer(1, 12), integer(-9, 9)), 0, 8),
    what=("sum", "mean", "greatest", "number"),
    low=range(2, 9),
)
def by_month(entries: list[tuple[int, int]], *, what: str, low: int) -> dict[int, float]:
    """Return a dict from each month to the {what} of its amounts, for months from {low} on.

    An entry is a tuple of month (1 to 12) and amount; months without an entry do not appear.
    """
    folds: dict[str, Any] = {
        "sum": sum,
        "mean": lambda amounts: sum(amounts) / len(amounts),
        "greatest": max,
        "number": len,
    }
    months: dict[int, list[int]] = {}
    for month, amount in entries:
        if month >= low:
            months.setdefault(month, []).append(amount)
    return {month: folds[what](amounts) for month, amounts in months.items()}
