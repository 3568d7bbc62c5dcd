"""An audit in a terminal of 100 columns. Refuses to judge: that is `audit`."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from copris_core.report.audit import Audit
from copris_core.report.lengths import Bias, Lengths
from copris_core.report.numbers import UNKNOWN, show, show_count

MAX_FINDINGS = 20
"""Findings printed of each kind; ``--json`` has them all."""

LENGTHS_REMARK = (
    "started: of an unfinished response, the tokens it is known to have. ±: one standard error."
)


def print_audit(audit: Audit, console: Console) -> None:
    """Print counts, lengths and findings."""
    console.print(audit_view(audit), soft_wrap=False)


def audit_view(audit: Audit) -> RenderableType:
    """Counts, lengths, findings, and the verdict as the last line."""
    return Group(
        _counts(audit),
        Text(),
        _lengths_table(audit.lengths),
        Text(_bias_sentence(audit.length_bias)),
        Text(),
        *_findings("lost", audit.lost),
        *_findings("duplicated", audit.duplicated),
        Text(
            f"{len(audit.lost)} lost, {len(audit.duplicated)} duplicated",
            style="green" if audit.ok else "bold red",
        ),
    )


def _counts(audit: Audit) -> Table:
    repeated = audit.repeated
    over = " + ".join(show_count(tokens) for tokens in audit.continued_over_restarts) or "0"
    rows = {
        "groups": _counted(audit.groups),
        "responses": _counted(audit.responses),
        "restarts": show_count(audit.restarts),
        "partial tokens continued": f"{show_count(audit.continued_tokens)}; over restarts {over}",
        "undone by restarts": f"{show_count(repeated.lines)} lines: {show_count(repeated.finished)}"
        f" responses finished ({show_count(repeated.tokens)} tokens), "
        f"{show_count(repeated.trained)} trained",
    }
    table = Table.grid(padding=(0, 2))
    for name, content in rows.items():
        table.add_row(name, content)
    return table


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {show_count(count)}" for name, count in counts.items())


def _lengths_table(lengths: Mapping[str, Lengths]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.caption, table.caption_justify = LENGTHS_REMARK, "left"
    table.add_column("length of the")
    for heading in ("responses", "mean", "±", "median", "90%"):
        table.add_column(heading, justify="right")
    for name, each in lengths.items():
        numbers = (each.mean, each.stderr, each.p50, each.p90)
        table.add_row(name, show_count(each.n), *(show(number, 1) for number in numbers))
    return table


def _bias_sentence(bias: Bias | None) -> str:
    if bias is None:
        return "length bias: nothing was trained"
    error = UNKNOWN if bias.stderr is None else f"{bias.stderr:.2f}"
    return f"length bias: trained minus finished {bias.tokens:+.2f} ± {error} tokens"


def _findings(kind: str, findings: Mapping[str, str]) -> list[Text]:
    told = [Text(f"{kind}: {who}: {why}") for who, why in list(findings.items())[:MAX_FINDINGS]]
    more = len(findings) - len(told)
    return [*told, Text(f"{kind}: and {more} more")] if more else told
