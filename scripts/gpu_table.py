"""The table of a GPU proof as Markdown: pure text from the object of result.json."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

UNKNOWN: Final = "-"

RATES: Final = (
    ("rollout samples/s", "generate_samples_per_s", 1),
    ("rollout tokens/s", "generate_tokens_per_s", 0),
    ("step s", "step_s", 1),
    ("occupancy", "occupancy", 3),
    ("iteration ms", "decode_step_s", 1),
    ("prefilled again", "reprefill_tokens", 0),
    ("mean lag", "lag_mean", 2),
)
"""Heading, metric of the bench, digits."""

RATIOS: Final = {
    "rollout samples/s": "generate_samples_per_s",
    "step s": "step_samples_per_s",
}
"""Heading -> the ratio to sync that stands behind it."""

PIECES: Final = (
    *("generate_full", "tail_bubble", "prefill_again", "engine_gap", "waiting"),
    *("unsplit", "log_prob", "update", "sync", "other"),
)
"""Seconds of a step, in the bench's own order."""


def table(result: Mapping[str, Any]) -> str:
    """All of it; what was not measured is said to be missing."""
    parts = [_head(result), _tests(result), *_bench(result), _planner(result), _stages(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(result: Mapping[str, Any]) -> str:
    device, packages = result["device"], result["packages"]
    memory = f", {device['memory_gib']} GiB" if device["memory_gib"] else ""
    driver = f", driver {device['driver']}" if device["driver"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    kind = "A rehearsal on a tiny model: no number here says anything of a GPU. " * result["small"]
    attention = "" if result["small"] or "flash-attn" in packages else " Attention: sdpa."
    return (
        f"{kind}{result['date']}, {device['name']}{memory}{driver}; {versions}.{attention}\n\n"
        f"    {result['command']}"
    )


def _tests(result: Mapping[str, Any]) -> str:
    return f"Tensor code against the CPU's (`pytest tests/gpu`): {result['tests'] or 'not run'}"


def _bench(result: Mapping[str, Any]) -> Iterator[str]:
    bench = result["bench"]
    if bench is None:
        yield "Bench: not run"
        return
    setup = bench["setup"]
    yield (
        f"Bench: {setup['steps']} steps a run, the first {setup['warmup_steps']} not counted; "
        f"{setup['rounds']} round. Ratios are to `sync`, stock verl with its poll mended."
    )
    for group in bench["groups"]:
        yield f"### {group['workload']}, {group['batch']}"
        yield _rates(group["methods"])
        yield _seconds(group["methods"])
    for failure in bench["failures"]:
        yield f"Failed: {failure['key']}: {failure['reason']}"


def _rates(methods: Sequence[Mapping[str, Any]]) -> str:
    heads = ["method"]
    for head, _, _ in RATES:
        heads += [head, *(["x sync"] if head in RATIOS else [])]
    heads.append("limit slots / cost")
    return _markdown(heads, [_rate_row(each) for each in methods])


def _rate_row(method: Mapping[str, Any]) -> list[str]:
    row = [f"`{method['method']}`"]
    for head, metric, digits in RATES:
        scale = 1000 if metric == "decode_step_s" else 1
        row.append(_median(method["values"].get(metric), digits, scale=scale))
        if head in RATIOS:
            row.append(_median(method["ratios"].get(RATIOS[head]), 2))
    limits = [method["limits"].get(kind) for kind in ("slots", "cost")]
    return [*row, " / ".join(f"{each['step']:.2f}" if each else UNKNOWN for each in limits)]


def _seconds(methods: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [f"`{each['method']}`", *(_number(each["waterfall"].get(piece), 2) for piece in PIECES)]
        for each in methods
    ]
    return _markdown(["seconds of a step", *(piece.replace("_", " ") for piece in PIECES)], rows)


def _planner(result: Mapping[str, Any]) -> str:
    stages = result["stages"]
    if stages.get("validate", {}).get("code") != 0:
        told = (result["validate"] or "").strip().splitlines()[-1:] or ["not run"]
        return f"### Planner\n\nNo prediction: {told[0]}"
    return f"### Planner: predicted beside measured\n\n{result['validate'].strip()}"


def _stages(result: Mapping[str, Any]) -> str:
    rows = [
        [name, f"{stage['seconds']:.0f}", str(stage["code"])]
        for name, stage in result["stages"].items()
    ]
    return "### Stages\n\n" + _markdown(["stage", "seconds", "exit code"], rows)


def _median(spread: Mapping[str, float] | None, digits: int, *, scale: float = 1) -> str:
    return _number(None if spread is None else scale * spread["median"], digits)


def _number(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
