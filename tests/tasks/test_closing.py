"""Reading what the last sentence of a response states."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks.closing import last_sentence, number_in, only_number, value_in


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("She has 3. So she makes $18 every day.", "So she makes $18 every day."),
        ("So it is 18.\nI hope this helps!", "So it is 18."),
        ("It is 3.5 miles", "It is 3.5 miles"),
        ("490 / 5 = 98\n", "490 / 5 = 98"),
        ("I think 4.</think>\nIt is 5.", "It is 5."),
        ("Thus\n\\[\n x = 5.\n\\]", "$x = 5.$"),
        ("\\begin{align*} 2x &= 10 \\\\ x &= 5 \\end{align*}", "$x = 5$"),
        ("11,\\! 111 is it.", "11,\\! 111 is it."),
        ("\u56e0\u6b64\u662f18\u3002", "\u56e0\u6b64\u662f18\u3002"),
        ("<think>It is 18.", None),
        ("It is 18. How many are left?", None),
        ("So she pays 96 *", None),
        ("The cost is 18 and the", None),
        ("It is 18. A. B. C. D. E.", None),  # too far from the end
        ("no number", None),
        ("", None),
    ],
)
def test_the_last_sentence_with_a_number_or_formula_is_found(text, sentence):
    assert last_sentence(text) == sentence


def test_a_conclusion_in_words_counts_where_words_are_asked_for():
    text = "We have $x^2$. Thus, it is an ellipse."
    assert last_sentence(text) == "We have $x^2$."
    assert last_sentence(text, words=True) == "Thus, it is an ellipse."


@pytest.mark.parametrize(
    ("sentence", "number"),
    [
        ("So she makes 9 * 2 = $18 every day.", "$18"),
        ("John collects 360 peaches in 3 hours.", "360"),
        ("Kylar needs to pay $64 for 16 glasses.", "$64"),
        ("It will take 227 minutes to string all 12 racquets.", "227"),
        ("It takes 5 hours to read 120 pages.", "5"),
        ("It will take 120/24 = 5 hours with 120 pages.", "5"),
        ("They are 32 years old 4 years from now.", "32"),
        ("In a 5 day week, he responds to 320 emails.", "320"),
        ("She needs 33 because there is 1 banana each.", "33"),
        ("That is 80% of $400, or $320.", "$320"),
        ("A total of 8 + 9, or 17, were eaten.", "17"),
        ("It is (2*7)+(4*14) or 70.", "70"),
        ("It took her 3.", "3"),
        ("It is -5 degrees.", "-5"),
        ("He came 1st with 12 points.", "12"),
        ("It has 24 8-ounce bottles.", "24"),
        ("It is 1,200,000.50 dollars.", "1,200,000.50"),
        ("That is 1/2 of it.", "1/2"),
        ("That is 5% more.", "5%"),
        ("It is 5 or 6.", None),
        ("It is $5 or $6.", None),
        ("It is x2y.", None),
        ("no number", None),
    ],
)
def test_a_sentence_states_how_much_and_not_over_what_or_when(sentence, number):
    assert number_in(sentence) == number


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("So the pair $(x, y)$ is $(7, 6)$.", "(7, 6)"),
        ("So the value is $\\frac{1}{2}$ for all $n$.", "\\frac{1}{2}"),
        ("The solutions are $x = 5$ and $x = 6$.", "x = 5, x = 6"),
        ("We find $AB = 2.5$, or $\\frac52$.", "\\frac52"),
        ("Since $a = 1$, $b = 2$.", "b = 2"),
        ("Therefore, the probability is 2/3.", "2/3"),
        ("There are 12 arithmetic sequences that do.", "12"),
        ("So she pays approximately $7.78 for it.", "$7.78"),
        ("$16 + $24 = $40.", "40"),
        ("Hence x = 3.", "3"),
        ("Thus, it is an ellipse.", "an ellipse"),
        ("It is $.5$.", ".5"),
        ("They are $1, 2, 3, ...$", "1, 2, 3, ..."),
        ("$E$", "E"),
        ("no value", None),
    ],
)
def test_a_sentence_states_its_formula_or_the_words_behind_is(sentence, value):
    assert value_in(sentence) == value


def test_only_a_number_among_words_is_the_only_number():
    assert only_number("She makes $18 every day") == "$18"
    assert only_number("70+2") is None
    assert only_number("72") is None
    assert only_number("5 eggs and 6 hens") is None


@given(text=st.text(alphabet="abc 019.,$\\()[]{}=/-\n%or", max_size=200))
def test_no_text_raises(text):
    sentence = last_sentence(text, words=True)
    if sentence is not None:
        assert sentence
        number_in(sentence)
        value_in(sentence)


@pytest.mark.parametrize(
    "piece", ["9", "1,000", "$", "\\(", "\\[", " or 5", "in 5 ", ". ", "= 5", "a "]
)
def test_a_million_characters_take_no_time(piece):
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    for ending in ("", "5.", " is $5$."):
        sentence = last_sentence(text + ending, words=True)
        if sentence is not None:
            number_in(sentence)
            value_in(sentence)
    assert time.process_time() - started < 1.0
