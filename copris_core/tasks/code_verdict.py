"""Judges code by running it: how many of its tests pass.

Two kinds of tests. *Values*: arguments and the value wanted; the process with the code gets the
arguments and gives back plain data, and the comparison is made here. *Asserts* (HumanEval, files):
Python, run in a second locked process that calls the function through this one. Either way the
wanted values never enter the process of the response's code, so neither an early exit, nor an
object equal to everything, nor a search through frames and files, nor a forged answer gains
anything.

One weakness stays, and belongs to partial credit: an answer that is always the same passes the
tests that want it. The generator bounds it (``code_problems``), HumanEval does not.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from copris_core.tasks.code_sandbox import (
    START_S,
    Limits,
    Sandbox,
    StoppedError,
    slots,
)
from copris_core.tasks.task import Verdict

MAX_CODE_CHARS = 50_000
MAX_REASON_CHARS = 200
FENCE = "```"
LANGUAGES = frozenset({"", "python", "python3", "py"})
TOLERANCE = 1e-6  # of a float, absolute and relative


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is needed to judge one response; travels as the row's ground truth."""

    entry: str
    """Name of the function asked for."""
    tests: tuple[tuple[Any, Any], ...] = ()
    """Arguments and value wanted, both encoded (``code_runner.encode``)."""
    asserts: str = ""
    """Python that tests ``candidate``; instead of ``tests``."""
    setup: str = ""
    """Python that stands before the response and before the asserts: a prompt with its helpers."""
    wall_s: float = 5.0
    """Seconds a response may take, all tests together."""
    memory_mb: int = 512
    """MiB of address space."""
    partial_credit: bool = True
    """Score the share of tests passed; false: 1 for all of them, else 0."""

    def text(self) -> str:
        """As JSON, without what is left at its default."""
        usual = Truth(entry="")
        facts = {key: value for key, value in vars(self).items() if value != getattr(usual, key)}
        return json.dumps(facts, sort_keys=True, separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> "Truth":
        """The inverse of ``text``."""
        facts = json.loads(text)
        facts["tests"] = tuple((args, want) for args, want in facts.get("tests", ()))
        return cls(**facts)

    @property
    def limits(self) -> Limits:
        """The limits of the process with the response's code."""
        return Limits(wall_s=self.wall_s, memory_mb=self.memory_mb)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How the tests went."""

    passed: int
    """Tests passed."""
    total: int
    """Tests there are."""
    trouble: str
    """The first thing that went wrong; empty when nothing did but wrong values."""


def code_of(text: str) -> str | None:
    r"""The code of a response: its last fenced block, or the whole text when no fence is in it.

    A block starts at a line of three backticks with ``python``, ``py`` or nothing behind them, and
    ends at the next line of bare backticks, where another block starts, or with the text. Blocks of
    other languages are not looked at. The last block counts even when it is worse than an earlier
    one, so that naming several answers never pays. None: no text or no such block.
    """
    blocks: list[list[str]] = []
    language: str | None = None  # of the open block
    fenced = False
    for line in text.splitlines():
        mark = line.strip()
        if not mark.startswith(FENCE):
            if language in LANGUAGES and language is not None:
                blocks[-1].append(line)
            continue
        fenced = True
        label = mark.strip("`").strip().lower()
        if language is not None and not label:
            language = None
            continue
        language = label
        if language in LANGUAGES:
            blocks.append([])
    if not fenced:
        return text if text.strip() else None
    return "\n".join(blocks[-1]) if blocks else None


def same(want: Any, got: Any) -> bool:
    """Whether a claimed value is the wanted one, both encoded.

    Types count: True is not 1, a tuple not a list. A float may be an int or off by 1e-6; NaN is
    never right. The depth of the walk is that of ``want``, so ``got`` may be anything.
    """
    if isinstance(want, float):
        return type(got) in (int, float) and _close(want, got)
    if type(want) is not type(got):
        return False
    if isinstance(want, list):
        return len(want) == len(got) and all(map(same, want, got))
    if not isinstance(want, dict):
        return bool(want == got)
    ((kind, parts),) = want.items()
    others = got.get(kind)
    if not isinstance(others, list):
        return False
    if kind != "tuple":
        parts, others = sorted(parts, key=json.dumps), sorted(others, key=json.dumps)
    return same(parts, others)


def _close(want: float, got: float) -> bool:
    try:
        return math.isclose(want, got, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except OverflowError:  # an int beyond the floats
        return False


def judged(text: str, truth: Truth) -> Verdict:
    """Run the code of a response and say how many of its tests passed."""
    code = code_of(text)
    if code is None:
        return _verdict(0.0, "no code")
    if len(code) > MAX_CODE_CHARS:
        return _verdict(0.0, f"code of over {MAX_CODE_CHARS} characters")
    try:
        with slots():
            tally = _by_asserts(code, truth) if truth.asserts else _by_values(code, truth)
    except StoppedError as error:  # before the first test, or in the tests themselves
        bare = FENCE not in text and str(error).startswith("syntax error")
        return _verdict(0.0, "no code" if bare else str(error))
    except RecursionError:  # an answer as deep as Python can just read, and no deeper
        return _verdict(0.0, "answers nested too deeply")
    share = tally.passed / max(1, tally.total)
    words = f"{tally.passed} of {tally.total} tests passed"
    return _verdict(
        share if truth.partial_credit else float(share == 1.0),
        f"{words}; {tally.trouble}" if tally.trouble else words,
    )


def sandbox_trouble() -> str | None:
    """Why no code can be judged on this machine; None when it can. For a look before a run."""
    truth = Truth(entry="f", tests=(([1], 2),), wall_s=30.0)
    verdict = judged("def f(x): return x + 1", truth)
    return None if verdict.score == 1.0 else verdict.reason


def _verdict(score: float, reason: str) -> Verdict:
    """A verdict whose reason is one short line of ASCII, whatever the code wanted to be told."""
    line = " ".join(reason.encode("ascii", "backslashreplace").decode().split())
    return Verdict(score=score, reason=line[:MAX_REASON_CHARS])


def _by_values(code: str, truth: Truth) -> Tally:
    passed, trouble = 0, ""
    with _solver(code, truth) as solver:
        solver.start()
        solver.load()
        for arguments, want in truth.tests:
            try:
                reply = _call(solver, arguments)
            except StoppedError as error:
                trouble = trouble or str(error)
                break
            trouble = trouble or str(reply.get("raised", ""))
            passed += "value" in reply and same(want, reply["value"])
    return Tally(passed=passed, total=len(truth.tests), trouble=trouble)


def _by_asserts(code: str, truth: Truth) -> Tally:
    # The judge also waits while the solver starts and works.
    limits = Limits(wall_s=START_S + truth.wall_s, memory_mb=truth.memory_mb)
    judge = Sandbox(
        role="judge", code=truth.asserts, entry=truth.entry, setup=truth.setup, limits=limits
    )
    trouble = ended = ""
    with judge, _solver(code, truth) as solver:
        judge.start()
        solver.start()
        solver.load()
        message = judge.hear()
        while "call" in message:
            reply: dict[str, Any] = {"raised": ended}
            if not ended:
                try:
                    reply = _call(solver, message["call"])
                except StoppedError as error:
                    ended = str(error)
            trouble = trouble or ended or str(reply.get("raised", ""))
            judge.say(reply)
            message = judge.hear()
    return Tally(passed=message["passed"], total=message["total"], trouble=trouble)


def _solver(code: str, truth: Truth) -> Sandbox:
    return Sandbox(
        role="solver", code=code, entry=truth.entry, setup=truth.setup, limits=truth.limits
    )


def _call(solver: Sandbox, arguments: Any) -> dict[str, Any]:
    solver.say({"call": arguments})
    return solver.hear()
