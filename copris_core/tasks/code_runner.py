"""The process in which a response's code runs: locks itself in, then answers calls.

Started by ``code_sandbox`` in a fresh interpreter, it reads one job, sets its own limits, compiles,
imports what the code names, and installs a seccomp filter before a line of the code runs. From then
on the process can compute, read and write its three pipes, and nothing else: it cannot open a file
(for reading or writing), a socket or another process, nor signal one, root or not.

Two roles. The *solver* holds the response's code: it gets arguments and gives back plain data. The
*judge* holds tests that are asserts: it asks for calls and counts what passed. They never share a
process, so an expected value is never where the response's code could find it. What a solver says
is only ever a claimed return value; forging one is no better than returning it.

This file runs alone, so it imports nothing of the house.
"""

import ast
import contextlib
import ctypes
import errno
import io
import json
import os
import platform
import resource
import signal
import struct
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

ENTRY_OF_TESTS = "candidate"
MODULE = "solution"
MAX_WORDS = 120  # characters of an error that are told

# Modules that a response may import; imported, if it names them, before the doors close.
_OFFERED = """
    abc array ast base64 binascii bisect builtins calendar cmath collections contextlib copy
    dataclasses datetime decimal difflib enum fractions functools graphlib hashlib heapq inspect io
    itertools json keyword math numbers operator os queue random re secrets statistics string struct
    sys textwrap threading time traceback types typing unicodedata warnings weakref zlib
"""
OFFERED = frozenset(_OFFERED.split())
LOADED_LATE = {"datetime": ("_strptime",), "threading": ("queue",)}  # what they import when called

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER = 2
KILL_PROCESS, REFUSE, ALLOW = 0x80000000, 0x00050000 | errno.EPERM, 0x7FFF0000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
SYSCALL_AT, ARCHITECTURE_AT = 0, 4  # offsets in struct seccomp_data

# What pure computing needs, by number; everything else, known or to come, is refused.
#   read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
#   madvise mremap sched_yield nanosleep clock_nanosleep getpid gettid exit exit_group futex
#   clock_gettime clock_getres gettimeofday getrandom ppoll pselect6 restart_syscall getrusage times
#   sigaltstack uname sysinfo rseq getuid geteuid getgid getegid; on x86_64 also poll select time
SYSCALLS = {
    "x86_64": (
        *(0xC000003E, 0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 28, 25, 24, 35, 230, 39, 186, 60),
        *(231, 202, 228, 229, 96, 318, 271, 270, 219, 98, 100, 131, 63, 99, 334, 102, 107, 104),
        *(108, 7, 23, 201),
    ),
    "aarch64": (
        *(0xC00000B7, 63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 233, 216, 124, 101),
        *(115, 172, 178, 93, 94, 98, 113, 114, 169, 278, 73, 72, 128, 165, 153, 132, 160, 179),
        *(293, 174, 175, 176, 177),
    ),
}
"""By machine: its audit number (linux/audit.h), then the allowed system calls."""


class NoWallError(RuntimeError):
    """This machine has no seccomp, so no code of a response may run on it."""


def encode(value: Any) -> Any:
    """Plain data as a JSON tree that keeps types apart.

    A list stays a list; a tuple, a set and a dict become ``{"tuple": [...]}``, ``{"set": [...]}``
    and ``{"dict": [[key, value], ...]}``. Subclasses travel as their base, without their methods.

    Raises:
        TypeError: something in it is not plain data.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [encode(each) for each in list.__iter__(value)]
    if isinstance(value, tuple):
        return {"tuple": [encode(each) for each in tuple.__iter__(value)]}
    if isinstance(value, set | frozenset):
        return {"set": [encode(each) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(each)] for key, each in dict.items(value)]}
    raise TypeError(f"gave a {type(value).__name__}, not plain data")


def decode(tree: Any) -> Any:
    """The value whose ``encode`` is ``tree``."""
    if isinstance(tree, list):
        return [decode(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, parts),) = tree.items()
    if kind == "dict":
        return {decode(key): decode(each) for key, each in parts}
    return {"tuple": tuple, "set": set}[kind](decode(each) for each in parts)


def limit(*, cpu_s: int, memory_mb: int) -> None:
    """Bound this process; what it may not do at all is the filter's part."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for what, most in (
        (resource.RLIMIT_AS, memory_mb << 20),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        resource.setrlimit(what, (most, most))


def filter_program(machine: str) -> bytes:
    """The seccomp filter as BPF: allow the listed calls of this machine, refuse the rest.

    Raises:
        NoWallError: the machine's system calls are not listed.
    """
    if machine not in SYSCALLS:
        raise NoWallError(f"no list of system calls for {machine}")
    architecture, *calls = SYSCALLS[machine]
    steps = [
        (LOAD_WORD, 0, 0, ARCHITECTURE_AT),
        (JUMP_IF_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD_WORD, 0, 0, SYSCALL_AT),
        *((JUMP_IF_EQUAL, len(calls) - i, 0, call) for i, call in enumerate(calls)),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def lock() -> None:
    """Close the doors for the rest of this process's life, and try one to see that it is shut.

    Raises:
        NoWallError: the kernel has no seccomp, or the filter does not hold.
    """
    if sys.platform != "linux":
        raise NoWallError(f"no seccomp on {sys.platform}")
    program = ctypes.create_string_buffer(filter_program(platform.machine()))
    packed = struct.pack("HxxxxxxP", (len(program) - 1) // 8, ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise NoWallError(f"prctl: {os.strerror(ctypes.get_errno())}")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, packed, 0, 0):
        raise NoWallError(f"seccomp: {os.strerror(ctypes.get_errno())}")
    with contextlib.suppress(PermissionError):
        os.open("/", os.O_RDONLY)
        raise NoWallError("seccomp was accepted and does not hold")


def import_named(tree: ast.AST) -> None:
    """Import the offered modules that a program names, while files can still be opened."""
    for name in _imports(tree):
        root = name.partition(".")[0]
        if root in OFFERED:
            for each in (name, *LOADED_LATE.get(root, ())):
                with contextlib.suppress(ImportError):
                    __import__(each)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def compile_solution(setup: str, code: str) -> list[Any]:
    """Programs to run in turn; code that only stands after ``setup`` is taken as its end.

    Raises:
        SyntaxError: the code is no Python.
    """
    try:
        parts = [setup, code] if setup else [code]
        trees = [ast.parse(part) for part in parts]
    except SyntaxError:
        if not setup:
            raise
        trees = [ast.parse(f"{setup}\n{code}")]
    for tree in trees:
        import_named(tree)
    return [compile(tree, f"<{MODULE}>", "exec", dont_inherit=True) for tree in trees]


def compile_tests(setup: str, tests: str) -> list[tuple[Any, bool]]:
    """The setup, then each statement of the tests and whether it counts as a test.

    The body of ``check(candidate)`` counts statement by statement, so that a response earns its
    share; one that holds no assert, or asserts a constant, counts for nothing.
    """
    before = ast.parse(setup).body
    statements = before + statements_of(tests)
    whole = ast.Module(statements, [])
    import_named(whole)
    return [
        (
            compile(ast.Module([node], []), "<tests>", "exec", dont_inherit=True),
            i >= len(before) and counts(node),
        )
        for i, node in enumerate(statements)
    ]


def statements_of(tests: str) -> list[ast.stmt]:
    """The statements of tests, ``check``'s own in the place of ``check``."""
    statements: list[ast.stmt] = []
    for node in ast.parse(tests).body:
        is_check = isinstance(node, ast.FunctionDef) and node.name == "check"
        statements += node.body if isinstance(node, ast.FunctionDef) and is_check else [node]
    return statements


def counts(statement: ast.stmt) -> bool:
    """Whether a statement of the tests is a test: an assert of something that can fail."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return False
    return any(
        isinstance(node, ast.Assert) and not isinstance(node.test, ast.Constant)
        for node in ast.walk(statement)
    )


def say(message: dict[str, Any]) -> None:
    """Write one line to the parent."""
    line = json.dumps(message).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


def hear() -> dict[str, Any]:
    """Read one line from the parent; its end ends this process."""
    line = b""
    while not line.endswith(b"\n"):  # the parent sends nothing more before it gets an answer
        chunk = os.read(0, 1 << 16)
        if not chunk:
            leave()
        line += chunk
    message: dict[str, Any] = json.loads(line)
    return message


def leave() -> NoReturn:
    """End without running what the code may have left behind (threads, exit handlers)."""
    os._exit(0)


def told(error: BaseException) -> str:
    """An error in one line; a hostile ``__str__`` is not trusted to work."""
    if isinstance(error, MemoryError):
        return "out of memory"
    try:
        words = f"{type(error).__name__}: {error}"
    except BaseException:
        words = type(error).__name__
    return " ".join(words.split())[:MAX_WORDS]


def solve(programs: list[Any], entry: str) -> None:
    """Run the response's code, then answer calls until the parent has enough."""
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module  # dataclasses look their module up
    try:
        for program in programs[:-1]:
            exec(program, module.__dict__)
            module.__dict__.pop(entry, None)  # the stub of a prompt answers nothing
        exec(programs[-1], module.__dict__)
        function = module.__dict__.get(entry)
        failed = None if callable(function) else f"no function named {entry}"
    except BaseException as error:
        failed = told(error)
    if failed is not None or function is None:
        say({"failed": failed})
        return
    say({"loaded": True})
    while True:
        say(_answer(function, decode(hear()["call"])))


def _answer(function: Callable[..., Any], arguments: list[Any]) -> dict[str, Any]:
    try:
        return {"value": encode(function(*arguments))}
    except BaseException as error:  # SystemExit and its like are no way out
        return {"raised": told(error)}


def judge(programs: list[tuple[Any, bool]], entry: str) -> None:
    """Run the tests against the solver, which answers through the parent, and count."""

    def candidate(*arguments: Any) -> Any:
        say({"call": encode(list(arguments))})
        reply = hear()
        if "value" not in reply:
            raise RuntimeError(reply.get("raised"))
        return decode(reply["value"])

    namespace: dict[str, Any] = {"__name__": "tests"}
    passed = total = 0
    for program, is_test in programs:
        namespace.update({ENTRY_OF_TESTS: candidate, entry: candidate})
        total += is_test
        with contextlib.suppress(Exception):
            exec(program, namespace)
            passed += is_test
    say({"passed": passed, "total": total})


def main() -> None:
    """Read the job, get ready, lock, and play the role."""
    os.environ.clear()
    job = hear()
    is_judge = job["role"] == "judge"
    limit(cpu_s=job["cpu_s"], memory_mb=job["memory_mb"])
    try:
        prepare = compile_tests if is_judge else compile_solution
        programs: list[Any] = prepare(job["setup"], job["code"])
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        line = getattr(error, "lineno", None)  # a null byte has none
        words = f"line {line}: {error.msg}" if line and isinstance(error, SyntaxError) else error
        say({"failed": f"syntax error: {words}"})
        leave()
    if "random" in sys.modules:
        sys.modules["random"].seed(0)  # equal code gets an equal score
    sys.stdout = sys.stderr  # prints go to the pipe that holds no answers
    sys.stdin = io.StringIO()  # input() ends at once instead of eating a call
    try:
        lock()
    except NoWallError as error:
        say({"no_wall": str(error)})
        leave()
    say({"ready": True})
    (judge if is_judge else solve)(programs, job["entry"])
    leave()
