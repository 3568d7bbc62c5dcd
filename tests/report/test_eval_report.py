"""Samples in, result.json, eval.md, tables and notes out."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from copris_core.evaluation.eval_result import evaluate
from copris_core.evaluation.eval_sample import EvalSample
from copris_core.report.eval_markdown import eval_markdown, plain
from copris_core.report.eval_notes import eval_notes
from copris_core.report.eval_report import read_samples, write_eval
from copris_core.report.eval_tables import eval_tables, show_interval
from copris_core.report.eval_view import print_eval
from tests.evaluation.eval_house import prompt


def samples() -> list[EvalSample]:
    return [
        *prompt(0, ["right", "b"], subject="add", level="1"),
        *prompt(1, ["right", "right"], subject="mul", level="2"),
    ]


def write_lines(path: Path, found: list[EvalSample]) -> Path:
    path.write_text("".join(json.dumps(x.to_json()) + "\n" for x in found))
    return path


def test_a_samples_file_becomes_three_files(tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "samples.jsonl", samples())
    paths = write_eval(lines, tmp_path / "out", title="tiny", settings={"temperature": 0.6})
    assert sorted(x.name for x in (tmp_path / "out").iterdir()) == [
        *("eval.html", "eval.md", "result.json")
    ]
    result = json.loads(paths.json.read_text())
    assert result["settings"] == {"temperature": 0.6}
    assert result["tasks"][0]["pass_at"]["1"]["estimate"] == 0.75
    assert paths.result.tasks[0].pass_at[1].estimate == 0.75
    assert "# tiny" in paths.markdown.read_text()
    assert "<h1>tiny</h1>" in paths.page.read_text()


def test_the_same_samples_give_the_same_files_byte_for_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_eval(samples(), tmp_path / name)
    for name in ("result.json", "eval.md", "eval.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_is_no_whole_evaluation_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run the same copris eval again"):
        write_eval(samples()[:-1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_torn_last_line_is_left_out_and_told(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "samples.jsonl", samples())
    path.write_bytes(path.read_bytes()[:-9])
    told: list[str] = []
    assert read_samples(path, on_torn=told.append) == samples()[:-1]
    assert told == [f"{path} line 4 was cut off by a kill and is left out"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "line 2 is not JSON: delete that line and run the eval again"),
        (b"\xff", "line 2 is not JSON: delete that line"),
        (b"{}", "line 2: a sample has no 'uid': mend or delete that line"),
    ],
)
def test_a_spoilt_line_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    path = write_lines(tmp_path / "samples.jsonl", samples())
    first, *others = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([first, line, *others]))
    with pytest.raises(ValueError, match=said):
        read_samples(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no samples at .* run copris eval first"):
        read_samples(tmp_path / "samples.jsonl")


def test_the_tables_say_what_the_result_says() -> None:
    tables = {x.title: x for x in eval_tables(evaluate(samples(), resamples=50))}
    assert list(tables) == [
        *("Accuracy", "sums by k", "sums by subject", "sums by level"),
        *("Cut off and unparsable", "Lengths"),
    ]
    (accuracy,) = tables["Accuracy"].rows
    assert accuracy[:3] == ["sums", "2", "2"]
    assert [cell.split()[0] for cell in accuracy[3:]] == ["0.750", "0.750", "1.000"]
    assert [row[0] for row in tables["sums by k"].rows] == ["1", "2"]
    assert [row[0] for row in tables["sums by level"].rows] == ["1", "2"]
    assert all(len(row) == len(x.heading) for x in tables.values() for row in x.rows)


def test_a_single_sample_or_subject_needs_no_table_of_its_own() -> None:
    alone = evaluate(prompt(0, ["right"], subject="add"), resamples=5)
    assert [x.title for x in eval_tables(alone)] == [
        *("Accuracy", "Cut off and unparsable", "Lengths")
    ]


def test_two_tasks_have_an_average_row() -> None:
    both = evaluate([*samples(), *prompt(0, ["b", "b"], task="other")], resamples=50)
    *_, last = eval_tables(both)[0].rows
    assert (last[0], last[1], last[3].split()[0], last[4]) == ("average", "3", "0.375", "-")


def test_an_interval_that_is_not_there_is_a_hyphen() -> None:
    assert show_interval(None) == "-"


def test_what_weakens_an_evaluation_is_said() -> None:
    weak = [
        *prompt(0, ["b", None], finish="length"),
        *prompt(1, [None, "c"]),
    ]
    few, flat, cut, unparsable = eval_notes(evaluate(weak, resamples=50))
    assert "sums has 2 prompts: its intervals are rough" in few
    assert "its interval has no width" in flat
    assert "50.0% of the samples were cut off at the token limit; raise --max-tokens" in cut
    assert "50.0% of the samples hold no final answer" in unparsable


def test_a_sound_evaluation_has_no_notes() -> None:
    sound = [x for i in range(60) for x in prompt(i, ["right" if i % 2 else "b"])]
    assert eval_notes(evaluate(sound, resamples=200)) == []


def test_markdown_shows_hostile_names_as_they_are() -> None:
    hostile = [
        *prompt(0, ["right"], task="a|b", subject="<img src=x>\n# head"),
        *prompt(1, ["b"], task="a|b", subject="`code`"),
    ]
    text = eval_markdown(evaluate(hostile, resamples=50), title="*", settings={"k": "[x](y)"})
    assert r"\<img src=x\> \# head" in text
    rows = [line for line in text.splitlines() if line.startswith(r"| a\|b |")]
    assert rows
    assert r"[x\](y)" in text
    assert "[0.000, 1.000]" in text
    assert plain("a_b*c") == r"a\_b\*c"


def test_the_terminal_shows_every_table_within_100_columns() -> None:
    console = Console(width=100, record=True, file=io.StringIO(), color_system=None)
    hostile = prompt(0, ["right", "b"], task="[red]x[/red]", subject="[bold]")
    print_eval(evaluate([*hostile, *samples()], resamples=50), console)
    text = console.export_text()
    assert "[red]x[/red]" in text
    assert "0.750 [0.500, 1.000]" in text
    assert "its intervals are rough" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
