"""The words of `copris plan`: what it prints and writes, and one line for whatever is wrong."""

import json
import sys
from pathlib import Path

import pytest

from copris_core import cli
from copris_core.simulator import paper_scaling

pytestmark = pytest.mark.slow  # whole sweeps of the simulator

QUICK = ["--prompts", "2", "--group-size", "4", "--concurrency", "8,12", "--stages", "6"]


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def plan(*words: str) -> int:
    return cli.main(["plan", *words])


def test_a_plan_is_a_table_words_a_picture_and_an_object(tmp_path, capsys):
    assert plan(*QUICK, "--out", "here") == 0
    told = capsys.readouterr().out
    for name in ("sync", "naive_partial", "oversample", "copris", "copris_adaptive"):
        assert name in told
    content = json.loads((tmp_path / "here" / "plan.json").read_text())
    assert (content["engine_name"], content["is_estimate"]) == ("cpu-2-cores", False)
    assert {each["concurrency"] for each in content["predictions"]} >= {8, 12}
    flat = " ".join(told.split())
    assert all(" ".join(words.split()) in flat for words in content["words"])
    assert (tmp_path / "here" / "plan.png").read_bytes().startswith(b"\x89PNG")
    assert max(map(len, told.splitlines())) <= 100 + len("engine   ") * 3


def test_without_the_drawing_package_it_is_one_line_and_exit_2(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert plan(*QUICK) == 2
    told = capsys.readouterr()
    assert told.err.startswith("copris: matplotlib is missing: pip install")
    assert told.err.count("\n") == 1


def test_the_paper_is_simulated_with_the_shipped_unknowns_or_with_those_fitted_anew(
    capsys, monkeypatch
):
    newly = paper_scaling.Unknowns(median=900.0, rest_s=77.0)
    efforts = []
    monkeypatch.setattr(paper_scaling, "fit", lambda *, effort: efforts.append(effort) or newly)
    monkeypatch.setattr(paper_scaling, "table", _rows)
    assert plan("paper", "--quick", "--fit") == 0
    told = capsys.readouterr().out
    assert ("| 900.00x |" in told, "a median of 900 tokens" in told, "77 s" in told) == (True,) * 3
    assert plan("paper") == 0
    told = capsys.readouterr().out
    assert ("| 1120.00x |" in told, "a median of 1120 tokens" in told) == (True, True)
    assert efforts == [paper_scaling.QUICK]


def _rows(unknowns, *, effort):
    """Each point's ratio tells which unknowns were asked for."""
    return [
        paper_scaling.Row(point=point, sync_s=unknowns.median, copris_s=1.0)
        for point in paper_scaling.POINTS
    ]


def test_without_a_folder_it_goes_where_plans_go(tmp_path):
    assert plan(*QUICK) == 0
    assert (tmp_path / "runs" / "plan" / "plan.json").is_file()


def test_json_prints_the_object_of_the_file_and_nothing_else(tmp_path, capsys):
    assert plan(*QUICK, "--json", "--staleness-cap", "1", "--max-lag", "2") == 0
    content = json.loads(capsys.readouterr().out)
    assert content == json.loads((tmp_path / "runs/plan/plan.json").read_text())
    assert (content["staleness_cap"], content["max_lag"]) == (1.0, 2)


def test_every_word_reaches_the_question(capsys):
    words = ["--median", "20", "--sigma", "0.5", "--cap", "99", "--prompt-tokens", "7"]
    assert plan(*QUICK, *words, "--replicas", "3", "--seed", "5", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["seed"] == 5
    assert content["engine"]["replicas"] == 3
    workload = content["workload"]
    assert (workload["prompts"], workload["group_size"], workload["prompt_tokens"]) == (2, 4, 7)
    assert workload["lengths"]["longest"] <= 99
    assert {each["stages"] for each in content["predictions"]} == {6}


@pytest.mark.slow
def test_an_estimate_is_called_one(capsys):
    words = ["--preset", "h100-7b", "--concurrency", "512", "--stages", "1", "--prompts", "32"]
    assert plan(*words) == 0
    assert "The engine is an estimate, nothing was measured for it" in capsys.readouterr().out


def test_an_engine_file_brings_its_trainer_along(tmp_path, capsys):
    from copris_core.simulator.engine_file import EngineFile, write_engine
    from copris_core.simulator.presets import CPU_2_CORES

    engine = EngineFile(
        name="mine",
        is_estimate=False,
        engine=CPU_2_CORES.engine,
        update_s=7.5,
        update_token_s=0.0,
    )
    write_engine(engine, tmp_path / "engine.yaml")
    assert plan(*QUICK, "--engine", "engine.yaml", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["engine_name"] == "mine"
    assert {each["update_s"] for each in content["predictions"]} == {7.5}


@pytest.mark.slow
def test_the_events_of_the_chosen_run_are_the_same_every_time(tmp_path):
    for name in ("a", "b"):
        assert plan(*QUICK, "--events", f"{name}.jsonl") == 0
    first, second = ((tmp_path / f"{name}.jsonl").read_bytes() for name in ("a", "b"))
    assert first == second
    assert json.loads(first.splitlines()[0])["event"] == "opened"


def test_lengths_are_fitted_written_and_taken_by_a_plan(tmp_path, capsys):
    Path("list.txt").write_text("".join(f"{length}\n" for length in [10, 20, 20, 40, 80] * 20))
    assert plan("lengths", "list.txt", "--out", "mine/lengths.yaml") == 0
    told = capsys.readouterr().out
    assert told.startswith("100 responses: lognormal, median ")
    assert "quantile   measured   fitted   error" in told
    assert (tmp_path / "mine" / "lengths.yaml").is_file()
    assert plan(*QUICK, "--lengths", "mine/lengths.yaml", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["workload"]["lengths"]["longest"] <= 80


@pytest.mark.parametrize("kind", ["lognormal", "empirical"])
def test_the_kind_of_lengths_may_be_chosen(tmp_path, kind):
    Path("list.txt").write_text("[10, 20, 40]")
    assert plan("lengths", "list.txt", "--kind", kind) == 0
    assert f"kind: {kind}\n" in (tmp_path / "lengths.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--preset", "h100-7"], "--preset h100-7 is unknown: do you mean h100-7b?"),
        (["--preset", "zzz"], "--preset zzz is unknown: use one of cpu-2-cores, "),
        (["--engine", "engine.yaml"], "no engine file at engine.yaml: write one with copris plan"),
        (["--engine", "a", "--preset", "b"], "argument --preset: not allowed with argument --eng"),
        (["--median", "abc"], "argument --median: invalid float value: 'abc'"),
        (["--median", "-5"], "lengths need a median of at least 1 token, got -5"),
        (["--median", "60", "--cap", "10"], "lengths need a cap of at least their median, got a"),
        (["--sigma", "-1"], "lengths need a sigma of at least 0, got -1"),
        (["--lengths", "no.txt"], "no lengths at no.txt: give a run's metrics.jsonl or a list"),
        (["--lengths", "no.yaml"], "no lengths at no.yaml: write them with copris plan lengths"),
        (["--lengths", "x", "--median", "3"], "--lengths says it all"),
        (["--prompts", "0"], "a batch needs at least one prompt"),
        (["--group-size", "-1"], "a batch needs at least one prompt"),
        (["--replicas", "0"], "an engine needs a replica, a batch and a KV cache"),
        (["--prompt-tokens", "-3"], "a prompt of -3 tokens cannot be"),
        (["--concurrency", "0,8"], "argument --concurrency: 0 in flight sample nothing"),
        (["--concurrency", "8,x"], "argument --concurrency: '8,x' is no list of numbers such as"),
        (["--concurrency", "99999"], "N'=99999 does not fit: 1 x "),
        (["--cap", "500000", "--median", "450000"], "does not fit into a KV cache of"),
        (["--staleness-cap", "0"], "a cap of 0 interruptions a response allows fewer than 8"),
        (["--max-lag", "-1"], "max_lag=-1 is negative"),
        (["--stages", "0"], "stages=0 count nothing"),
        (["--seed", "-1"], "--seed -1: use 0 or more"),
        (["--wrong"], "unrecognized arguments: --wrong; see copris plan --help"),
        (["legnths", "x"], "copris plan has no legnths: do you mean lengths?"),
        (["runs"], "copris plan has no runs: use lengths, calibrate, validate, paper, or flags"),
        (["lengths"], "the following arguments are required: file; see copris plan lengths"),
        (["lengths", "gone.txt"], "no lengths at gone.txt"),
        (["lengths", "empty.txt"], "empty.txt is empty: give one length in tokens a line"),
        (["lengths", "bad.txt"], "bad.txt line 2: 'x' is no whole number of tokens"),
        (["lengths", "list.txt", "--cap", "5"], "a response of 9 tokens is longer than the cap"),
        (["lengths", "list.txt", "--kind", "normal"], "argument --kind: invalid choice: 'normal'"),
        (["calibrate", "run", "seed=1"], "seed=1 is for runs that calibrate starts"),
        (["calibrate", "run", "--vllm-metrics", "x"], "runs and --vllm-metrics tell the same"),
        (["calibrate", "gone"], "gone"),
        (["validate"], "the following arguments are required: bench"),
        (["validate", "gone"], "gone"),
        (["paper", "now"], "unrecognized arguments: now"),
        (["--events", "gone/e.jsonl", *QUICK], "No such file or directory: 'gone/e.jsonl'"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(words, line, capsys):
    Path("empty.txt").write_text("")
    Path("bad.txt").write_text("3\nx\n")
    Path("list.txt").write_text("3\n9\n")
    assert plan(*words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("copris: ")
    assert line in told.err
    assert told.err.count("\n") == 1
