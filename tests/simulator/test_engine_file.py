"""engine.yaml: every number commented, read back as written, refused in one line."""

import dataclasses
from pathlib import Path

import pytest

from copris_core.simulator.engine import EngineModel
from copris_core.simulator.engine_file import EngineFile, read_engine, to_yaml, write_engine
from copris_core.simulator.presets import PRESETS

FILE = EngineFile(
    name="mine",
    is_estimate=False,
    engine=EngineModel(
        step_s=0.0023,
        response_s=0.000128,
        flat_to=8,
        prefill_token_s=1e-05,  # YAML takes 1e-05 for text
        stop_s=0.0,
        kv_tokens=349525,
        max_running=256,
    ),
    update_s=0.5,
    update_token_s=3.4e-4,
    update_padded_token_s=1e-4,
    heading=("Measured on a Sunday.",),
    sources={"step_s": "1,234 iterations"},
    calibrated_on=("longtail/4x8/copris/round0",),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_engine(FILE, tmp_path / "deep" / "engine.yaml")

    found = read_engine(tmp_path / "deep" / "engine.yaml")

    assert found == dataclasses.replace(FILE, heading=(), sources={})


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_can_be_written_down(tmp_path: Path, name: str) -> None:
    preset = PRESETS[name]
    file = dataclasses.replace(FILE, engine=preset.engine, is_estimate=preset.is_estimate)
    write_engine(file, tmp_path / "engine.yaml")
    found = read_engine(tmp_path / "engine.yaml").engine
    for key, value in dataclasses.asdict(preset.engine).items():
        assert getattr(found, key) == pytest.approx(value, rel=1e-5)


def test_every_number_is_told_with_its_unit_and_source() -> None:
    text = to_yaml(FILE)
    numbers = [line for line in text.splitlines() if line.startswith("  ") and ":" in line]

    assert text.startswith("# Measured on a Sunday.\n")
    assert len(numbers) == len(dataclasses.fields(EngineModel)) + 3
    assert all("  # " in line for line in numbers)
    assert "# s, a decode step whatever the batch; 1,234 iterations" in text


def _edited(old: str, new: str) -> str:
    text = to_yaml(FILE)
    assert old in text
    return text.replace(old, new)


WRONG = [
    (_edited("step_s: 0.0023", "steps_s: 0.0023"), r"engine has no steps_s: do you mean step_s"),
    (_edited("  step_s: 0.0023 ", "  #"), r"engine lacks step_s"),
    (_edited("step_s: 0.0023", "step_s: quick"), r"step_s is 'quick': it should be a number"),
    (_edited("step_s: 0.0023", "step_s: -1.0"), r"a decode step takes time"),
    (_edited("kv_tokens: 349525", "kv_tokens: 3.5"), r"kv_tokens is 3.5: .*whole number"),
    (_edited("is_estimate: false", "is_estimate: maybe"), r"say true or false"),
    (_edited("trainer:", "trainers:"), r"the file has no trainers: do you mean trainer"),
    (_edited("update_s: 0.5", "update_s: -0.5"), r"no update takes less than no time"),
    (_edited("update_s: 0.5", "update_s: .nan"), r"update_s is nan"),
    ("- a\n- b\n", r"the file should be a mapping"),
    ("engine: {", r"is not YAML"),
]


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_a_wrong_file_gets_one_line_that_names_it(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text(text)

    with pytest.raises(ValueError, match=why) as caught:
        read_engine(path)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trainer_without_padding_need_not_say_so(tmp_path: Path) -> None:
    path = tmp_path / "engine.yaml"
    lines = to_yaml(FILE).splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "update_padded_token_s" not in line))
    assert read_engine(path).update_padded_token_s == 0.0


def test_a_missing_file_is_told_how_to_come_by_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no engine file .*copris plan calibrate"):
        read_engine(tmp_path / "engine.yaml")
