"""The words of ``copris data``, what it prints, and its exit codes."""

from pathlib import Path

import pytest

from copris_core import cli
from copris_core.cli_data import DATA_HELP, split_data
from copris_core.tasks import data_sets
from copris_core.tasks.data_sets import PRORL_SIZES, DataRequest, DataSets, DomainSet

MAKE = ("make", "prorl", "--out", "sets")


def test_without_further_words_the_sets_are_those_of_prorl(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = split_data(MAKE)
    assert told.request == DataRequest(sizes=PRORL_SIZES)
    assert (told.out, told.check) == (tmp_path / "sets", 1000)


def test_words_are_read():
    told = split_data(
        [
            *("make", "prorl", "--out", "/x", "--sizes", "math=400, logic=370", "--seed", "3"),
            *("--validation", "50", "--math-path", "m.jsonl", "--check", "all"),
        ]
    )
    assert told.request == DataRequest(
        sizes={"math": 400, "logic": 370}, validation=50, seed=3, math_path="m.jsonl"
    )
    assert (told.out, told.check) == (Path("/x"), None)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "copris data knows one word: copris data make prorl --out DIR"),
        ("prorl", "copris data knows one word"),
        ("make", "the following arguments are required: recipe, --out; see copris data --help"),
        ("make dapo --out x", "argument recipe: invalid choice: 'dapo'"),
        ("make prorl", "the following arguments are required: --out"),
        ("make prorl --out x --size logic=3", "unrecognized arguments: --size logic=3"),
        ("make prorl --out x --sizes logic", "--sizes logic: write each domain once, as math=400"),
        ("make prorl --out x --sizes logic=x", "--sizes logic=x: write each domain once"),
        ("make prorl --out x --sizes stem=1,stem=2", "--sizes stem=1,stem=2: write each domain"),
        ("make prorl --out x --sizes lgic=3", "unknown domain 'lgic': did you mean 'logic'?"),
        ("make prorl --out x --sizes stem=0", "stem=0: set it to 1 or more, or leave it out"),
        ("make prorl --out x --validation 0", "validation 0: set it to 1 or more"),
        ("make prorl --out x --seed two", "argument --seed: invalid int value: 'two'"),
        ("make prorl --out x --check 0", "--check 0: give a whole number of 1 or more, or all"),
        ("make prorl --out . --sizes stem=3", ". is not empty: give a new folder"),
        ("make prorl --out x --sizes math=3 --math-path no.jsonl", "no.jsonl: no such file"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_exit_2(words, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    assert cli.main(["data", *words.split()]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert line.replace(". is not", f"{tmp_path} is not") in told.err
    assert told.err.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("is_new", [True, False])
def test_counts_are_printed_with_the_command_that_trains_on_them(is_new, monkeypatch, capsys):
    made = DataSets(
        domains=(
            DomainSet(domain="code", train=240, prompts=231, validation=164, checked=404),
            DomainSet(domain="logic", train=370, prompts=370, validation=200, checked=0),
        ),
        is_new=is_new,
    )
    monkeypatch.setattr(data_sets, "make_data_sets", lambda request, out, *, check: made)
    assert cli.main(["data", "make", "prorl", "--out", "/x/sets"]) == 0
    told = capsys.readouterr().out
    rows = [line.split() for line in told.splitlines()]
    assert ["code", "240", "231", "164", "404"] in rows
    assert ["logic", "370", "370", "200", "none", "known"] in rows
    assert ["all", "610", "364"] in rows
    assert ("made" if is_new else "already there, unchanged") in told
    assert "copris train task=file task.path=/x/sets/train.parquet task.val_path=/x/sets/" in told


def test_the_help_tells_every_word(capsys):
    assert cli.main(["data", "--help"]) == 0
    told = capsys.readouterr().out
    assert told == DATA_HELP
    words = ("--out", "--sizes", "--validation", "--seed", "--math-path", "--check")
    assert [word for word in (*words, *PRORL_SIZES) if word not in told] == []
