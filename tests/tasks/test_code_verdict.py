"""How a response's code is found, compared and scored; what cheating earns."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks.code_runner import counts, decode, encode, statements_of
from copris_core.tasks.code_verdict import MAX_CODE_CHARS, Truth, code_of, judged, same

pytestmark = pytest.mark.slow  # all together: seconds, and processes of their own

SQUARE = Truth(entry="f", tests=tuple(([i], i * i) for i in range(4)), wall_s=2.0)
GOOD = "def f(x): return x * x"
ASSERTS = """
METADATA = {"author": "none"}

def check(candidate):
    import math
    assert candidate(2) == 4
    assert candidate(-3) == 9, "words"
    assert True, "this one counts for nothing"
    for i in range(5):
        assert math.isclose(candidate(i), i ** 2)
"""
BY_ASSERTS = Truth(entry="f", asserts=ASSERTS, wall_s=2.0)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=6,
)


def _block(code):
    return f"Here it is.\n\n```python\n{code}\n```\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\na\n```", "a"),
        ("```\na\n```", "a"),
        ("```py\na\n```", "a"),
        ("```Python\na\n```", "a"),
        ("  ```python\n  a\n  ```", "  a"),
        ("```python\na\n```\nBetter:\n```python\nb\n```", "b"),
        ("```python\na\n```\nIt prints:\n```text\nb\n```", "a"),
        ("```python\na\n```\n```\n```", ""),  # the last block counts, even an empty one
        ("```python\na\n```\nAnd now\n```python\nb", "b"),  # cut off: what is there counts
        ("```text\n```python\na\n```", "a"),
        ("```json\n{}\n```", None),
        ("def f(): pass", "def f(): pass"),
        ("", None),
        (" \n ", None),
        ("```", ""),
    ],
)
def test_the_last_python_block_is_the_code(text, code):
    assert code_of(text) == code


@given(text=st.text(alphabet="`python \n\r\u2028x", max_size=60))
def test_any_text_has_code_or_none_and_never_the_fences(text):
    code = code_of(text)
    assert code is None or "```" in text or code == text


@given(value=PLAIN)
def test_plain_data_survives_the_way_to_the_sandbox_and_back(value):
    tree = json.loads(json.dumps(encode(value)))
    again = decode(tree)
    assert again == value
    assert type(again) is type(value)
    assert same(encode(value), tree)


@given(one=PLAIN, other=PLAIN)
def test_values_that_differ_are_not_the_same(one, other):
    if repr(one) != repr(other) and one != other:
        floats = "." in repr(one) + repr(other) or "e" in repr(one) + repr(other)
        assert floats or not same(encode(one), encode(other))


@pytest.mark.parametrize(
    ("want", "got", "equal"),
    [
        (1, True, False),
        (True, 1, False),
        (1, 1.0, False),
        (1.0, 1, True),
        (1.0, True, False),
        (0.1 + 0.2, 0.3, True),
        (1.0, 1.001, False),
        (math.inf, math.inf, True),
        (math.nan, math.nan, False),
        (1.0, 10**400, False),
        ([1], (1,), False),
        ({1, 2}, {2, 1}, True),
        ({1, 2}, {1, 2, 3}, False),
        ({1, 2}, [1, 2], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1.5}, False),
        ({1: "a"}, {"1": "a"}, False),
        ([], None, False),
        ("a", "a ", False),
        ("\u00e9", "e\u0301", False),
    ],
)
def test_types_count_and_floats_are_compared_with_a_tolerance(want, got, equal):
    assert same(encode(want), encode(got)) is equal


@given(got=st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5))
def test_a_claim_of_any_form_is_compared_without_an_error(got):
    for claim in (got, {"tuple": got}, {"dict": got}, {"set": got}, {"x": got}, {}):
        for want in ((1,), {1}, {1: 2}, [1], 1, 1.0, "x", None):
            assert not same(encode(want), claim) or claim == encode(want)


@pytest.mark.parametrize("truth", [SQUARE, BY_ASSERTS], ids=["values", "asserts"])
@pytest.mark.parametrize("depth", [10, 930, 5000])
def test_an_answer_nested_to_any_depth_is_wrong_and_no_error(truth, depth):
    claim = '{"value": {"set": [' + "[" * depth + "]" * depth + "]}}"
    code = f"import os\nos.write(1, b'{{\"loaded\": true}}\\n')\nos.write(1, b'{claim}\\n')"
    assert judged(_block(f"{code}\ndef f(x): pass"), truth).score == 0.0


def test_a_reason_is_one_short_line_whatever_the_code_says():
    code = "raise ValueError('\\n\\ud800 \\u00e9' + 'x' * 9999)"
    reason = judged(_block(code), SQUARE).reason
    assert reason.startswith("ValueError: \\ud800 \\xe9xxx")
    forged = "import os\nos.write(1, b'{\"failed\": \"' + b'x' * 9999 + b'\"}\\n')"
    for each in (reason, judged(_block(forged), SQUARE).reason):
        assert len(each) <= 200
        assert each.isascii()


def test_right_code_scores_one_and_wrong_code_its_share():
    assert judged(_block(GOOD), SQUARE).score == 1.0
    assert judged(GOOD, SQUARE).reason == "4 of 4 tests passed"
    partly = judged(_block("def f(x): return 2 * x"), SQUARE)  # 0 and 2 of 0, 1, 2, 3
    assert (partly.score, partly.reason) == (0.5, "2 of 4 tests passed")


def test_without_partial_credit_a_share_scores_zero_and_says_so():
    truth = Truth(entry="f", tests=SQUARE.tests, partial_credit=False)
    partly = judged(_block("def f(x): return 2 * x"), truth)
    assert (partly.score, partly.reason) == (0.0, "2 of 4 tests passed")
    assert judged(_block(GOOD), truth).score == 1.0


def test_tests_before_the_one_that_hangs_keep_their_credit():
    code = "def f(x):\n    while x == 3: pass\n    return x * x"
    verdict = judged(_block(code), Truth(entry="f", tests=SQUARE.tests, wall_s=0.4))
    assert (verdict.score, verdict.reason) == (0.75, "3 of 4 tests passed; took over 0.4 s")


def test_a_call_that_exits_loses_its_own_test_only():
    verdict = judged(_block("def f(x):\n    if x == 1: raise SystemExit\n    return x * x"), SQUARE)
    assert verdict.reason == "3 of 4 tests passed; SystemExit:"


def test_code_that_reads_its_input_finds_it_empty_and_does_not_wait():
    verdict = judged(_block("def f(x): return int(input())"), SQUARE)
    assert verdict.reason.startswith("0 of 4 tests passed; EOFError")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no code"),
        ("I think that it is 4.", "no code"),
        ("```json\n{}\n```", "no code"),
        (_block("def f(x) return"), "syntax error: line 1: expected ':'"),
        (_block("def f(x):\n\treturn (\n\0"), "syntax error: source code string cannot contain"),
        (_block("f = '\ud800'"), "syntax error: 'utf-8' codec"),
        (_block("def g(x): return x"), "no function named f"),
        (_block("f = 4"), "no function named f"),
        (_block("import numpy"), "ModuleNotFoundError: No module named 'numpy'"),
        (_block("1 / 0"), "ZeroDivisionError: division by zero"),
        (_block("x = '" + "x" * MAX_CODE_CHARS + "'"), f"code of over {MAX_CODE_CHARS}"),
    ],
)
def test_what_is_no_function_scores_zero_with_the_reason(text, reason):
    verdict = judged(text, SQUARE)
    assert verdict.score == 0.0
    assert verdict.reason.startswith(reason)


ALWAYS_EQUAL = """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __bool__(self): return True
    def __getattr__(self, name): return Yes()
    def __call__(self, *a): return Yes()
    def __float__(self): return 1.0
    __sub__ = __rsub__ = __abs__ = __add__ = __iter__ = __call__
    __lt__ = __le__ = __gt__ = __ge__ = __eq__
"""
CHEATS = {
    "exit in the call": "import os\ndef f(x): os._exit(0)",
    "exit at once": "import os\nos._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)\ndef f(x): return 1",
    "SystemExit": "def f(x): raise SystemExit(0)",
    "printed": "def f(x): print(x * x)",
    "an object equal to all": ALWAYS_EQUAL + "def f(x): return Yes()",
    "a number equal to all": (
        "class N(int):\n    __eq__ = lambda s, o: True\n    __ne__ = lambda s, o: False\n"
        "    __hash__ = int.__hash__\ndef f(x): return N(77)"
    ),
    "a text with a hostile repr": (
        "class S(str):\n    def __repr__(s): return '4'\n    __str__ = __repr__\n"
        "def f(x): return S('x')"
    ),
    "forged answers": (
        "import os, json\n"
        'for i in range(9): os.write(1, b\'{"value": 77, "passed": 9, "total": 9}\\n\')\n'
        "def f(x): return 77"
    ),
    "forged counts": (
        'import os\ndef f(x):\n    os.write(1, b\'{"passed": 4, "total": 4}\\n\')\n    os._exit(0)'
    ),
    "a forged verdict": (
        "import os\nos.write(1, b'[]\\n' + b'[' * 100000 + b'\\n')\ndef f(x): return 77"
    ),
    "the runner patched": (
        "import sys\nmain = sys.modules['code_runner'].__dict__\n"
        "main['encode'] = lambda v: {'__eq__': 1}\ndef f(x): return 77"
    ),
    "builtins patched": (
        "import builtins, json\nbuiltins.isinstance = lambda *a: True\n"
        "builtins.type = lambda *a: int\njson.dumps = lambda *a: '{\"value\": true}'\n"
        "def f(x): return 77"
    ),
    "an exception that breaks": (
        "class E(BaseException):\n    def __str__(self): raise self\ndef f(x): raise E"
    ),
    "the tracer": "import sys\nsys.settrace(lambda *a: 1 / 0)\ndef f(x): return 77",
    "other recursion": "import sys\nsys.setrecursionlimit(1)\ndef f(x): return 77",
    "input read": "def f(x): return int(input())",
    "the pipe read": "import os\ndef f(x): return os.read(0, 9)",
}
# Wanted values that nothing but squaring gives.
HIDDEN = {
    "values": Truth(entry="f", tests=tuple(([i], i * i) for i in (201, 203, 205)), wall_s=0.6),
    "asserts": Truth(
        entry="f",
        asserts="assert f(201) == 40401\nassert candidate(203) == 41209\n"
        "assert abs(f(205) - 42025) < 1",
        wall_s=0.6,
    ),
}


@pytest.mark.parametrize("kind", ["values", pytest.param("asserts", marks=pytest.mark.slow)])
@pytest.mark.parametrize("cheat", CHEATS)
def test_cheating_earns_nothing(cheat, kind):
    verdict = judged(_block(CHEATS[cheat]), HIDDEN[kind])
    assert verdict.score == 0.0, verdict.reason


@pytest.mark.parametrize("cheat", ["an object equal to all", "forged counts"])
def test_cheating_asserts_earns_nothing_either(cheat):
    verdict = judged(_block(CHEATS[cheat]), HIDDEN["asserts"])
    assert verdict.score == 0.0, verdict.reason


SEARCH = """
import gc, sys
def seen(x, depth=0):
    if isinstance(x, str): yield x
    if isinstance(x, dict) and depth < 2: x = list(x.values())
    if isinstance(x, (list, tuple)) and depth < 2:
        for y in x: yield from seen(y, depth + 1)
def f(x):
    places = [each for each in gc.get_objects() if isinstance(each, (list, tuple, dict))]
    frame = sys._getframe(1)
    while frame:
        places += [frame.f_locals, frame.f_globals, frame.f_code.co_consts]
        frame = frame.f_back
    # Backwards, so that this code does not hold what it looks for.
    return next((y for each in places for y in seen(each) if y[::-1] == "emases nepo"), "lost")
"""


@pytest.mark.parametrize(
    "truth",
    [
        Truth(entry="f", tests=(([1], "open sesame"),)),
        Truth(entry="f", asserts="assert f(1) == 'open sesame'"),
    ],
    ids=["values", "asserts"],
)
def test_wanted_values_are_nowhere_in_the_process_of_the_code(truth):
    assert judged(_block(SEARCH), truth).reason == "0 of 1 tests passed"
    found = SEARCH.replace("places = [", "places = [['open sesame'], *[").replace("))]", "))]]")
    assert judged(_block(found), truth).score == 1.0  # the search would find it


@pytest.mark.parametrize("kind", HIDDEN)
def test_honest_code_passes_where_cheats_fail(kind):
    assert judged(_block(GOOD), HIDDEN[kind]).score == 1.0


def test_asserts_count_one_by_one_and_a_constant_one_not_at_all():
    assert judged(_block(GOOD), BY_ASSERTS).reason == "3 of 3 tests passed"
    verdict = judged(_block("def f(x): return 4"), BY_ASSERTS)
    assert verdict.reason == "1 of 3 tests passed"
    assert [counts(each) for each in statements_of(ASSERTS)] == [
        *(False, False),  # METADATA, import
        *(True, True, False, True),
    ]


def test_a_function_that_fails_in_one_assert_still_passes_the_others():
    code = "def f(x):\n    if x < 0: raise ValueError('negative')\n    return x * x"
    assert judged(_block(code), BY_ASSERTS).reason == "2 of 3 tests passed; ValueError: negative"
    code = "import os\ndef f(x):\n    if x < 0: os._exit(0)\n    return x * x"
    assert judged(_block(code), BY_ASSERTS).reason == "1 of 3 tests passed; exited early"


def test_code_may_lean_on_its_prompt_and_the_tests_too():
    helper = "import math\n\ndef root(x): return math.isqrt(x)\n\n"
    setup = helper + 'def f(x):\n    """Return root + 1."""\n'
    truth = Truth(entry="f", asserts="assert root(f(8)) == 1\nassert f(9) == 4", setup=setup)
    assert judged(_block("def f(x): return root(x) + 1"), truth).score == 1.0
    assert judged("    return root(x) + 1\n", truth).score == 1.0  # the body alone
    assert judged(_block("def other(x): return 1"), truth).reason == "no function named f"


def test_offered_modules_can_be_imported_wherever_the_code_does_it():
    code = (
        "from collections import Counter, defaultdict\nfrom typing import List\n"
        "import heapq, math, re, functools, itertools, string, dataclasses, datetime, statistics\n"
        "@dataclasses.dataclass\nclass P:\n    x: 'List[int]'\n"
        "def f(x):\n    import bisect, decimal, fractions\n"
        "    datetime.datetime.strptime('2020-02-29', '%Y-%m-%d')\n"
        "    d = defaultdict(int)\n    d[P(x).x] += x * x\n"
        "    return int(fractions.Fraction(d[x]))\n"
    )
    verdict = judged(_block(code), SQUARE)
    assert verdict.score == 1.0, verdict.reason
