"""Several experiments one after another, same seed and data order, and one report about them."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from copris_core.report.run_folder import read_json
from copris_core.report.summary import Summary
from copris_core.report.table import comparison_table
from copris_core.report.write import write_report
from copris_core.verl_adapter import door, launch
from copris_core.verl_adapter.check import check
from copris_core.verl_adapter.quoting import path_override


def compare(experiments: Sequence[str], overrides: Sequence[str], out: Path) -> int:
    """Train each experiment, the first being the baseline; write the report into ``out``.

    All of them are checked before the first one starts.

    Args:
        experiments: names under configs/experiment; a name may come twice.
        overrides: Hydra overrides, the same for all.
        out: folder of the report; runs go to ``<out>/<experiment>/<time>``.

    Raises:
        ConfigError: an experiment or an override is wrong.
        TrainingError: a run died; the runs before it stay in ``out``.
    """
    console = Console()
    place = path_override("run.root", out)
    entered = [door.enter([f"experiment={name}", *overrides, place]) for name in experiments]
    for cfg, run in entered:
        console.print(f"[bold]{run.experiment_name}[/bold]")
        for line in check(run, cfg):
            console.print(line, highlight=False, soft_wrap=True)
    folders = [launch.train(cfg, run) for cfg, run in entered]
    paths = write_report(folders, out, on_torn=console.print)
    summaries = [Summary.from_json(read_json(folder / "summary.json")) for folder in folders]
    console.print(comparison_table(summaries))
    for note in read_json(paths.json)["notes"]:
        console.print(f"- {note}", highlight=False)
    console.print(f"\n{paths.page}\n{paths.picture}\n{paths.json}", highlight=False, soft_wrap=True)
    return 0
