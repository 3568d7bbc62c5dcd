"""The five sets as files: counts, a clean split over all domains, and nothing half-written."""

import dataclasses
import json
from pathlib import Path

import pytest

from copris_core.tasks import Message, Row, TaskDataError, Verdict, data_sets, registry
from copris_core.tasks.data_sets import (
    PRORL_SIZES,
    DataRequest,
    check_reference_answers,
    make_data_sets,
)
from copris_core.tasks.file_task import FileTask

pytestmark = pytest.mark.slow  # all together: seconds, and processes of their own

pq = pytest.importorskip("pyarrow.parquet", reason="comes with the extra cpu")

KNOWS_ANSWERS = ("code", "stem", "logic")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain as the others are, in no time: rows "<name> 0", "<name> 1", ..."""

    name: str
    available: int = 40
    rows: int = 40
    val_rows: int = 6
    seed: int = 0

    def train_rows(self) -> list[Row]:
        return [self._row(i, "train") for i in range(min(self.rows, self.available))]

    def validation_rows(self) -> list[Row]:
        return [self._row(i, "test") for i in range(self.val_rows)]

    def score(self, text: str, ground_truth: str) -> Verdict:
        return Verdict(score=float(text == ground_truth), reason="compared")

    def _row(self, index: int, split: str) -> Row:
        return Row(
            data_source=self.name,
            prompt=(Message(role="user", content=f"{self.name} {self.seed} {split} {index}"),),
            ability=self.name,
            ground_truth=f"{index}",
            split=split,
            index=index,
            facts={"level": 1} if self.name == "stem" else {"kind": self.name},
        )


class Answering(Domain):
    def reference_answer(self, row: Row) -> str | None:
        return row.ground_truth


@pytest.fixture(autouse=True)
def _quick_domains(monkeypatch):
    """The real five take minutes; each has tests of its own."""

    def build(name: str, **settings: object) -> Domain:
        settings.pop("path", None)
        return (Answering if name in KNOWS_ANSWERS else Domain)(name=name, **settings)

    monkeypatch.setattr(data_sets, "get_task", build)
    monkeypatch.setattr(data_sets, "task_class", lambda name: Domain)
    monkeypatch.setattr(data_sets, "task_for", build)


SIZES = {"math": 5, "code": 7, "stem": 3, "logic": 11, "instruction": 2}


def request(**changes: object) -> DataRequest:
    return DataRequest(**{"sizes": SIZES, "validation": 4, **changes})


def read(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def test_every_domain_and_all_together_are_written_with_the_sizes_asked_for(tmp_path):
    out = tmp_path / "new" / "sets"
    made = make_data_sets(request(), out)
    assert {each.domain: each.train for each in made.domains} == SIZES
    assert [each.domain for each in made.domains] == list(PRORL_SIZES)
    for domain, size in SIZES.items():
        rows = read(out / domain / "train.parquet")
        assert [row["data_source"] for row in rows] == [domain] * size
        assert len(read(out / domain / "val.parquet")) == 4
    together = read(out / "train.parquet")
    assert len(together) == sum(SIZES.values())
    assert {d: sum(row["data_source"] == d for row in together) for d in SIZES} == SIZES
    assert [row["extra_info"]["index"] for row in together] == list(range(28))
    assert len(read(out / "val.parquet")) == 20
    assert [each.name for each in out.parent.iterdir()] == ["sets"]


def test_rows_of_all_domains_are_mixed_and_not_in_blocks(tmp_path):
    make_data_sets(request(), tmp_path / "sets")
    sources = [row["data_source"] for row in read(tmp_path / "sets" / "train.parquet")]
    assert sources != sorted(sources, key=list(PRORL_SIZES).index)


@pytest.fixture
def fresh_tasks():
    """Tasks are built once in a process; the one that stands in must not stay."""
    yield
    registry.task_for.cache_clear()


def test_a_run_trains_on_what_was_made(tmp_path, monkeypatch, fresh_tasks):
    monkeypatch.setitem(registry.TASKS, "math", "arithmetic:DaysTask")
    make_data_sets(request(sizes={"math": 5}), tmp_path / "sets")
    task = FileTask(
        path=str(tmp_path / "sets" / "train.parquet"), val_path=str(tmp_path / "sets/val.parquet")
    )
    assert (len(task.train_rows()), len(task.validation_rows())) == (5, 4)


def test_the_default_sizes_are_those_of_prorl():
    assert sum(DataRequest().sizes.values()) == 136_000


def test_the_same_request_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        make_data_sets(request(), tmp_path / name)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")]
    assert len(files) == 13
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_another_seed_gives_another_order_and_other_problems(tmp_path):
    prompts = []
    for seed in (0, 1):
        make_data_sets(request(seed=seed), tmp_path / str(seed))
        rows = read(tmp_path / str(seed) / "train.parquet")
        prompts.append([row["prompt"][0]["content"] for row in rows])
    assert set(prompts[0]) & set(prompts[1]) == set()


def test_asked_again_for_the_same_nothing_is_made_again(tmp_path):
    out = tmp_path / "sets"
    first = make_data_sets(request(), out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = make_data_sets(request(), out)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.domains == first.domains
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == stamps


def test_an_empty_folder_is_taken(tmp_path):
    make_data_sets(request(), tmp_path)
    assert (tmp_path / "train.parquet").is_file()


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    out = tmp_path / "sets"
    make_data_sets(request(), out)
    with pytest.raises(ValueError, match=r"sets holds other sets, made for .*: give a new folder"):
        make_data_sets(request(seed=1), out)
    (out / "logic" / "val.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"sets: files were changed since they were made"):
        make_data_sets(request(), out)
    (out / "data.json").unlink()
    with pytest.raises(ValueError, match=r"sets is not empty: give a new folder"):
        make_data_sets(request(), out)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file is not empty: give a new folder"):
        make_data_sets(request(), tmp_path / "file")


def test_another_math_file_is_another_request(tmp_path):
    paths = []
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(name)
        paths.append(str(tmp_path / name))
    first, second = (request(math_path=path).to_json() for path in paths)
    assert first != second
    (tmp_path / "b.jsonl").write_text("a.jsonl")
    assert first == request(math_path=paths[1]).to_json()


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(rows: object, path: Path) -> Path:
        if path.parent.name == "logic":
            raise OSError("no space left")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    monkeypatch.setattr(data_sets, "write_parquet", full_disk)
    with pytest.raises(OSError, match="no space left"):
        make_data_sets(request(), tmp_path / "sets")
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_in_both_splits_of_any_domains_is_refused(tmp_path, monkeypatch):
    row = Domain._row

    def leaking(self: Domain, index: int, split: str) -> Row:
        made = row(self, index, split)
        if (self.name, split, index) in {("code", "train", 6), ("logic", "test", 2)}:
            return dataclasses.replace(made, prompt=(Message(role="user", content="Twice?"),))
        return made

    monkeypatch.setattr(Domain, "_row", leaking)
    with pytest.raises(
        TaskDataError,
        match=r"row 6 of code's training set asks what row 2 of logic's .* \('Twice\?'\): remove",
    ):
        make_data_sets(request(), tmp_path / "sets")
    assert list(tmp_path.iterdir()) == []


def test_too_few_rows_are_refused_with_the_size_there_is(tmp_path):
    with pytest.raises(TaskDataError, match=r"logic has 40 training rows, --sizes asks for 41"):
        make_data_sets(request(sizes={"logic": 41}), tmp_path / "sets")


def test_without_math_problems_the_mend_is_told(tmp_path, monkeypatch):
    def unreachable(self: Domain) -> list[Row]:
        raise TaskDataError("some/hub-id: can't be reached")

    monkeypatch.setattr(Domain, "train_rows", unreachable)
    with pytest.raises(
        TaskDataError, match=r"reached\. Give problems by --math-path FILE, or leave math out"
    ):
        make_data_sets(request(), tmp_path / "sets")
    with pytest.raises(TaskDataError, match=r"reached$"):
        make_data_sets(request(math_path="x.jsonl"), tmp_path / "sets")


def test_different_prompts_and_checked_answers_are_counted(tmp_path, monkeypatch):
    row = Domain._row
    monkeypatch.setattr(Domain, "_row", lambda self, i, split: row(self, i // 2, split))
    made = {each.domain: each for each in make_data_sets(request(), tmp_path / "a").domains}
    assert made["logic"].prompts == 6
    assert {domain: each.checked for domain, each in made.items()} == {
        "math": 0,
        "code": 7 + 4,
        "stem": 3 + 4,
        "logic": 11 + 4,
        "instruction": 0,
    }


def test_checked_rows_are_spread_evenly():
    asked = []

    class Recording(Domain):
        def reference_answer(self, row: Row) -> str | None:
            asked.append(row.index)
            return None if row.index == 0 else row.ground_truth

    task = Recording(name="code")
    assert check_reference_answers(task, task.train_rows(), 4) == 3
    assert sorted(asked) == [0, 10, 20, 30]
    assert check_reference_answers(task, task.train_rows(), None) == 39


def test_a_task_that_fails_its_own_answer_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Answering, "reference_answer", lambda self, row: "7")
    with pytest.raises(
        TaskDataError, match=r"code train row 0: its own answer scores 0\.0 \(compared\)"
    ):
        make_data_sets(request(), tmp_path / "sets")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"sizes": {}}, "no domain: give sizes, such as math=400,logic=370"),
        ({"sizes": {"maths": 3}}, "unknown domain 'maths': did you mean 'math'"),
        ({"sizes": {"math": 0}}, "math=0: set it to 1 or more, or leave it out"),
        ({"validation": 0}, "validation 0: set it to 1 or more"),
    ],
)
def test_a_request_that_cannot_be_is_refused(changes, line):
    with pytest.raises(ValueError, match=line):
        request(**changes)


def test_the_description_says_what_was_made(tmp_path):
    make_data_sets(request(), tmp_path)
    told = json.loads((tmp_path / "data.json").read_text())
    assert told["request"]["sizes"] == SIZES
    assert sorted(told["sha256"])[:2] == ["code/train.parquet", "code/val.parquet"]
    assert len(told["sha256"]) == 12
