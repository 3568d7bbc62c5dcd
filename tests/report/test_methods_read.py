"""Run folders become methods; what differs by its seed alone is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from copris_core.report.config_leaves import differences, flatten, settings, without_seed
from copris_core.report.methods_read import (
    PLAN_FILE,
    distinct,
    finished_runs,
    group_runs,
    labelled_runs,
    read_methods,
)
from copris_core.report.run_folder import RunFolder, write_json
from tests.report.compare_house import run_of

BASE: dict[str, Any] = {"mini_batches": 2, "run": {"dir": "x"}, "trainer": {"save_freq": 2}}


def write_run(folder: Path, *, experiment: str = "grpo", seed: int = 0, **config: Any) -> Path:
    folder.mkdir(parents=True)
    known = run_of(experiment=experiment, seed=seed)
    run = RunFolder(path=folder)
    for row in known.rows:
        run.append_metrics({key: x for key, x in row.items() if x is not None})
    write_json(run.summary_path, known.summary.to_json())
    seeds = {"seed": seed, "data": {"seed": seed}, "actor": {"fsdp_config": {"seed": seed}}}
    run.write_config(yaml.safe_dump({**BASE, **seeds, **config}))
    return folder


def test_runs_that_differ_by_seed_and_place_alone_are_one_method(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / "a", seed=1, run={"dir": "there"}, trainer={"save_freq": -1}),
        write_run(tmp_path / "b", experiment="copris"),
        write_run(tmp_path / "c", seed=0),
    ]
    methods = read_methods(group_runs(labelled_runs(folders)))
    assert [(x.label, x.seeds) for x in methods] == [("grpo", (0, 1)), ("copris", (0,))]


@pytest.mark.parametrize("other", [{"mini_batches": 4}, {"task": {"seed": 1}}])
def test_another_setting_makes_another_method(tmp_path: Path, other: dict[str, Any]) -> None:
    folders = [write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=1, **other)]
    assert [x for x, _ in group_runs(labelled_runs(folders))] == ["grpo", "grpo #2"]


def test_the_same_seed_twice_is_a_repeat_with_a_name_of_its_own(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name) for name in "abc"]
    groups = group_runs(labelled_runs(folders))
    assert [x for x, _ in groups] == ["grpo", "grpo #2", "grpo #3"]
    assert [x for _, x in groups] == [[folder] for folder in folders]


def test_a_comparisons_folder_gives_its_runs_in_its_order_under_its_labels(tmp_path: Path) -> None:
    labels = {}
    for label, place in (("grpo", "grpo"), ("cppo P=.75", "cppo-75"), ("alone", "alone")):
        for seed in (0, 1):
            write_run(tmp_path / place / f"seed_{seed}", seed=seed, mini_batches=len(label))
            labels[f"{place}/seed_{seed}"] = label
    write_json(tmp_path / PLAN_FILE, {"version": 1, "labels": labels})
    methods = read_methods(group_runs(labelled_runs([tmp_path])))
    assert [(x.label, x.seeds) for x in methods] == [
        ("grpo", (0, 1)),
        ("cppo P=.75", (0, 1)),
        ("alone", (0, 1)),
    ]


def test_an_unfinished_run_in_a_folder_is_left_out(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "grpo" / "20260101-000000")
    (tmp_path / "grpo" / "20260102-000000").mkdir()
    assert finished_runs(tmp_path) == [whole]
    assert finished_runs(whole) == [whole]
    with pytest.raises(ValueError, match="holds no finished run"):
        labelled_runs([tmp_path / "grpo" / "20260102-000000"])


def test_two_runs_of_one_seed_cannot_stand_under_one_label(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name) for name in "ab"]
    with pytest.raises(ValueError, match=r"grpo has two runs of one seed \[0, 0\]"):
        read_methods([("grpo", folders)])


def test_a_label_without_a_finished_run_is_left_out() -> None:
    assert read_methods([("grpo", [])]) == ()


def test_the_ledger_and_the_machine_are_read_where_they_are(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    [(run,)] = [x.runs for x in read_methods([("grpo", [folder])])]
    assert run.audit is None
    assert run.machine == {}
    write_json(folder / "machine.json", {"cpu": "x"})
    (folder / "ledger.jsonl").write_text('{"seq": 0, "event": "drawn", "version": 0, "uid": "a"}\n')
    [(run,)] = [x.runs for x in read_methods([("grpo", [folder])])]
    assert run.audit is not None
    assert run.audit.groups["drawn"] == 1
    assert run.machine == {"cpu": "x"}


def test_namesakes_are_numbered() -> None:
    assert distinct(["a", "b", "a", "a #2", "a"]) == ["a", "b", "a #2", "a #2 #2", "a #3"]


def test_settings_leave_out_places_and_keep_the_rows_seed() -> None:
    config = {"seed": 3, "a": {"b": None, "x_seed": 1}, "task": {"seed": 5}, "run": {"dir": "x"}}
    assert flatten(config)["a.b"] == "null"
    assert without_seed(settings(config)) == {"a.b": "null", "task.seed": "5"}


def test_differing_keys_are_listed_with_a_hyphen_where_absent() -> None:
    assert differences([{"a": "1", "b": "2"}, {"a": "1", "c": "3"}]) == [
        ["b", "2", "-"],
        ["c", "-", "3"],
    ]
