"""A whole evaluation on a scripted engine: resumed after any end, whoever finishes first."""

import dataclasses
import json
import signal
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from copris_core.tasks.benchmarks import benchmarks
from copris_core.verl_adapter import eval_engine, eval_run, eval_score
from copris_core.verl_adapter.errors import ConfigError, TrainingError
from copris_core.verl_adapter.eval_settings import EvalSettings
from tests.verl_adapter.scripted_engine import ANSWER_TOKENS, NumberTokens, ScriptedEngine

pytestmark = pytest.mark.verl


@pytest.fixture(autouse=True)
def no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eval_engine, "prepare", lambda platform: None)
    monkeypatch.setattr(eval_run, "Tokens", NumberTokens)


def _settings(out: Path, **changes: object) -> EvalSettings:
    least = EvalSettings(
        model="tiny_days", benchmarks=tuple(benchmarks("days")), n=3, rows=8, out=out, concurrency=5
    )
    return dataclasses.replace(least, **changes)  # type: ignore[arg-type]


def _evaluate(
    monkeypatch: pytest.MonkeyPatch, settings: EvalSettings, engine: ScriptedEngine
) -> str:
    monkeypatch.setattr(eval_run, "EvalEngine", engine.factory())
    told = StringIO()
    eval_run.run_eval(settings, Console(file=told, width=100))
    return told.getvalue()


def test_every_sample_is_sampled_judged_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ScriptedEngine()
    told = _evaluate(monkeypatch, _settings(tmp_path / "e"), engine)
    lines = (tmp_path / "e" / "samples.jsonl").read_text().splitlines()
    samples = [json.loads(line) for line in lines]
    assert [(each["uid"], each["index"]) for each in samples] == [
        (f"days:{number}", index) for number in range(8) for index in range(3)
    ]
    assert {each["num_tokens"] for each in samples} == {ANSWER_TOKENS}
    assert {each["finish"] for each in samples} == {"stop", "length"}
    for each in samples:
        assert each["response"] == f"I guess.\n#### {each['answer']}"
        assert each["correct"] == (each["answer"] == each["ground_truth"]) == (each["score"] == 1)
        assert each["reason"]
    assert engine.most_in_flight == 5
    assert engine.closed == 1
    assert "8 prompts x 3, at most 1024 tokens" in told
    assert "24/24 samples" in told
    for name in ("result.json", "eval.md", "eval.html"):
        assert (tmp_path / "e" / name).stat().st_size > 0
    result = json.loads((tmp_path / "e" / "result.json").read_text())
    assert "days" in json.dumps(result)


@pytest.mark.parametrize("concurrency", [1, 4, 24])
def test_the_samples_depend_on_seeds_and_not_on_who_runs_beside_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    _evaluate(monkeypatch, _settings(tmp_path / "a"), ScriptedEngine())
    other = _settings(tmp_path / "b", concurrency=concurrency)
    _evaluate(monkeypatch, other, ScriptedEngine())
    assert (tmp_path / "a" / "samples.jsonl").read_bytes() == (
        tmp_path / "b" / "samples.jsonl"
    ).read_bytes()


def test_seeds_differ_by_prompt_sample_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ScriptedEngine(), ScriptedEngine()
    _evaluate(monkeypatch, _settings(tmp_path / "a"), first)
    _evaluate(monkeypatch, _settings(tmp_path / "b", seed=1), second)
    assert len({*first.seeds.values(), *second.seeds.values()}) == 2 * 24


@pytest.mark.parametrize("after", [0, 1, 10, 23])
def test_an_evaluation_whose_engine_died_goes_on_and_ends_like_one_that_did_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    _evaluate(monkeypatch, _settings(tmp_path / "whole"), ScriptedEngine())
    settings = _settings(tmp_path / "cut")
    dying = ScriptedEngine(dies_after=after)
    with pytest.raises(TrainingError) as error:
        _evaluate(monkeypatch, settings, dying)
    assert "the engine died (scripted); " in str(error.value)
    assert f"of 24 samples are in {tmp_path / 'cut'}, and the same command goes on" in str(
        error.value
    )
    assert dying.closed == 1
    kept = len((tmp_path / "cut" / "samples.jsonl").read_bytes().splitlines())
    assert kept <= after
    again = ScriptedEngine()
    told = _evaluate(monkeypatch, settings, again)
    assert len(again.started) == 24 - kept
    assert (f"{kept} of 24 samples are there" in told) == (kept > 0)
    for name in ("samples.jsonl", "result.json"):
        cut, whole = ((tmp_path / each / name).read_bytes() for each in ("cut", "whole"))
        assert cut == whole


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(eval_run.TERMINATED)])
def test_a_signal_leaves_a_folder_that_goes_on_and_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stop: BaseException,
) -> None:
    engine = ScriptedEngine(dies_after=9, stop=stop)
    with pytest.raises(type(stop)):
        _evaluate(monkeypatch, _settings(tmp_path), engine)
    assert engine.closed == 1
    told = capsys.readouterr().err
    assert told.startswith("copris: stopped; ")
    assert "the same command goes on from there" in told
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    _evaluate(monkeypatch, _settings(tmp_path), ScriptedEngine())


def test_sigterm_is_heeded_while_it_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminated(ScriptedEngine):
        def step(self) -> list[eval_engine.Response]:
            signal.raise_signal(signal.SIGTERM)
            return super().step()

    with pytest.raises(SystemExit) as error:
        _evaluate(monkeypatch, _settings(tmp_path), Terminated())
    assert error.value.code == 128 + signal.SIGTERM


def test_a_finished_evaluation_starts_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _evaluate(monkeypatch, _settings(tmp_path), ScriptedEngine())
    (tmp_path / "eval.html").unlink()
    again = ScriptedEngine()
    _evaluate(monkeypatch, _settings(tmp_path), again)
    assert (again.started, again.closed) == ([], 0)
    assert (tmp_path / "eval.html").exists()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"n": 4}, "n 3"),
        ({"seed": 9}, "seed 0"),
        ({"rows": 7}, "prompts "),
        ({"temperature": 1.0}, "temperature 0.6"),
        ({"max_tokens": 99}, "max_tokens "),
        ({"model": "tiny_prorl"}, "model tiny_days"),
    ],
)
def test_other_settings_do_not_go_on_in_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], key: str
) -> None:
    _evaluate(monkeypatch, _settings(tmp_path), ScriptedEngine())
    before = (tmp_path / "samples.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="name another folder by --out") as error:
        _evaluate(monkeypatch, _settings(tmp_path, **change), ScriptedEngine())
    assert f"with {key}" in str(error.value)
    assert (tmp_path / "samples.jsonl").read_bytes() == before


def test_a_file_may_be_named_from_another_folder_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"question": "1+1?", "answer": "#### 2"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.chdir(tmp_path)
    for place in ("rows.jsonl", str(tmp_path / "rows.jsonl")):
        named = tuple(benchmarks(f"gsm8k={place}"))
        _evaluate(monkeypatch, _settings(tmp_path / "e", benchmarks=named), ScriptedEngine())
    (tmp_path / "rows.jsonl").write_text(json.dumps(row | {"answer": "#### 3"}) + "\n")
    with pytest.raises(ConfigError, match="with prompts"):
        _evaluate(monkeypatch, _settings(tmp_path / "e", benchmarks=named), ScriptedEngine())


def test_devices_and_in_flight_may_change_between_two_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError):
        _evaluate(monkeypatch, _settings(tmp_path), ScriptedEngine(dies_after=6))
    changed = _settings(tmp_path, concurrency=2, tensor_parallel=4)
    engine = ScriptedEngine()
    _evaluate(monkeypatch, changed, engine)
    assert engine.most_in_flight == 2


def test_the_users_limit_is_every_benchmarks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ScriptedEngine()
    _evaluate(monkeypatch, _settings(tmp_path, max_tokens=77), engine)
    assert set(engine.limits.values()) == {77}
    assert engine.max_model_len == 3 + 77


def test_results_of_a_model_lie_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = dataclasses.replace(_settings(tmp_path), out=None)
    _evaluate(monkeypatch, settings, ScriptedEngine())
    assert (tmp_path / "runs" / "eval" / "tiny_days" / "days" / "result.json").exists()


def test_a_verifier_that_lacks_something_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise ValueError("math-verify is missing: pip install 'copris[cpu]'")

    with monkeypatch.context() as patched:
        patched.setattr(eval_score, "task_for", refuse)
        with pytest.raises(ConfigError, match=r"math-verify is missing: .* the same command goes"):
            _evaluate(patched, _settings(tmp_path), ScriptedEngine())
    _evaluate(monkeypatch, _settings(tmp_path), ScriptedEngine())


@pytest.mark.parametrize(
    ("asked", "kv_tokens", "fit"),
    [(None, 10**9, 64), (None, 5500, 10), (None, 10, 1), (300, 10, 300)],
)
def test_as_many_are_in_flight_as_the_cache_holds_at_half_their_limit(
    tmp_path: Path, asked: int | None, kv_tokens: int, fit: int
) -> None:
    settings = _settings(tmp_path, concurrency=asked)
    assert eval_engine.in_flight(settings, kv_tokens=kv_tokens, prompt=49, response=1000) == fit


def test_the_intervals_are_drawn_by_the_seed_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    write = eval_run.write_eval

    def listening(*args: object, rng_seed: int, **more: object) -> object:
        heard.append(rng_seed)
        return write(*args, rng_seed=rng_seed, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(eval_run, "write_eval", listening)
    _evaluate(monkeypatch, _settings(tmp_path / "e", seed=7), ScriptedEngine())
    assert heard == [7]
