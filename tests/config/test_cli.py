"""The command's words, exit codes and helps."""

import json
from pathlib import Path

import pytest

from copris_core import cli
from copris_core.tasks import TaskDataError
from copris_core.verl_adapter.errors import TrainingError


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_without_a_command_the_commands_are_listed(words, capsys):
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if f"copris {name}" not in told] == []


@pytest.mark.parametrize("command", cli.COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself_and_does_nothing_else(command, flag, capsys):
    assert cli.main([command, "seed=1", flag]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"copris {command} ")
    assert ("experiment=grpo|copris|cppo|prorl|dapo" in told) == (
        command in ("check", "train", "compare")
    )


def test_an_unknown_command_is_one_line_and_exit_2(capsys):
    assert cli.main(["trian"]) == 2
    assert capsys.readouterr().err == (
        f"copris: unknown command trian: use {', '.join(cli.COMMANDS)}\n"
    )


def test_a_users_error_is_one_line_on_stderr_and_exit_2(capsys):
    assert cli.main(["compare", "seed=1"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("copris: name the experiments")
    assert told.err.count("\n") == 1


def _raise(error: BaseException) -> int:
    raise error


def test_ctrl_c_is_exit_130_without_a_word(capsys):
    assert cli.guarded(lambda words: _raise(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr() == ("", "")


def test_a_bad_data_file_is_one_line_and_exit_2(capsys):
    assert cli.guarded(lambda words: _raise(TaskDataError("rows.jsonl:2: not JSON")), []) == 2
    assert capsys.readouterr().err == "copris: rows.jsonl:2: not JSON\n"


def test_a_run_that_died_is_one_line_and_exit_1(capsys):
    assert cli.guarded(lambda words: _raise(TrainingError("out of memory")), []) == 1
    assert capsys.readouterr().err == "copris: out of memory\n"


@pytest.mark.parametrize("name", ["hydra", "matplotlib", "psutil"])
def test_a_missing_stack_is_one_line_with_the_mend(name, capsys):
    missing = ModuleNotFoundError(f"No module named '{name}'", name=name)
    assert cli.guarded(lambda words: _raise(missing), []) == 2
    assert f"{name} is missing: pip install 'copris[cpu]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("No module named 'nope'", name="nope"), ValueError("ours")]
)
def test_what_the_user_cannot_mend_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        cli.guarded(lambda words: _raise(error), [])


@pytest.mark.verl
def test_check_prints_and_exits_0(capsys):
    assert cli.main(["check", "experiment=copris"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("copris, seed 0\n")
    assert "32/32 = 1.00" in told


@pytest.mark.verl
@pytest.mark.parametrize("command", ["check", "train"])
@pytest.mark.parametrize("wrong", ["seeed=1", "mini_batches=5", "task.rows=0"])
def test_a_wrong_choice_ends_check_and_train_alike_before_anything_starts(command, wrong, capsys):
    assert cli.main([command, wrong]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("copris: ")
    assert told.err.count("\n") == 1


@pytest.mark.verl
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "strategy.concurrency=0 samples nothing"),
        (["experiment=grpo"], "strategy.concurrency=0 does nothing with strategy=sync"),
    ],
)
def test_a_recipe_alone_trains_its_own_experiment_unless_another_is_named(words, line, capsys):
    assert cli.run_recipe("copris", [*words, "strategy.concurrency=0"]) == 2
    assert line in capsys.readouterr().err


def _ledger(folder: Path, *lines: str) -> Path:
    (folder / "ledger.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder


DRAWN = '{"seq": 0, "event": "drawn", "version": 0, "uid": "a"}'
HELD = '{"seq": 1, "event": "checkpoint", "version": 0, "step": 1, "live": ["a"]}'
NOT_HELD = '{"seq": 1, "event": "checkpoint", "version": 0, "step": 1, "live": []}'


@pytest.mark.parametrize(
    ("line", "code", "verdict"), [(HELD, 0, "0 lost"), (NOT_HELD, 1, "1 lost")]
)
def test_audit_exits_with_1_when_something_was_lost(line, code, verdict, tmp_path, capsys):
    assert cli.main(["audit", str(_ledger(tmp_path, DRAWN, line))]) == code
    assert verdict in capsys.readouterr().out


def test_audit_takes_the_ledger_itself_and_prints_json(tmp_path, capsys):
    ledger = _ledger(tmp_path, DRAWN, HELD) / "ledger.jsonl"
    assert cli.main(["audit", "--json", str(ledger), "--rows", "5"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"]["live"] == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "name one run folder"),
        (["a", "b"], "name one run folder"),
        (["--jsn"], "name one run folder"),
        (["a", "--rows"], "--rows needs the number of rows"),
        (["a", "--rows", "0"], "--rows needs the number of rows"),
        (["nowhere"], "no ledger at nowhere"),
    ],
)
def test_audit_refuses_what_it_cannot_read_in_one_line(words, line, capsys):
    assert cli.main(["audit", *words]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"copris: {line}")
    assert (told.out, told.err.count("\n")) == ("", 1)


def test_an_empty_ledger_is_the_users_error(tmp_path, capsys):
    assert cli.main(["audit", str(_ledger(tmp_path))]) == 2
    assert "has not drawn one yet" in capsys.readouterr().err
