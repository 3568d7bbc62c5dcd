"""Families of functions on numbers. A docstring is the question; see ``code_problems``."""

from copris_core.tasks.code_problems import family, integer, integers

SMALL = range(2, 12)


@family(integer(0, 5000), base=range(2, 17))
def digit_sum(n: int, *, base: int) -> int:
    """Return the sum of the digits of n written in base {base}; n is at least 0."""
    total = 0
    while n > 0:
        total += n % base
        n //= base
    return total


@family(integer(0, 5000), base=range(2, 11))
def to_base(n: int, *, base: int) -> str:
    """Return n, which is at least 0, written in base {base} without leading zeros."""
    digits = ""
    while n > 0:
        digits = str(n % base) + digits
        n //= base
    return digits or "0"


@family(integer(-60, 40), integer(-40, 200), k=range(2, 14))
def count_multiples(low: int, high: int, *, k: int) -> int:
    """Return how many multiples of {k} lie between low and high, both included.

    When low is greater than high there are none.
    """
    return sum(1 for n in range(low, high + 1) if n % k == 0)


@family(integer(0, 300), k=SMALL)
def shrinking_steps(n: int, *, k: int) -> int:
    """Return how many steps it takes to bring n, which is at least 0, down to 0.

    A step divides n by {k} when {k} divides it, and subtracts 1 otherwise.
    """
    steps = 0
    while n > 0:
        n = n // k if n % k == 0 else n - 1
        steps += 1
    return steps


@family(integer(1, 200), k=range(4, 40))
def common_multiple(n: int, *, k: int) -> int:
    """Return the least positive number that both n and {k} divide."""
    multiple = n
    while multiple % k:
        multiple += n
    return multiple


@family(integer(0, 150), k=range(1, 9))
def is_prime_ahead(n: int, *, k: int) -> bool:
    """Return whether n + {k} is a prime number; n is at least 0."""
    number = n + k
    return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))


@family(integer(0, 18), a=(1, 2, 3, -1), b=(1, 2, -1, -2))
def recurrence(n: int, *, a: int, b: int) -> int:
    """Return f(n), where f(0) = 0, f(1) = 1 and f(n) = {a} * f(n - 1) + {b} * f(n - 2)."""
    now, after = 0, 1
    for _ in range(n):
        now, after = after, a * after + b * now
    return now


@family(integer(0, 50), integer(0, 60), m=range(7, 40, 3))
def power_remainder(x: int, n: int, *, m: int) -> int:
    """Return the remainder of x to the power of n divided by {m}; 0 to the power of 0 is 1."""
    return pow(x, n, m)


@family(integer(1, 400), k=range(3, 40, 4))
def divisor_sum(n: int, *, k: int) -> int:
    """Return the sum of the positive divisors of n that are at most {k}."""
    return sum(d for d in range(1, min(n, k) + 1) if n % d == 0)


@family(integer(-200, 200), k=range(3, 26))
def nearest_multiple(n: int, *, k: int) -> int:
    """Return the multiple of {k} that is nearest to n; of two equally near ones, the greater."""
    below = n // k * k
    return below if 2 * (n - below) < k else below + k


@family(integer(-12, 12), a=range(1, 5), b=range(-3, 4), c=(-5, 0, 7))
def polynomial(x: int, *, a: int, b: int, c: int) -> int:
    """Return the value of the polynomial with coefficients {a}, {b}, {c} at x.

    The coefficients stand in order of falling powers: that of x squared comes first.
    """
    return a * x * x + b * x + c


@family(integer(-50, 50), low=range(-20, -4, 3), width=(5, 10, 20))
def wrap_into(x: int, *, low: int, width: int) -> int:
    """Return x moved by a multiple of {width} so that it is one of the {width} integers from {low}.

    The first of those integers is {low} itself.
    """
    return (x - low) % width + low


@family(integer(0, 23), integer(0, 59), delta=(-135, -50, -20, 15, 45, 75, 90, 200, 480, 1000))
def clock_after(hour: int, minute: int, *, delta: int) -> str:
    """Return the time of day {delta} minutes after hour:minute, as text such as "07:05".

    The clock has 24 hours and starts again after 23:59; a negative number of minutes goes back.
    """
    total = (60 * hour + minute + delta) % (24 * 60)
    return f"{total // 60:02d}:{total % 60:02d}"


@family(integer(1, 400), case=("capital", "small"))
def roman(n: int, *, case: str) -> str:
    """Return n, at least 1 and at most 400, as a Roman numeral in {case} letters."""
    text = ""
    for value, letters in (
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ):
        if n >= 400:
            return "CD" if case == "capital" else "cd"
        text += letters * (n // value)
        n %= value
    return text if case == "capital" else text.lower()


@family(integer(0, 90), middle=range(3, 9), large=range(10, 30, 3))
def fewest_coins(amount: int, *, middle: int, large: int) -> int:
    """Return the fewest coins that make up the amount, which is at least 0.

    There are coins of 1, {middle} and {large}, as many of each as needed.
    """
    fewest = [0] * (amount + 1)
    for total in range(1, amount + 1):
        fewest[total] = 1 + min(
            fewest[total - coin] for coin in (1, middle, large) if coin <= total
        )
    return fewest[amount]


@family(integer(0, 18), longest=range(2, 7))
def stair_ways(n: int, *, longest: int) -> int:
    """Return in how many ways one can climb n stairs with steps of 1 to {longest} stairs.

    The order of the steps counts, and there is one way to climb no stairs.
    """
    ways = [1]
    for stair in range(1, n + 1):
        ways.append(sum(ways[max(0, stair - longest) : stair]))
    return ways[n]


@family(integer(0, 22), a=range(2, 6), b=range(3, 8))
def word_count_up(n: int, *, a: int, b: int) -> list[str]:
    """Return the numbers from 1 to n as text, with words in the place of some.

    A multiple of {a} is written "tip", a multiple of {b} "top", a multiple of both "tiptop".
    """
    lines = []
    for number in range(1, n + 1):
        text = ("tip" if number % a == 0 else "") + ("top" if number % b == 0 else "")
        lines.append(text or str(number))
    return lines


@family(integers(-30, 60, least=1), k=range(1, 6))
def mean_of_largest(xs: list[int], *, k: int) -> float:
    """Return the mean of the {k} largest numbers of xs, or of all when there are fewer.

    Equal numbers count each; xs is not empty.
    """
    largest = sorted(xs, reverse=True)[:k]
    return sum(largest) / len(largest)


@family(integer(1, 3000), kind=("even", "odd"))
def digit_product(n: int, *, kind: str) -> int:
    """Return the product of the {kind} decimal digits of n, or 0 when n has no {kind} digit."""
    digits = [int(digit) for digit in str(n) if int(digit) % 2 == (kind == "odd")]
    product = 1
    for digit in digits:
        product *= digit
    return product if digits else 0


@family(integer(2, 600), which=("least", "greatest"))
def prime_factor(n: int, *, which: str) -> int:
    """Return the {which} prime number that divides n, which is at least 2."""
    factors = []
    divisor = 2
    while n > 1:
        if n % divisor == 0:
            factors.append(divisor)
            n //= divisor
        else:
            divisor += 1
    return factors[0] if which == "least" else factors[-1]
