"""The sub-words of ``copris plan``: what a plan stands on, and what it is worth."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from copris_core.simulator.engine_file import EngineFile
    from copris_core.simulator.lengths_file import Measured

CALIBRATION_RUNS: Final = Path("runs/calibration")
"""Where the short runs go that ``copris plan calibrate`` starts by itself."""


class Words(argparse.ArgumentParser):
    """Says what is wrong as an error, in one line, instead of ending the process."""

    def __init__(self, command: str) -> None:
        """``command`` is what the user typed, for the hint."""
        super().__init__(prog=command, add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong.

        Raises:
            ConfigError: always.
        """
        from copris_core.verl_adapter.errors import ConfigError

        raise ConfigError(f"{message}; see {self.prog} --help")


def _fit_lengths(words: list[str]) -> int:
    """``copris plan lengths``: prints the fit, writes lengths.yaml."""
    from copris_core.simulator.lengths_file import LENGTHS_FILE, measure, to_yaml

    parser = Words("copris plan lengths")
    parser.add_argument("file", type=Path)
    parser.add_argument("--cap", type=int)
    parser.add_argument("--kind", choices=("lognormal", "empirical"))
    parser.add_argument("--out", type=Path, default=Path(LENGTHS_FILE))
    asked = parser.parse_args(words)
    measured = measure(asked.file, cap=asked.cap)
    lengths = measured.best if asked.kind is None else measured.of_kind(asked.kind)
    heading = f"{measured.fit.num} responses of {asked.file.name}, fitted by copris plan lengths"
    text = to_yaml(lengths, heading=heading)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(text, encoding="utf-8")
    sys.stdout.write(
        "\n".join([*fit_lines(measured), f"{asked.out} ({text.splitlines()[1]})"]) + "\n"
    )
    return 0


def fit_lines(measured: "Measured") -> list[str]:
    """The fit and its goodness, measured beside fitted."""
    fit = measured.fit
    lengths, at_cap = fit.lengths, fit.share_at_cap
    known = "not measured" if at_cap is None else f"measured {at_cap:.1%}"
    lines = [
        f"{fit.num} responses: lognormal, median {lengths.median:.4g}, sigma {lengths.sigma:.3g}, "
        f"cap {lengths.cap}, of the variance {lengths.prompt_share:.0%} by the prompt",
        f"at the cap: {known}, fitted {fit.fitted_share_at_cap:.1%}",
        "quantile   measured   fitted   error",
    ]
    lines += [
        f"{each.part:8.1%} {each.measured:10.0f} {each.fitted:8.0f} {each.error:+7.1%}"
        for each in fit.quantiles
    ]
    verdict = "the lognormal stands for the lengths" if fit.is_good else "the lognormal fits badly"
    lines.append(f"worst error {fit.worst_error:.1%}: {verdict}")
    return lines


def _calibrate(words: list[str]) -> int:
    """``copris plan calibrate``: from runs, from scrapes, or from short runs of its own."""
    from copris_core.simulator.engine_file import ENGINE_FILE, to_yaml, write_engine

    parser = Words("copris plan calibrate")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--vllm-metrics", type=Path)
    parser.add_argument("--kv-tokens", type=int)
    parser.add_argument("--out", type=Path, default=Path(ENGINE_FILE))
    asked = parser.parse_args(words)
    overrides = [word for word in asked.words if "=" in word]
    runs = [Path(word) for word in asked.words if word not in overrides]
    if overrides and (runs or asked.vllm_metrics):
        parser.error(
            f"{overrides[0]} is for runs that calibrate starts: name no run, or leave it out"
        )
    if runs and asked.vllm_metrics:
        parser.error("runs and --vllm-metrics tell the same: give one of them")
    measured = _calibrated(asked, runs, overrides)
    write_engine(measured, asked.out)
    sys.stdout.write(f"{to_yaml(measured)}{asked.out}\n")
    return 0


def _calibrated(
    asked: argparse.Namespace, runs: Sequence[Path], overrides: Sequence[str]
) -> "EngineFile":
    from copris_core.simulator.calibrate import calibrate
    from copris_core.simulator.vllm_metrics import calibrate_scrapes

    if asked.vllm_metrics is not None:
        return calibrate_scrapes(asked.vllm_metrics)
    if not runs:
        from copris_core.verl_adapter.calibration_run import calibration_runs

        runs = calibration_runs(CALIBRATION_RUNS, overrides=overrides)
    return calibrate(runs, kv_tokens=asked.kv_tokens)


def _validate(words: list[str]) -> int:
    """``copris plan validate``: predicted beside measured step times."""
    from copris_core.simulator.engine_file import read_engine
    from copris_core.simulator.validate import markdown, validate

    parser = Words("copris plan validate")
    parser.add_argument("bench", type=Path)
    parser.add_argument("--engine", type=Path)
    asked = parser.parse_args(words)
    engine = None if asked.engine is None else read_engine(asked.engine)
    sys.stdout.write(markdown(validate(asked.bench, engine)))
    return 0


def _paper(words: list[str]) -> int:
    """``copris plan paper``: the published speed-ups beside the simulated ones."""
    from copris_core.simulator.paper_scaling import FITTED, FULL, QUICK, fit, markdown, table

    parser = Words("copris plan paper")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fit", action="store_true")
    asked = parser.parse_args(words)
    effort = QUICK if asked.quick else FULL
    unknowns = fit(effort=effort) if asked.fit else FITTED
    sys.stdout.write(markdown(table(unknowns, effort=effort), unknowns))
    return 0


SUB_WORDS: Final[dict[str, Callable[[list[str]], int]]] = {
    "lengths": _fit_lengths,
    "calibrate": _calibrate,
    "validate": _validate,
    "paper": _paper,
}
