"""Families of functions on lists and grids. A docstring is the question; see ``code_problems``."""

from typing import Any

from copris_core.tasks.code_problems import (
    family,
    integer,
    integers,
    one_of,
    rectangle,
    several,
    together,
)

COUNTS = range(1, 9)


@family(
    integers(-12, 12, least=1, most=10),
    keep=("even", "odd", "positive", "negative", "non-zero"),
    change=("doubled", "squared", "negated", "increased by 3", "halved, rounding down"),
    fold=("sum", "number of different values", "maximum", "minimum", "last one"),
)
def pipeline(xs: list[int], *, keep: str, change: str, fold: str) -> int:
    """Take the {keep} numbers of xs, each {change}, and return the {fold} of these.

    Return 0 when xs has no {keep} number. Zero is even, and neither positive nor negative.
    """
    keeps = {
        "even": lambda x: x % 2 == 0,
        "odd": lambda x: x % 2 == 1,
        "positive": lambda x: x > 0,
        "negative": lambda x: x < 0,
        "non-zero": lambda x: x != 0,
    }
    changes = {
        "doubled": lambda x: 2 * x,
        "squared": lambda x: x * x,
        "negated": lambda x: -x,
        "increased by 3": lambda x: x + 3,
        "halved, rounding down": lambda x: x // 2,
    }
    folds: dict[str, Any] = {
        "sum": sum,
        "number of different values": lambda values: len(set(values)),
        "maximum": max,
        "minimum": min,
        "last one": lambda values: values[-1],
    }
    values = [changes[change](x) for x in xs if keeps[keep](x)]
    return folds[fold](values) if values else 0


@family(integers(), k=COUNTS)
def rotate_left(xs: list[int], *, k: int) -> list[int]:
    """Return xs with its first number moved to the end, {k} times over."""
    k %= len(xs) or 1
    return xs[k:] + xs[:k]


@family(integers(), k=range(2, 6), rest=("kept", "dropped"))
def chunks(xs: list[int], *, k: int, rest: str) -> list[list[int]]:
    """Return xs cut into lists of {k} in order; a shorter list that is left over is {rest}."""
    parts = [xs[i : i + k] for i in range(0, len(xs), k)]
    return [part for part in parts if len(part) == k or rest == "kept"]


@family(integers(least=1, most=10), k=range(2, 6), fold=("sum", "greatest", "least"))
def windows(xs: list[int], *, k: int, fold: str) -> list[int]:
    """Return the {fold} of each {k} neighbouring numbers of xs, from the first {k} to the last.

    The result is empty when xs has fewer than {k} numbers.
    """
    folds: dict[str, Any] = {"sum": sum, "greatest": max, "least": min}
    return [folds[fold](xs[i : i + k]) for i in range(len(xs) - k + 1)]


@family(integers(-9, 9), k=range(1, 6), order=("largest", "smallest"))
def kth_different(xs: list[int], *, k: int, order: str) -> int | None:
    """Return number {k} of the different values of xs, counted from the {order}.

    Return None when xs has fewer different values. Number 1 is the {order} one itself.
    """
    values = sorted(set(xs), reverse=order == "largest")
    return values[k - 1] if k <= len(values) else None


@family(integers(-4, 6), which=("first", "last"))
def drop_repeats(xs: list[int], *, which: str) -> list[int]:
    """Return xs with each value only once, at the place of its {which} occurrence."""
    found: list[int] = []
    for x in xs if which == "first" else reversed(xs):
        if x not in found:
            found.append(x)
    return found if which == "first" else found[::-1]


@family(integers(), pivot=range(-8, 9, 2))
def divide(xs: list[int], *, pivot: int) -> tuple[list[int], list[int]]:
    """Return a tuple of two lists: the numbers of xs below {pivot}, and the others, in order."""
    return [x for x in xs if x < pivot], [x for x in xs if x >= pivot]


@family(integers(least=1), k=range(1, 5))
def differences(xs: list[int], *, k: int) -> list[int]:
    """Return what is left of xs when the list of neighbours' differences is taken {k} times.

    A difference is the later number minus the earlier. From a list of one number or none, the empty
    list is left.
    """
    for _ in range(k):
        xs = [xs[i + 1] - xs[i] for i in range(len(xs) - 1)]
    return xs


@family(integers(least=1), kind=("sum", "maximum", "minimum", "count of even ones"))
def running(xs: list[int], *, kind: str) -> list[int]:
    """Return a list as long as xs with, at each place, the {kind} of xs up to and with it."""
    folds: dict[str, Any] = {
        "sum": sum,
        "maximum": max,
        "minimum": min,
        "count of even ones": lambda values: sum(x % 2 == 0 for x in values),
    }
    return [folds[kind](xs[: i + 1]) for i in range(len(xs))]


@family(rectangle(integer(0, 9), 1, 4), turns=(1, 2, 3), mirrored=("is", "is not"))
def turn_grid(grid: list[list[int]], *, turns: int, mirrored: str) -> list[list[int]]:
    """Return the grid turned clockwise by a quarter turn, {turns} times over.

    After that, each row {mirrored} reversed.
    """
    for _ in range(turns):
        grid = [list(row) for row in zip(*grid[::-1], strict=True)]
    return [row[::-1] for row in grid] if mirrored == "is" else grid


@family(several(one_of(1, 2, [3], [4, [5]], [[6, [7]]], [], [[[8]], 9]), 0, 5), depth=range(1, 4))
def flatten(xs: list[Any], *, depth: int) -> list[Any]:
    """Return xs with its inner lists opened, {depth} times over.

    Opening puts the members of each list that is a member of xs in the place of that list.
    """
    for _ in range(depth):
        opened: list[Any] = []
        for x in xs:
            opened += x if isinstance(x, list) else [x]
        xs = opened
    return xs


@family(several(together(integer(0, 30), integer(0, 6)), 0, 6), gap=range(5))
def merge_spans(spans: list[tuple[int, int]], *, gap: int) -> list[tuple[int, int]]:
    """Return the spans merged, as tuples of start and end, sorted by start.

    A span of the argument is a tuple of start and length; its end is their sum. Two spans are
    merged when the later one starts at most {gap} after the end of the earlier one.
    """
    merged: list[tuple[int, int]] = []
    for start, length in sorted(spans):
        if merged and start <= merged[-1][1] + gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], start + length))
        else:
            merged.append((start, start + length))
    return merged


@family(integers(0, 5, most=12), relation=("equal to", "greater than", "at least", "not equal to"))
def longest_run(xs: list[int], *, relation: str) -> int:
    """Return the length of the longest stretch of neighbours in xs that keeps a rule; 0 if empty.

    The rule: each number of the stretch but its first is {relation} the one before it.
    """
    rules = {
        "equal to": lambda now, before: now == before,
        "greater than": lambda now, before: now > before,
        "at least": lambda now, before: now >= before,
        "not equal to": lambda now, before: now != before,
    }
    longest = length = 0
    for i, x in enumerate(xs):
        length = length + 1 if i and rules[relation](x, xs[i - 1]) else 1
        longest = max(longest, length)
    return longest


@family(integers(-6, 9, most=10), target=range(-3, 10))
def count_pairs(xs: list[int], *, target: int) -> int:
    """Return how many pairs of two places in xs hold numbers that add up to {target}."""
    return sum(xs[i] + xs[j] == target for i in range(len(xs)) for j in range(i + 1, len(xs)))


@family(integers(-9, 9, least=1, most=9), most=range(1, 7))
def best_stretch(xs: list[int], *, most: int) -> int:
    """Return the greatest sum of a stretch of 1 to {most} neighbours in xs, which is not empty."""
    sums = [
        sum(xs[start : start + length])
        for length in range(1, most + 1)
        for start in range(len(xs) - length + 1)
    ]
    return max(sums)


@family(integers(0, 6, most=12), k=range(1, 5), tie=("smaller", "greater"))
def most_common(xs: list[int], *, k: int, tie: str) -> list[int]:
    """Return the {k} values that occur most often in xs, the most frequent first, or all if fewer.

    Of two values that occur equally often, the {tie} one comes first.
    """
    sign = 1 if tie == "smaller" else -1
    ranked = sorted(set(xs), key=lambda x: (-xs.count(x), sign * x))
    return ranked[:k]


@family(integers(0, 4), value=range(5), end=("end", "front"))
def send_to(xs: list[int], *, value: int, end: str) -> list[int]:
    """Return xs with every {value} moved to the {end}; the others stay in their order."""
    others = [x for x in xs if x != value]
    moved = [value] * (len(xs) - len(others))
    return others + moved if end == "end" else moved + others


@family(
    rectangle(integer(-5, 9), 1, 5), part=("on the border", "inside the border", "in the corners")
)
def part_sum(grid: list[list[int]], *, part: str) -> int:
    """Return the sum of the numbers of the grid that lie {part}.

    The border is the first and last row and column; each number counts once.
    """
    height, width = len(grid), len(grid[0])
    total = 0
    for y in range(height):
        for x in range(width):
            edges = (y in (0, height - 1)) + (x in (0, width - 1))
            inside = {
                "on the border": edges > 0,
                "inside the border": edges == 0,
                "in the corners": edges == 2,
            }
            total += grid[y][x] * inside[part]
    return total


@family(integers(), integers(), start=("first", "second"))
def interleave(a: list[int], b: list[int], *, start: str) -> list[int]:
    """Return the numbers of a and b in turn, beginning with the {start} list.

    When one list is used up, the rest of the other follows.
    """
    first, second = (a, b) if start == "first" else (b, a)
    result: list[int] = []
    for i in range(max(len(a), len(b))):
        result += first[i : i + 1] + second[i : i + 1]
    return result


@family(rectangle(integer(0, 9), 1, 4), way=("clockwise", "counter-clockwise"))
def spiral(grid: list[list[int]], *, way: str) -> list[int]:
    """Return the numbers of the grid in a spiral from the top left corner, {way}.

    Clockwise begins to the right along the first row, counter-clockwise down the first column.
    """
    if way == "counter-clockwise":
        grid = [list(row) for row in zip(*grid, strict=True)]
    path: list[int] = []
    while grid:
        path += grid[0]
        grid = [list(row) for row in zip(*grid[1:], strict=True)][::-1]
    return path
