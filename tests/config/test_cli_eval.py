"""The words of `copris eval`, and one line for whatever is wrong with them."""

import shlex
from pathlib import Path

import pytest

from copris_core import cli
from copris_core.cli_eval import EVAL_HELP, _parser, split_eval
from copris_core.verl_adapter import eval_settings
from copris_core.verl_adapter.errors import ConfigError

ROOT = Path(__file__).parents[2]
LEAST = ("runs/mine", "--task", "days")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eval_settings, "platform_here", lambda: "cpu")  # torch takes seconds


def test_the_least_is_a_model_and_a_task() -> None:
    asked = split_eval([*LEAST, "--platform", "cpu"])
    assert (asked.model, [each.name for each in asked.benchmarks]) == ("runs/mine", ["days"])
    assert (asked.n, asked.temperature, asked.top_p, asked.top_k) == (1, 0.6, 0.95, -1)
    assert (asked.max_tokens, asked.rows, asked.out, asked.concurrency) == (None,) * 4
    assert (asked.step, asked.seed, asked.dtype) == ("newest", 0, "float32")


def test_every_word_is_read() -> None:
    asked = split_eval(
        [
            *("org/model", "--task", "math500=f.jsonl,aime24", "--n", "32", "--temperature", "1.2"),
            *("--top-p", "0.8", "--top-k", "20", "--max-tokens", "8192", "--rows", "5"),
            *("--seed", "3", "--step", "best", "--out", "here", "--platform", "gpu"),
            *("--tensor-parallel", "2", "--gpu-memory-utilization", "0.5", "--concurrency", "48"),
            "--trust-remote-code",
        ]
    )
    assert (asked.n, asked.temperature, asked.top_p, asked.top_k) == (32, 1.2, 0.8, 20)
    assert (asked.max_tokens, asked.rows, asked.seed, asked.step) == (8192, 5, 3, "best")
    assert (asked.out, asked.platform, asked.dtype) == (Path("here"), "gpu", "bfloat16")
    assert (asked.tensor_parallel, asked.gpu_memory_utilization) == (2, 0.5)
    assert (asked.concurrency, asked.trust_remote_code) == (48, True)
    assert [each.place for each in asked.benchmarks] == ["f.jsonl", None]


def test_the_platform_is_the_one_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eval_settings, "platform_here", lambda: "gpu")
    assert split_eval(LEAST).platform == "gpu"


def test_the_help_names_every_flag() -> None:
    flags = [flag for action in _parser()._actions for flag in action.option_strings]
    assert len(flags) > 10
    assert [flag for flag in flags if flag not in EVAL_HELP] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--task", "days"), "required: model"),
        (("m",), "required: --task"),
        ((*LEAST, "--n", "0"), "--n 0: use 1 or more"),
        ((*LEAST, "--n", "many"), "invalid int value: 'many'"),
        ((*LEAST, "--max-tokens", "0"), "--max-tokens 0: use 1 or more"),
        ((*LEAST, "--rows", "-1"), "--rows -1: use 1 or more"),
        ((*LEAST, "--concurrency", "0"), "--concurrency 0: use 1 or more"),
        ((*LEAST, "--tensor-parallel", "0"), "--tensor-parallel 0: use 1 or more"),
        ((*LEAST, "--temperature", "-1"), "--temperature -1: use 0 (greedy) to 10"),
        ((*LEAST, "--temperature", "nan"), "--temperature nan: use 0 (greedy) to 10"),
        ((*LEAST, "--temperature", "0", "--n", "4"), "use --n 1, or a temperature above 0"),
        ((*LEAST, "--top-p", "0"), "--top-p 0: use more than 0, at most 1"),
        ((*LEAST, "--top-k", "0"), "--top-k 0: use 1 or more, or -1 for all"),
        ((*LEAST, "--seed", "-1"), "--seed -1: use 0 or more"),
        ((*LEAST, "--gpu-memory-utilization", "2"), "--gpu-memory-utilization 2: use more than 0"),
        ((*LEAST, "--step", "last"), "--step last: use a number, newest or best"),
        (("m", "--task", "dayz"), "--task dayz is unknown: did you mean 'days'?"),
        ((*LEAST, "--best-of", "4"), "unrecognized arguments: --best-of 4"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_2(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["eval", *words]) == 2
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1


def test_how_fast_it_goes_is_not_what_is_asked() -> None:
    """An evaluation may go on with fewer in flight, or on other devices."""
    slow = split_eval([*LEAST, "--platform", "gpu", "--concurrency", "1"])
    fast = split_eval([*LEAST, "--platform", "gpu", "--tensor-parallel", "8", "--out", "x"])
    assert slow.identity() == fast.identity()
    for change in (["--n", "2"], ["--seed", "1"], ["--temperature", "1"], ["--top-p", "1"]):
        assert split_eval([*LEAST, "--platform", "gpu", *change]).identity() != slow.identity()


def test_settings_refuse_what_no_word_can_say() -> None:
    with pytest.raises(ConfigError, match="--platform=tpu is unknown"):
        eval_settings.EvalSettings(model="m", benchmarks=(), platform="tpu")


@pytest.mark.parametrize(
    ("script", "task", "place"),
    [("gsm8k_eval.sh", "gsm8k", "openai/gsm8k"), ("math_eval.sh", "math500", None)],
)
def test_the_recipes_scripts_say_what_the_command_reads(
    script: str, task: str, place: str | None
) -> None:
    last = (ROOT / "recipes" / "cppo" / script).read_text().splitlines()[-1]
    start, asked = last.split("scripts/evaluate.sh", 1)
    assert start.startswith("exec bash ")
    words = shlex.split(asked.removeprefix('"'))
    assert words.pop() == "$@"
    settings = split_eval([*words, "runs/mine", "--task", f"{task}=f.jsonl"])
    assert (settings.model, settings.temperature, settings.n) == ("runs/mine", 0, 1)
    (benchmark,) = split_eval([*words, "runs/mine"]).benchmarks
    assert benchmark.name == task
    assert place in (None, benchmark.source)
