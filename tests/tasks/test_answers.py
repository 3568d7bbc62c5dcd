"""Reading the final answer out of a response."""

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks.answers import exact_number, final_answer, marked_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 5", "5"),
        ("so\n####5\nbye 6", "5"),
        ("####\n5", ""),
        ("#### 5\n#### 6", "6"),
        ("#### 5\n####", ""),
        ("\\boxed{5}", "5"),
        ("\\boxed{\\frac{5}{2}} done", "\\frac{5}{2}"),
        ("\\boxed{5", ""),
        ("\\boxed{5} or \\boxed{6}", "6"),
        ("#### 5 and \\boxed{6}", "6"),
        ("\\boxed{6} then #### 5", "5"),
        ("###### 5", "5"),
        ("### 5", None),
        ("5", None),
        ("", None),
    ],
)
def test_the_last_mark_counts(text, answer):
    assert marked_answer(text) == answer


def test_a_box_is_no_mark_where_boxes_are_not_asked_for():
    assert marked_answer("#### 5 \\boxed{6}", boxed=False) == "5 \\boxed{6}"
    assert marked_answer("\\boxed{6}", boxed=False) is None


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("5", "5"),
        ("-5", "-5"),
        ("\u22125", "-5"),  # MINUS SIGN
        ("+5", "5"),
        ("5.", "5"),
        ("5.0", "5"),
        (".5", "0.5"),
        ("1,200", "1200"),
        ("1,234,567.89", "1234567.89"),
        ("$18", "18"),
        ("$ 18.50.", "18.5"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("5 apples.", "5"),
        ("5%", "5"),
        ("5\\%", "5"),
        ("5\\text{ apples}", "5"),
        ("5 km/h", "5"),
        ("5!", "5"),
        ("**5**", "5"),
        ("007", "7"),
        ("9" * 60, "9" * 60),
    ],
)
def test_plain_numbers_are_read_exactly(answer, number):
    assert exact_number(answer) == Decimal(number)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        ".",
        "-",
        "$",
        "abc",
        "x = 5",
        "5 or 6",
        "5/2",
        "5/",
        "5 + x",
        "5^x",
        "5 = x",
        "5, 6",
        "1e3",
        "5.5.5",
        "1,20",
        "1,2000",
        "5:00",
        "m\u00b2",
        "5 m\u00b2",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "\u0665",  # ARABIC-INDIC DIGIT FIVE
        "5\u0665",
        "\uff15",  # FULLWIDTH DIGIT FIVE
        "\u2164",  # ROMAN NUMERAL FIVE
        "5\u00bd",
        "0x5",
        "5_000",
    ],
)
def test_anything_with_no_number_or_two_is_refused(answer):
    assert exact_number(answer) is None


@given(number=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), places=3))
def test_a_number_survives_writing_with_commas_and_money(number):
    assert exact_number(f" ${number:,.3f} dollars.") == number


@given(text=st.text())
def test_no_text_raises(text):
    for answer in (marked_answer(text), marked_answer("####" + text), text):
        assert answer is None or exact_number(answer) is None or exact_number(answer).is_finite()


@pytest.mark.parametrize("piece", ["9", "#", "#### 5\n", "\\boxed{", "{", ",", " ", "\u0665", "-"])
def test_a_million_characters_take_no_time(piece):
    text = (piece * 1_000_000)[:1_000_000]
    started = time.process_time()
    for answer in (
        marked_answer(text),
        marked_answer("#### " + text),
        marked_answer("\\boxed{" + text),
    ):
        exact_number(answer or "")
    assert time.process_time() - started < 0.5


def test_an_answer_too_long_to_be_a_number_is_none():
    assert marked_answer("#### " + "9" * 200) == "9" * 200
    assert marked_answer("#### " + "9" * 201) == ""
    assert marked_answer("\\boxed{" + "9" * 201 + "}") == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\fbox{70}\\%", "70"),
        ("$\\boxed 5$.", "5"),
        ("$\\boxed\\frac{1}{2}$.", "\\frac{1}{2}"),
        ("\\boxed {5}", "5"),
        ("<answer>5</answer>", "5"),
        ("<answer> \\boxed{5} </answer>", "5"),
        ("\\boxed{4} <answer>The answer is 5.</answer>", "5"),
        ("<answer></answer>", ""),
        ("$\\boxed{-2}$ and $\\boxed{1}$.", "-2, 1"),
        ("\\[\\boxed{-2} \\quad \\text{and} \\quad \\boxed{1}\\]", "-2, 1"),
        ("$x = \\boxed{5}$ or $x = \\boxed{6}$", "5, 6"),
        ("\\boxed{5}\n\n\\boxed{5}", "5"),
        ("$\\boxed{2\\frac12},$ or $\\boxed{\\frac52}$", "\\frac52"),  # says it again
        ("\\boxed{5}. No: \\boxed{6}", "6"),
        ("\\boxed{5}, \\boxed{", ""),
        ("#### 5<|im_end|>\n#### 6", "5"),
        ("#### 5\n\nQuestion: what is 2+2?\n#### 4", "5"),
        ("Problem: what is 2+2?\nSolution: \\boxed{4}", "4"),  # no answer stands before it
        ("Let me see.\nProblem: what is 2+2?\nSolution: \\boxed{4}", "4"),
        ("<think>\\boxed{3}?\nQuestion: 2+2. So 4.</think>\\boxed{4}", "4"),
        ("The answer (arabic numerals) is 18.", "18"),
        ("The answer is $7 * 2 = $14.", "$7 * 2 = $14"),
        ("The correct option is (C).", "(C)"),
        ("So the answer is option C.", "C"),
        ("ANSWER: 18", "18"),
        ("\u7b54\u6848\u662f18\u3002", "18"),  # Chinese: "the answer is 18."
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("First \\boxed{4}. Final Answer: The final answer is $5$. I hope it is correct.", "5"),
        ("It is \\boxed{4}. The final answer is correct.", "4"),
        ("Final Answer: Jane has 97 eggs in 3 days. I hope it is correct.", "97"),
        ("The final answer is x \\in [-2,7].", "x \\in [-2,7]"),
        ("#### 5\nThe answer is 6.", "5"),
        ("\\boxed{5}\n#### 2. Check the sum\nfine", "5"),
        ("\\boxed{5}\n#### Conclusion", "5"),
        ("#### Final answer: 5", "5"),
        ("#### 4\n#### 5\n#### Notes:", "5"),
        ("A: 18", "18"),
        ("Q: how many?\n**A:** 18 apples", "18 apples"),
        ("The answer is 17. Wait: the answer is 18.", "18"),
        ("So the final answer is: $\\frac{1}{2}$.", "\\frac{1}{2}"),
        ("The answer is $18 and not $20.", "$18 and not $20"),
        ("the answer is 1.5. Done.", "1.5"),
        ("Answer:\n\n  18\n", "18"),
        ("answer = 18", "18"),
        ("the answer is", ""),
        ("BA: 18", None),
        ("the answers are 17 and 18", None),
        ("18", None),
        ("", None),
    ],
)
def test_words_name_the_answer_only_where_no_mark_does(text, answer):
    assert final_answer(text) == answer


def test_a_longer_answer_than_asked_for_counts_as_empty():
    assert final_answer("\\boxed{123}", most=4) == "123"
    assert final_answer("\\boxed{1234}", most=4) == ""
    assert final_answer("#### 12345", most=4) == ""
