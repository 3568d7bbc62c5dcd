"""What is told while an evaluation goes on."""

from io import StringIO

from rich.console import Console

from copris_core.verl_adapter.eval_progress import PLAIN_EVERY_S, EvalProgress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_log_file_gets_a_line_every_half_minute_and_one_at_the_end() -> None:
    clock, told = Clock(), StringIO()
    console = Console(file=told, width=40)
    with EvalProgress(total=100, done=40, console=console, clock=clock) as progress:
        progress.update(done=41, in_flight=8, tokens=100)
        assert told.getvalue() == ""
        clock.now_s = PLAIN_EVERY_S
        progress.update(done=50, in_flight=7, tokens=200)
        # 10 samples in 30 s: the 50 that are left take 150 s; 300 tokens in 30 s.
        line = "50/100 samples, 7 in flight, 10 tokens/s, 2m30s left\n"
        assert told.getvalue() == line
        clock.now_s += 1
        progress.update(done=100, in_flight=0, tokens=0)
    assert told.getvalue() == line + "100/100 samples, 0 in flight, 10 tokens/s, done in 31s\n"


def test_nothing_made_yet_promises_nothing() -> None:
    clock, told = Clock(), StringIO()
    with EvalProgress(total=9, done=3, console=Console(file=told), clock=clock) as progress:
        clock.now_s = PLAIN_EVERY_S
        progress.update(done=3, in_flight=6, tokens=0)
    assert told.getvalue().splitlines()[0] == "3/9 samples, 6 in flight, 0 tokens/s, "


def test_a_terminal_gets_a_bar() -> None:
    told = StringIO()
    console = Console(file=told, force_terminal=True, width=100)
    with EvalProgress(total=9, done=3, console=console) as progress:
        progress.update(done=4, in_flight=5, tokens=10)
    assert "4/9 samples" in told.getvalue()
    assert "5 in flight" in told.getvalue()


def test_an_end_by_an_error_tells_no_end() -> None:
    told = StringIO()
    progress = EvalProgress(total=9, done=3, console=Console(file=told))
    try:
        with progress:
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert told.getvalue() == ""
