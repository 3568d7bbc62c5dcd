"""math-verify in a helper process: what it decides, and what can't hang or leak."""

import os
import random
import re
import subprocess
import sys
import threading
import time

import pytest

from copris_core.tasks.math_task import MathTask
from copris_core.tasks.math_verdict import judge
from copris_core.tasks.math_worker import REPLY_SECONDS, Helper

pytestmark = pytest.mark.slow  # all together: seconds, and processes of their own

ENDINGS = [
    "so \\boxed{%s}",
    "Thus it is $%s$.",
    "The answer is %s",
    "<answer>%s</answer>",
    "%s",
    "#### %s\nQuestion: %s",
    "so \\boxed{%s} and \\boxed{%s}",
]
GOLDS = ["72", "3\\sqrt{13}", "(-\\infty,2)\\cup(3,\\infty)", "x^2+1", "y=2x", "1,-2", "\\pi"]
SOUP = re.findall(
    r"\\?[a-z]+\{?|\\?.",
    r"\frac{}\sqrt{^_{()[]xy1299+-*/=<\le!%\pi\sin\log\int\sum\cdot\binom{\infty\cup,"
    r"\text{\{\}|\pm\left&\\\begin{pmatrix}\boxed{nan",
)
HOSTILE = [
    lambda rng: "".join(rng.choice(SOUP) for _ in range(rng.randrange(1, 40))),
    lambda rng: f"{rng.random()}^{{{rng.randrange(99)}^{{{rng.randrange(99)}}}}}",
    lambda rng: f"({rng.randrange(999)}^{{{rng.randrange(9999)}}})^{{{rng.randrange(9999)}}}",
    lambda rng: f"{rng.randrange(10**7)}!!",
    lambda rng: f"\\sum_{{i=1}}^{{{rng.randrange(10**9)}}} i",
    lambda rng: f"(x+y+z+{rng.randrange(9)})^{{{rng.randrange(99)}}}",
    lambda rng: "+".join(f"\\sin({rng.randrange(99)}x)^{rng.randrange(9)}" for _ in range(9)),
    lambda rng: f"(\\sqrt2+\\sqrt3+\\sqrt5+\\sqrt7)^{{{rng.randrange(99)}}}",
    lambda rng: "\\frac{1}{1+" * rng.randrange(20) + "7" + "}" * rng.randrange(20),
    lambda rng: f"x^{{{rng.randrange(9999)}}}+{rng.randrange(99)}x^{{{rng.randrange(999)}}}=0",
    lambda rng: f"|x-{rng.randrange(99)}|+|x^2-{rng.randrange(99)}|>{rng.randrange(9)}",
    lambda rng: "9" * rng.randrange(1, 10_000),
]

pytest.importorskip("math_verify", reason="comes with the extra cpu")


@pytest.fixture(scope="module")
def helper():
    helper = Helper()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOME_TOKEN", "secret")
        assert helper.ask("1", "1.0") is True
    yield helper
    helper.close()


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="reads /proc")
def test_the_helper_gets_no_environment_of_ours(helper):
    with open(f"/proc/{helper._process.pid}/environ", "rb") as environment:
        keys = {each.partition(b"=")[0] for each in environment.read().split(b"\0") if each}
    assert keys <= {b"PYTHONPATH", b"PYTHONHASHSEED", b"LC_ALL", b"LD_LIBRARY_PATH"}


@pytest.mark.parametrize(
    ("gold", "answer", "score"),
    [
        ("(3,4]", "3 < x \\leq 4", 1.0),
        ("(3,4]", "3 < x < 4", 0.0),
        ("[2,5)", "\\{x \\mid 2 \\leq x < 5\\}", 1.0),
        ("(2,\\infty)", "x > 2", 1.0),
        ("(-\\infty, 2) \\cup (3, \\infty)", "x<2 \\text{ or } x>3", 1.0),
        ("5x - 7y + 4 = 0", "-5x+7y-4=0", 1.0),
        ("5x - 7y + 4 = 0", "5x-7y+5=0", 0.0),
        ("\\sqrt{51}", "7.141428", 1.0),
    ],
)
def test_relations_and_rounded_roots_are_left_to_math_verify(gold, answer, score):
    verdict = judge(answer, gold)
    assert verdict.score == score
    assert verdict.reason == ("correct by math-verify" if score else "wrong")


def test_a_comparison_that_takes_too_long_is_given_up_and_the_next_one_works():
    helper = Helper(cpu_seconds=0.4)
    assert helper.ask("1", "1.0") is True
    started = time.monotonic()
    assert helper.ask("7", "10^{10^{10}}") is None
    assert time.monotonic() - started < REPLY_SECONDS * 0.6  # its own timer, not our patience
    assert helper.ask("\\frac{1}{2}", "0.5") is True
    helper.close()


def test_threads_take_turns_and_get_their_own_answers(helper):
    got = {}

    def ask(number):
        got[number] = helper.ask(str(number), f"{number if number % 2 else number + 1}+0")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert got == {number: bool(number % 2) for number in range(12)}


def test_what_is_no_latex_is_not_equal(helper):
    for answer in ("", "}{", "\x00", "\\frac{", "\n", '"]', "\ud800"):
        assert helper.ask("1", answer) is False


def test_a_killed_helper_costs_one_answer(helper):
    assert helper.ask("1", "1.0") is True
    helper._process.kill()
    helper._process.wait()
    assert helper.ask("1", "1.0") is None
    assert helper.ask("1", "1.0") is True


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="reads /proc")
def test_the_helper_ends_with_the_process_that_started_it():
    script = (
        "import os\n"
        "from copris_core.tasks import math_worker as w\n"
        "assert w.equal_expressions('x>2', '2<x')\n"
        "print(w._HELPER._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    place = f"/proc/{done.stdout.strip()}/stat"
    for _ in range(200):
        try:
            with open(place) as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":  # dead, not yet collected
                    return
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("the helper outlives its parent")


@pytest.mark.slow
def test_a_forked_process_starts_a_helper_of_its_own():
    script = (
        "import os\n"
        "from copris_core.tasks import math_worker as w\n"
        "assert w._HELPER.ask('x>2', '2<x')\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    ok = w._HELPER._process is None and w._HELPER.ask('x>2', '2<x')\n"
        "    w._HELPER.close()\n"
        "    os._exit(0 if ok else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert w._HELPER.ask('x>3', '3<x')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_ten_thousand_hostile_answers_take_less_than_a_minute():
    rng = random.Random(0)
    started = time.monotonic()
    for _ in range(10_000):
        ending, hostile = rng.choice(ENDINGS), rng.choice(HOSTILE)(rng)
        text = ending.replace("%s", hostile)
        assert MathTask().score(text, rng.choice(GOLDS)).score in (0.0, 1.0)
        MathTask().answer(text)
    assert time.monotonic() - started < 60
