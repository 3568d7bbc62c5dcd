import json

import pytest

from copris_core.evaluation.eval_sample import EvalSample
from tests.evaluation.eval_house import sample


def test_a_sample_comes_back_from_its_line_as_it_was() -> None:
    before = sample(answer=None, response="</script>\n\u2028 \x00", level="5")
    assert EvalSample.from_json(json.loads(json.dumps(before.to_json()))) == before


def test_a_whole_score_is_a_number_too() -> None:
    assert EvalSample.from_json({**sample().to_json(), "score": 1}) == sample()


def test_unknown_keys_are_left_alone() -> None:
    assert EvalSample.from_json({**sample().to_json(), "seconds": 3.5}) == sample()


@pytest.mark.parametrize("key", list(sample().to_json()))
def test_a_missing_key_is_named_with_its_mend(key: str) -> None:
    line = sample().to_json()
    del line[key]
    with pytest.raises(ValueError, match=f"a sample has no '{key}': mend or delete that line"):
        EvalSample.from_json(line)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("index", "0", "index = '0', which is not int"),
        ("index", True, "index = True, which is not int"),
        ("index", -1, "index = -1"),
        ("score", "1", "score = '1', which is not float or int"),
        ("score", float("nan"), "score = nan"),
        ("correct", 1, "correct = 1, which is not bool"),
        ("answer", 1200, "answer = 1200, which is not str or null"),
        ("num_tokens", -5, "num_tokens = -5"),
        ("finish", "abort", "finish = 'abort'"),
        ("uid", "", "uid = ''"),
        ("task", "", "task = ''"),
    ],
)
def test_a_wrong_value_is_named_with_its_mend(key: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match="mend or delete that line") as caught:
        EvalSample.from_json({**sample().to_json(), key: value})
    assert f"a sample has {said}: " in str(caught.value)


def test_a_long_wrong_value_does_not_fill_the_screen() -> None:
    with pytest.raises(ValueError, match="reason") as caught:
        EvalSample.from_json({**sample().to_json(), "reason": ["x" * 10_000]})
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("line", [None, [], "x", 1])
def test_what_is_no_object_is_no_sample(line: object) -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        EvalSample.from_json(line)


def test_only_a_sample_at_its_limit_is_truncated() -> None:
    assert sample(finish="length").truncated
    assert not sample(finish="stop").truncated
