"""How a number is written for people, in the terminal and on the page alike.

What was not measured is a plain hyphen. Refuses to know where a number is shown.
"""

from __future__ import annotations

from copris_core.report.summary import Accuracy

UNKNOWN = "-"


def show(value: float | None, digits: int) -> str:
    """A number with ``digits`` decimals."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def show_count(value: int | None) -> str:
    """A whole number with thousands marked."""
    return UNKNOWN if value is None else f"{value:,}"


def show_ratio(value: float | None) -> str:
    """A ratio such as ``1.55x``."""
    return UNKNOWN if value is None else f"{value:.2f}x"


def show_seconds(value: float | None) -> str:
    """Seconds as ``9.4s``, ``74s``, ``12m34s`` or ``3h05m``."""
    if value is None:
        return UNKNOWN
    if value < 9.95:
        return f"{value:.1f}s"
    whole = round(value)
    if whole < 100:
        return f"{whole}s"
    if whole < 6000:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def show_gap(value: float | None) -> str:
    """A log-prob gap such as ``3.1e-06``."""
    return UNKNOWN if value is None else f"{value:.1e}"


def show_accuracy(accuracy: Accuracy) -> str:
    """``before -> after ± standard error``, two or three decimals where they carry meaning."""
    error = "" if accuracy.stderr is None else f" ± {accuracy.stderr:.2f}"
    return f"{show(accuracy.before, 2)} -> {show(accuracy.after, 2)}{error}"
