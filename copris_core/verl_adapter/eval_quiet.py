"""Keeps what the stack says while it loads off the user's terminal; its errors still rise."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(*, prints: bool = False) -> Iterator[None]:
    """Without Python warnings and logged ones.

    Args:
        prints: also without what is printed, progress bars of the merger among it.
    """
    said = logging.root.manager.disable
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if prints:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(said)
