"""Families of small algorithms and simulations.

A docstring is the question; see ``code_problems``.
"""

from typing import Any

from copris_core.tasks.code_problems import (
    family,
    integer,
    integers,
    joined,
    one_of,
    rectangle,
    several,
    table,
    together,
    word,
)


@family(
    word("NESW", least=0, most=12),
    size=range(3, 9),
    edge=("it stays", "it comes in again on the other side"),
)
def walk(moves: str, *, size: int, edge: str) -> tuple[int, int]:
    """Return where a walker ends on a board of {size} by {size} fields, as a tuple (x, y).

    It begins at (0, 0). N adds 1 to y, S takes 1 from y, E adds 1 to x, W takes 1 from x. Where a
    move would leave the board, {edge}.
    """
    steps = {"N": (0, 1), "S": (0, -1), "E": (1, 0), "W": (-1, 0)}
    x = y = 0
    for move in moves:
        new_x, new_y = x + steps[move][0], y + steps[move][1]
        if edge == "it stays":
            x, y = min(max(new_x, 0), size - 1), min(max(new_y, 0), size - 1)
        else:
            x, y = new_x % size, new_y % size
    return x, y


@family(integers(-40, 40, most=9), overdraft=range(0, 60, 5), fee=(0, 1, 2))
def account(changes: list[int], *, overdraft: int, fee: int) -> int:
    """Return the balance of an account that begins at 0, after all changes in turn.

    A withdrawal (a negative change) that would bring the balance below -{overdraft} is refused, and
    a refusal costs {fee}, even where that passes the limit.
    """
    balance = 0
    for change in changes:
        if change < 0 and balance + change < -overdraft:
            balance -= fee
        else:
            balance += change
    return balance


@family(
    integers(1, 9, most=9), servers=range(1, 6), what=("all are done", "the last one is begun with")
)
def queue_time(durations: list[int], *, servers: int, what: str) -> int:
    """Return the time at which {what} when customers are served in order; 0 without customers.

    There are {servers} servers, all free at time 0; the next customer goes to the one that is free
    first, and needs the minutes that the list says.
    """
    free = [0] * servers
    begun = 0
    for duration in durations:
        free.sort()
        begun = free[0]
        free[0] += duration
    return max(free) if what == "all are done" else begun


@family(
    joined(one_of("3 4 +", "7 2 - 5 *", "2 3 4 * +", "9 1 - 2 -", "8", "6 5 * 4 3 * -"), " ", 1, 4),
    rest=("top of the stack", "sum of the stack", "height of the stack"),
    modulus=(10, 17, 100),
)
def stack_machine(program: str, *, rest: str, modulus: int) -> int:
    """Run a program for a stack and return the {rest} at its end.

    The words of the program are separated by spaces. A number is put on the stack; +, - and * take
    the top two numbers, the second from the top being the left operand, and put the result modulo
    {modulus} on the stack (never negative).
    """
    stack: list[int] = []
    for token in program.split():
        if token.isdigit():
            stack.append(int(token))
            continue
        right, left = stack.pop(), stack.pop()
        results = {"+": left + right, "-": left - right, "*": left * right}
        stack.append(results[token] % modulus)
    answers = {
        "top of the stack": stack[-1],
        "sum of the stack": sum(stack),
        "height of the stack": len(stack),
    }
    return answers[rest]


@family(rectangle(one_of(0, 0, 0, 1, 2), 2, 6), wall=(1, 2), diagonal=("also", "not"))
def shortest_path(grid: list[list[int]], *, wall: int, diagonal: str) -> int:
    """Return the fewest moves from the top left to the bottom right field, or -1 without a way.

    A move goes to a neighbour above, below, left or right, and {diagonal} to the diagonal ones.
    Fields with {wall} cannot be entered; if the first field is one, there is no way.
    """
    height, width = len(grid), len(grid[0])
    steps = {(0, 0): 0} if grid[0][0] != wall else {}
    waiting = list(steps)
    for y, x in waiting:  # grows while it is walked through
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                to = (y + dy, x + dx)
                inside = 0 <= to[0] < height and 0 <= to[1] < width
                straight = dy == 0 or dx == 0 or diagonal == "also"
                if inside and straight and to not in steps and grid[to[0]][to[1]] != wall:
                    steps[to] = steps[y, x] + 1
                    waiting.append(to)
    return steps.get((height - 1, width - 1), -1)


@family(rectangle(one_of(0, 1, 1, 2), 1, 5), value=(0, 1, 2), what=("number", "greatest size"))
def islands(grid: list[list[int]], *, value: int, what: str) -> int:
    """Return the {what} of the islands of {value} in the grid; 0 when there are none.

    An island is a largest group of fields with {value} that are joined above, below, left or right.
    Its size is its number of fields.
    """
    left = {(y, x) for y, row in enumerate(grid) for x, v in enumerate(row) if v == value}
    sizes = []
    while left:
        island = [left.pop()]
        for y, x in island:
            for to in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if to in left:
                    left.remove(to)
                    island.append(to)
        sizes.append(len(island))
    return len(sizes) if what == "number" else max(sizes, default=0)


@family(word("abc", least=0, most=7), word("abc", least=0, most=7), swap=(1, 2, 3), add=(1, 2))
def edit_cost(a: str, b: str, *, swap: int, add: int) -> int:
    """Return the least cost to turn the text a into b.

    Putting in or taking out a letter costs {add}, replacing a letter by another costs {swap}.
    """
    row = [add * j for j in range(len(b) + 1)]
    for i, left in enumerate(a, start=1):
        before, row = row, [add * i]
        for j, right in enumerate(b, start=1):
            replaced = before[j - 1] + (swap if left != right else 0)
            row.append(min(replaced, before[j] + add, row[j - 1] + add))
    return row[-1]


@family(several(together(integer(1, 9), integer(1, 20)), 0, 7), room=range(5, 25))
def best_load(things: list[tuple[int, int]], *, room: int) -> int:
    """Return the greatest value of things that weigh at most {room} together.

    A thing is a tuple of weight and value, and can be taken once or not at all.
    """
    best = [0] * (room + 1)
    for weight, value in things:
        for left in range(room, weight - 1, -1):
            best[left] = max(best[left], best[left - weight] + value)
    return best[room]


@family(rectangle(one_of(0, 1), 2, 5), steps=range(1, 4), births=(2, 3))
def colony(grid: list[list[int]], *, steps: int, births: int) -> list[list[int]]:
    """Return a grid of living (1) and dead (0) cells after {steps} steps.

    In a step, a living cell stays alive with 2 or 3 living neighbours among the up to 8 around it,
    and a dead cell becomes alive with exactly {births}; all others are dead. All change at once.
    """
    for _ in range(steps):
        after = []
        for y in range(len(grid)):
            line = []
            for x in range(len(grid[0])):
                near = sum(sum(row[max(0, x - 1) : x + 2]) for row in grid[max(0, y - 1) : y + 2])
                near -= grid[y][x]
                line.append(int(near in (2, 3) if grid[y][x] else near == births))
            after.append(line)
        grid = after
    return grid


@family(integer(1, 40), k=range(2, 9))
def last_in_ring(n: int, *, k: int) -> int:
    """Return who is left of n people in a ring, numbered from 1, when every {k}th has to leave.

    Counting begins at number 1 and goes on after each who left, until one person is left.
    """
    place = 0
    for size in range(2, n + 1):
        place = (place + k) % size
    return place + 1


@family(
    table(one_of(0, 1, 2, 3, 4, 5), several(integer(0, 5), 0, 3), 1, 6),
    start=range(3),
    hops=(1, 2, 3, 9),
)
def reachable(links: dict[int, list[int]], *, start: int, hops: int) -> set[int]:
    """Return the set of places that can be reached from place {start} by 0 to {hops} links.

    The dict has for a place the list of places that it links to; a place that is no key has none.
    """
    found = {start}
    for _ in range(hops):
        found |= {to for place in found for to in links.get(place, [])}
    return found


@family(
    several(together(integer(0, 9), integer(0, 59), integer(0, 59)), 1, 4),
    unit=("seconds", "whole minutes"),
)
def total_time(spans: list[tuple[int, int, int]], *, unit: str) -> int:
    """Return the total of all spans in {unit}, rounded down after adding.

    A span is a tuple of hours, minutes and seconds.
    """
    seconds = sum(3600 * hours + 60 * minutes + rest for hours, minutes, rest in spans)
    return seconds if unit == "seconds" else seconds // 60


@family(joined(one_of("2h", "15m", "40s", "1h", "7m", "3s"), "", 1, 5), unit=("s", "m", "h"))
def parse_span(text: str, *, unit: str) -> int:
    """Return the whole time of a text such as "2h15m40s" in the unit {unit}, rounded down.

    Each number is followed by h, m or s for hours, minutes or seconds; parts may repeat and stand
    in any order, and all are added.
    """
    worth = {"h": 3600, "m": 60, "s": 1}
    seconds, digits = 0, ""
    for c in text:
        if c.isdigit():
            digits += c
        else:
            seconds += int(digits) * worth[c]
            digits = ""
    return seconds // worth[unit]


@family(
    several(one_of(1, 2, [3], [4, [5]], [[6, [7]]], [], [[[8]], 9]), 0, 5), weight=(1, 2, 3, -1)
)
def weighted_depth(xs: list[Any], *, weight: int) -> int:
    """Return the sum of all numbers in a nested list, each times a factor of its depth.

    The factor is 1 for the numbers of xs itself, and {weight} times that for each list deeper.
    """
    total, factor, layer = 0, 1, xs
    while layer:
        total += factor * sum(x for x in layer if not isinstance(x, list))
        layer = [inner for x in layer if isinstance(x, list) for inner in x]
        factor *= weight
    return total


@family(word("abcd", most=8), word("abcd", most=8), which=("first", "last"))
def common_stretch(a: str, b: str, *, which: str) -> str:
    """Return the longest stretch of letters that is in both a and b; it may be empty.

    Of several longest ones, take the one that comes {which} in a.
    """
    longest = ""
    for i in range(len(a)):
        for j in range(i + 1, len(a) + 1):
            better = j - i > len(longest) or (j - i == len(longest) and which == "last")
            if better and a[i:j] in b:
                longest = a[i:j]
    return longest


@family(integers(1, 9, least=1, most=9), slots=range(2, 6))
def even_shares(loads: list[int], *, slots: int) -> list[int]:
    """Return the {slots} sums after the loads are given out, in order of the slots.

    The loads are taken in order; each goes to the slot with the smallest sum so far, and of equal
    ones to the first.
    """
    sums = [0] * slots
    for load in loads:
        sums[sums.index(min(sums))] += load
    return sums


@family(integers(0, 30, most=10), integer(0, 30), side=("below", "at most"))
def place_in(xs: list[int], x: int, *, side: str) -> int:
    """Return the place at which x would be put into xs once xs is sorted.

    That is: how many numbers of xs are {side} x.
    """
    return sum(1 for each in xs if each < x or (side == "at most" and each == x))


@family(integers(0, 9, least=2, most=9), most=range(1, 4), fee=(0, 1, 2))
def trading_gain(prices: list[int], *, most: int, fee: int) -> int:
    """Return the greatest gain from at most {most} trades along the list of prices, at least 0.

    A trade buys one thing and sells it at a later place; a sale costs a fee of {fee}.
    There is never more than one thing at hand; one may buy again at the place of a sale.
    """
    lowest = -(10**9)
    idle, holding = [0] * (most + 1), [lowest] * (most + 1)
    for price in prices:
        for trade in range(1, most + 1):
            idle[trade] = max(idle[trade], holding[trade] + price - fee)
            holding[trade] = max(holding[trade], idle[trade - 1] - price)
    return max(idle)
