"""The words of ``copris compare``."""

from pathlib import Path

import pytest

from copris_core import cli
from copris_core.cli_compare import split_compare
from copris_core.verl_adapter.compare_plan import Asked, Entry, is_override, seeds_of
from copris_core.verl_adapter.errors import ConfigError


def _entries(*words: str) -> list[tuple[str, tuple[str, ...], str, str]]:
    return [(x.name, x.overrides, x.label, x.folder) for x in split_compare(words).entries]


def test_names_overrides_and_flags_are_told_apart():
    asked = split_compare(["--out", "here", "grpo", "seed=1", "cppo", "+a.b=c"])
    assert asked == Asked(
        entries=(
            Entry(name="grpo", overrides=(), label="grpo"),
            Entry(name="cppo", overrides=(), label="cppo"),
        ),
        places=(),
        places_first=False,
        overrides=("seed=1", "+a.b=c"),
        seeds=None,
        out=Path("here"),
        words=("--out", "here", "grpo", "seed=1", "cppo", "+a.b=c"),
    )


def test_an_out_folder_of_any_name_is_no_override():
    asked = split_compare(["grpo", "~a", "--out", "x=y"])
    assert (asked.out, asked.overrides) == (Path("x=y"), ("~a",))


def test_of_a_flag_given_twice_the_later_value_wins():
    assert split_compare(["--out", "a", "grpo", "--out", "b"]).out == Path("b")


def test_without_out_the_report_goes_to_runs_compare():
    assert split_compare(["grpo", "copris"]).out == Path("runs/compare")


def test_overrides_of_one_experiment_make_its_label_and_its_folder():
    assert _entries("cppo", "cppo pruning.pruning_rate=0.75  mini_batches=1") == [
        ("cppo", (), "cppo", "cppo"),
        (
            "cppo",
            ("pruning.pruning_rate=0.75", "mini_batches=1"),
            "cppo pruning_rate=0.75 mini_batches=1",
            "cppo-pruning_rate-0.75-mini_batches-1",
        ),
    ]


def test_an_entry_may_be_called_as_one_likes():
    assert _entries("cppo pruning.pruning_rate=3/4 as cppo75") == [
        ("cppo", ("pruning.pruning_rate=3/4",), "cppo75", "cppo75")
    ]


def test_blanks_within_quotes_belong_to_a_value():
    [(_, overrides, *_)] = _entries('grpo task.path="my rows.jsonl" seed=1 as mine')
    assert overrides == ('task.path="my rows.jsonl"', "seed=1")


def test_the_same_experiment_twice_is_a_repeat_with_a_folder_of_its_own():
    assert [(label, folder) for *_, label, folder in _entries("grpo", "grpo", "grpo")] == [
        ("grpo", "grpo"),
        ("grpo #2", "grpo-2"),
        ("grpo #3", "grpo-3"),
    ]


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", (0, 1, 2)), ("0,1,2", (0, 1, 2)), ("7,", (7,)), ("4, 2", (4, 2))]
)
def test_seeds_are_a_number_or_a_list(text, seeds):
    assert seeds_of(text) == seeds
    assert split_compare(["grpo", "--seeds", text]).seeds == seeds


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A run at ``a``, a comparison at ``b`` and another folder named as an experiment."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "grpo", "sub/c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "summary.json").touch()
    (tmp_path / "b" / "compare.json").touch()


@pytest.mark.usefixtures("runs")
def test_folders_with_runs_are_read_and_an_experiment_stays_one_beside_a_folder_of_its_name():
    asked = split_compare(["a", "grpo", "b", "sub/c"])
    assert asked.places == (Path("a"), Path("b"), Path("sub/c"))
    assert [x.name for x in asked.entries] == ["grpo"]
    assert asked.places_first
    assert not split_compare(["grpo", "a"]).places_first


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["seed=1"], "name the experiments to compare: copris compare grpo copris cppo"),
        ([], "name the experiments to compare"),
        ([""], "name the experiments to compare"),
        (["grpo", "--out"], "--out needs a folder: --out runs/mine"),
        (["grpo", "--seeds"], "--seeds needs a number or a list: --seeds 3"),
        (["grpo", "--seeds", "x"], "--seeds x: give a number of seeds, or a list such as 0,1,2"),
        (["grpo", "--seeds", "0"], "--seeds 0: give 1 or more seeds, each once"),
        (["grpo", "--seeds", "1,1"], "--seeds 1,1: give 1 or more seeds, each once"),
        (["grpo", "--seeds", "2", "seed=1"], "seed=1: --seeds sets it for each run"),
        (["grpo seed=1", "--seeds", "2"], "seed=1: --seeds sets it for each run"),
        (["grpo", "--sed"], "unknown flag --sed: see copris compare --help"),
        (["grpo", "experiment=copris"], "experiment=copris: compare sets it for each run"),
        (["grpo experiment=copris"], "experiment=copris: compare sets it for each run"),
        (["grpo", "run.dir=x"], "run.dir=x: compare sets it for each run"),
        (["grpo", "+run.root=x"], "[+]run.root=x: compare sets it for each run"),
        (["grpo", "runs/nope"], "no run folder runs/nope: name an experiment, or a folder"),
        (["grpo copris"], "'grpo copris': copris is no key=value"),
        (["grpo as"], "'grpo as': end it with 'as NAME'"),
        (["grpo as x y"], "'grpo as x y': end it with 'as NAME'"),
        (["grpo as x", "copris as x"], "'x' needs a name of its own"),
        (["grpo as #"], "'#' needs a name of its own"),
        (["a", "seed=1"], "seed=1 is for training: name an experiment too, or leave it out"),
        (["a", "--seeds", "2"], "--seeds is for training: name an experiment too"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line_with_its_mend(words, line, capsys):
    with pytest.raises(ConfigError, match=f"^{line}"):
        split_compare(words)
    assert cli.main(["compare", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_first_word_alone_tells_an_override_from_an_entry():
    assert is_override("a.b=c")
    assert is_override('a="x y"')
    assert is_override("+a=b")
    assert not is_override("cppo a=b")
