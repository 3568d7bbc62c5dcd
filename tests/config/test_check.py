"""``check`` says what a run would do, and refuses each contradiction with one line."""

import json

import pytest

pytestmark = pytest.mark.verl

ROLLOUT = "actor_rollout_ref.rollout"
ACTOR = "actor_rollout_ref.actor"
GOOD_ROW = {"question": "How many?", "answer": "One and one. #### 2"}


def _lines(entered, *overrides: str) -> list[str]:
    from copris_core.verl_adapter.check import check

    cfg, run = entered(*overrides)
    return check(run, cfg)


def _refusal(entered, *overrides: str) -> str:
    from copris_core.tasks import TaskDataError
    from copris_core.verl_adapter.errors import ConfigError

    with pytest.raises((ConfigError, TaskDataError)) as refusal:
        _lines(entered, *overrides)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def _jsonl(path, *rows: str):
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def test_the_batch_arithmetic_is_printed(entered):
    assert _lines(entered, "experiment=copris_cppo") == [
        "[bold]copris_cppo[/bold], seed 0",
        "choices        strategy copris, correction cross_stage, pruning cppo, clip 0.2/0.2/3.0",
        "               task days, policy tiny_days, platform cpu x 1",
        "rows           8192 training, 200 validation",
        "each step      4 prompts x 8 = 32 samples, of which 16 are trained on",
        "               2 mini-batches of 8 rows (1 group), 1 epoch",
        "the run        20 steps, 40 optimizer updates, 640 samples",
        "in flight      32; interruptions per response 32/32 = 1.00",
    ]


def test_a_synchronous_run_has_no_interruptions_to_speak_of(entered):
    assert not [line for line in _lines(entered) if "in flight" in line]


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (["experiment=copris", "strategy.concurrency=33"], "above 1 interruption per response"),
        (["experiment=copris", "strategy.concurrency=7"], "7 in flight is less than one group"),
        (["experiment=copris", "correction=none"], "correction=none forgets which policy"),
        (["experiment=cppo", "pruning.zero_variance=drop"], "zero_variance=drop may train on"),
    ],
)
def test_what_is_allowed_but_odd_is_noted(entered, overrides, note):
    notes = [line for line in _lines(entered, *overrides) if "note" in line]
    assert len(notes) == 1
    assert note in notes[0]


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=copris", "strategy.concurrency=32"],
        ["experiment=copris", "strategy.concurrency=8"],
        ["correction=none"],
    ],
)
def test_what_is_not_odd_is_not_noted(entered, overrides):
    assert not [line for line in _lines(entered, *overrides) if "note" in line]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            [f"{ROLLOUT}.max_model_len=600"],
            f"prompt 128 + response 512 tokens exceed {ROLLOUT}.max_model_len=600: remove that "
            "key, or lower data.max_response_length",
        ),
        (
            ["trainer.max_actor_ckpt_to_keep=1"],
            "trainer.max_actor_ckpt_to_keep=1 removes the last whole checkpoint before the new one "
            "counts: set it to 2 or more, or remove it",
        ),
        (
            [f"{ACTOR}.checkpoint.async_save=true"],
            f"{ACTOR}.checkpoint.async_save=true goes on writing after the checkpoint is sealed: "
            "set it to false",
        ),
        (
            ["platform=gpu", f"{ACTOR}.ppo_max_token_len_per_gpu=600"],
            f"prompt 128 + response 512 tokens exceed {ACTOR}.ppo_max_token_len_per_gpu=600: "
            "raise it, one response must fit",
        ),
        (
            [f"{ROLLOUT}.top_p=0.9"],
            f"correction=cross_stage with top_p=0.9 has a biased ratio: set {ROLLOUT}.top_p=1, use "
            "correction=none, or accept it with correction.allow_truncated_sampling=true",
        ),
        (
            [f"{ROLLOUT}.top_k=20"],
            f"correction=cross_stage with top_k=20 has a biased ratio: set {ROLLOUT}.top_k=-1, use "
            "correction=none, or accept it with correction.allow_truncated_sampling=true",
        ),
        (
            [f"{ROLLOUT}.calculate_log_probs=false"],
            f"correction=cross_stage needs {ROLLOUT}.calculate_log_probs=true: the ratio is "
            "taken against the engine's log-probs",
        ),
        (
            ["pruning=cppo", "algorithm.adv_estimator=rloo"],
            "pruning=cppo prunes by GRPO's advantages: set algorithm.adv_estimator=grpo, or "
            "pruning=none",
        ),
        (
            ["pruning=cppo", "algorithm.use_kl_in_reward=true"],
            "pruning=cppo needs the reward before any forward pass: set "
            f"algorithm.use_kl_in_reward=false and {ACTOR}.use_kl_loss=true, or pruning=none",
        ),
        (
            ["data.train_files=rows.parquet"],
            "data.train_files is written by the run itself: use task=gsm8k task.path=FILE, or "
            "remove it",
        ),
        (
            ["task.rows=3"],
            "task=days has 3 training rows, fewer than the 4 prompts of a step: lower "
            "data.train_batch_size or add rows",
        ),
        (["task.rows=0"], "task=days: task.rows is 0: set it to 1 or more"),
        (
            ["task=gsm8k", "task.path=nowhere.jsonl"],
            "nowhere.jsonl: no such file; set task.path to a .jsonl or .parquet file",
        ),
    ],
)
def test_a_contradiction_is_refused_with_the_mend(entered, overrides, line):
    assert _refusal(entered, *overrides) == line


def test_truncated_sampling_is_allowed_where_no_ratio_is_taken_against_the_engine(entered):
    assert _lines(entered, "correction=none", f"{ROLLOUT}.top_p=0.9")


def test_a_task_setting_of_the_wrong_kind_is_refused_by_name(entered):
    assert _refusal(entered, "task.rows=many").startswith("task=days: ")


def test_a_model_folder_without_a_model_is_refused(entered, tmp_path):
    assert _refusal(entered, "policy=hf", f"policy.path={tmp_path}") == (
        f"policy.path={tmp_path} has no config.json: give the folder of a Hugging Face checkpoint"
    )


def test_a_model_with_too_few_positions_is_refused(entered, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 639}))
    assert _refusal(entered, "policy=hf", f"policy.path={tmp_path}") == (
        f"prompt 128 + response 512 tokens exceed the 639 positions of {tmp_path}: lower "
        "data.max_response_length"
    )


def test_a_model_that_states_no_positions_is_taken(entered, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert _lines(entered, "policy=hf", f"policy.path={tmp_path}")


def test_a_malformed_row_is_refused_with_its_line(entered, tmp_path):
    good = json.dumps(GOOD_ROW)
    path = _jsonl(tmp_path / "rows.jsonl", good, '{"question": "How many?"}', good)
    refusal = _refusal(entered, "task=gsm8k", f"task.path={path}")
    assert refusal.startswith(f"{path}:2: no text under 'answer'")


def test_rows_of_a_local_file_are_counted(entered, tmp_path):
    rows = [json.dumps(GOOD_ROW | {"question": f"How many of {number}?"}) for number in range(20)]
    path = _jsonl(tmp_path / "rows.jsonl", *rows)
    lines = _lines(entered, "task=gsm8k", f"task.path={path}", "task.val_rows=4")
    assert "rows           16 training, 4 validation" in lines


def test_code_is_refused_where_it_cannot_be_locked_up(entered, monkeypatch):
    from copris_core.verl_adapter import check

    monkeypatch.setattr(check, "sandbox_trouble", lambda: "no sandbox: the kernel has no seccomp")
    small = ("task=code", "task.rows=8", "task.val_rows=2", "data.max_response_length=256")
    assert _refusal(entered, *small) == (
        "task=code runs what a model writes, and cannot here: no sandbox: the kernel has no seccomp"
    )
    monkeypatch.setattr(check, "sandbox_trouble", lambda: None)
    assert _lines(entered, *small)


def test_a_mixture_is_composed_from_the_command_line(entered):
    parts = ("+task.parts.days.weight=2", "+task.parts.days.rows=40", "+task.parts.stem.rows=20")
    lines = _lines(entered, "task=mix", *parts, "task.rows=30", "+task.parts.stem.val_rows=5")
    assert any(line.startswith("rows           30 training") for line in lines)


def test_a_custom_task_is_found_by_its_file(entered, tmp_path):
    (tmp_path / "mine.py").write_text(CUSTOM)
    lines = _lines(entered, "task=custom", f"task.cls={tmp_path}/mine.py:Echo")
    assert any(line.startswith("rows           9 training, 1 validation") for line in lines)
    refusal = _refusal(entered, "task=custom", f"task.cls={tmp_path}/mine.py:Ecko")
    assert "Echo" in refusal


def test_a_verifier_that_cannot_judge_is_found_before_the_stack_starts(entered, tmp_path):
    verdict = 'Verdict(score=float(text == ground_truth), reason="echo")'
    (tmp_path / "mine.py").write_text(CUSTOM.replace(verdict, "float(text == ground_truth)"))
    refusal = _refusal(entered, "task=custom", f"task.cls={tmp_path}/mine.py:Echo")
    assert "score('', ...) failed" in refusal
    assert "\n" not in refusal


def test_a_validation_as_large_as_the_training_is_noted(entered):
    note = "no fewer rows are held out than are trained on"
    assert any(note in line for line in _lines(entered, "task.rows=100", "task.val_rows=100"))
    assert not any(note in line for line in _lines(entered, "task.rows=100", "task.val_rows=99"))


def test_a_method_of_ones_own_is_said_to_choose_the_rows(entered, tmp_path):
    file = tmp_path / "m.py"
    file.write_text("class A:\n    def on_batch_sampled(self, batch): ...\n")
    lines = _lines(entered, f"method.cls={file}:A")
    assert any("of which your method chooses those that are trained on" in line for line in lines)
    assert any(line.strip() == f"rows by {file}:A" for line in lines)


CUSTOM = """
from copris_core.tasks import Message, Row, Verdict


class Echo:
    def train_rows(self):
        return [_row(i, "train") for i in range(1, 10)]

    def validation_rows(self):
        return [_row(0, "test")]

    def score(self, text, ground_truth):
        return Verdict(score=float(text == ground_truth), reason="echo")


def _row(i, split):
    prompt = (Message(role="user", content=f"Say {i}"),)
    told = {"ability": "echo", "ground_truth": str(i)}
    return Row(data_source="", prompt=prompt, split=split, index=i, **told)
"""
