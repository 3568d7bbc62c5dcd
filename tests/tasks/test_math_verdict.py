"""Which mathematical answers count as the known one."""

import re
import threading
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks.math_latex import canonical, exact
from copris_core.tasks.math_values import agree
from copris_core.tasks.math_verdict import judge

# gold | answer, decided without math-verify
RIGHT = r"""
1000|1{,}000
1000|\$1,000.00
1000|1\,000
1000|1 000 dollars
10,\!080|10080
18|\text{\$}18
18|\text{Janet makes } \$18
18|18 eggs a day.
18|18\text{ eggs}
18|$18$
18|x = 18
18|18\%
0.18|18\%
\dfrac{17}{50}|34\%
\frac{1}{2}|.5
\frac{1}{2}|\frac12
\frac{1}{2}|2/4
\frac{1}{3}|0.333333
\frac{3}{56}|\frac{3}{56}\approx 0.0536
-\frac{24}{25}|\frac{-24}{25}
-50|MINUS50
1\frac{4}{5}|\frac{9}{5}
1\frac{4}{5}|1 4/5
137 \frac{1}{2}|137.5
\frac{1}{6}|0.1\overline{6}
1024|2^{10}
pq|qp
y=2x+3|y=3+2x
120|\binom{10}{3}
30^\circ|\angle ABC = 30^\circ
4|x = 2 + 2 = 4
8|8 \, \mathrm{cm}
33\frac{1}{3}\%|\frac{100}{3}
\frac{9}{2}|\frac{9}{2} \text{ hours}
.0000672|6.72 \times 10^{-5}
.0000672|6.72e-5
\frac{\pi}{2}|0.5\pi
3\sqrt{13}|\sqrt{117}
\frac{\sqrt{3}}{3}|\frac{1}{\sqrt{3}}
6 - 5i|-5i + 6
(a+5)(b+2)|ab+2a+5b+10
\cot x|\frac{\cos x}{\sin x}
(3,4]|\left( 3, 4 \right]
(3,4]|x \in (3,4]
x \in [-2,7]|[-2,7]
(2,\infty)|(2,+\infty)
(-\infty, 2) \cup (3, \infty)|(3,\infty)\cup(-\infty,2)
1,-2|x=1 or x=-2
1,-2|1 \text{ and } -2
1,-2|\{-2,1\}
3 \pm 2 \sqrt{2}|3 - 2\sqrt2, 3 + 2\sqrt2
\{1\pm\sqrt{5},-2\}|\{-2, 1+\sqrt{5}, 1-\sqrt{5}\}
(6,31,-1)|6, 31, -1
(1,2)|(x,y)=(1,2)
\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}|\begin{bmatrix} -\frac13 \\[4pt] \frac23 \end{bmatrix}
90^\circ|90 degrees
90^\circ|90°
120^\circ|∠ABC = 120°
\sqrt{51}|\sqrt{51} ≈ 7.14
\text{(C)}|\textbf{C}
\text{Evelyn}|evelyn
\text{10:30 a.m.}|10:30\text{ a.m.}
52_8|52_{\text{eight}}
52_8|52
864 \mbox{ inches}^2|864 square inches
y = 2x + 3|2x+3
9|\boxed{9}
\text{ellipse}|an ellipse
C|(C)\ 5
C|C. x = 42
C|x = C
y = 2x + 3|f(x) = 2x + 3
10|10weeks
1000.99|1,000.99m^2
{90^\circ}|90
(-2,1)|(a,b) = {(-2,1)}
185|185\\
10\text{ inches}|10 in
10\text{ in}|10
\begin{pmatrix}1\\2\end{pmatrix}|\langle 1, 2\rangle
\begin{pmatrix}1\\2\end{pmatrix}|\left(\begin{array}{c}1\\2\end{array}\right)
(-\infty,\infty)|\mathbb{R}
(-\infty,\infty)|x \in \mathbb{R}
\emptyset|\varnothing
"""

WRONG = r"""
1000|10{,}000
72|720
72|-72
72|72, 72
72|72 or 73
72|72 73
72|7 2
72|the answer is 72
72|٧٢
72|WIDE
72|nan
72|\infty
72|72x
0.18|18
18\%|18.5
18|0.18
\frac{1}{3}|0.33
.0000672|.0000671
1\frac{4}{5}|\frac{4}{5}
\frac{1}{2}|\frac{1}{0}
3\sqrt{13}|3\sqrt{17}
288 \pi|288
\sqrt{51}|7.141
p - q|q - p
3R^2|3r^2
(3,4]|(3,4)
(3,4]|[3,4]
(3,4]|(3,5]
(-\infty, 2) \cup (3, \infty)|(-\infty,2)\cup[3,\infty)
1,-2|1
1,-2|1,2
1|1,-2
2,3,5|2,3,5,5
2,2,3|2,3,5
\frac{1}{3}|333333/1000000
3 \pm 2 \sqrt{2}|3+2\sqrt{2}
(6,31,-1)|(31,6,-1)
(1,2)|\{1,2\}
\begin{pmatrix} 1 \\ 2 \end{pmatrix}|\begin{pmatrix} 1 & 2 \end{pmatrix}
\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}|\begin{pmatrix} 1 & 0 \\ 0 & -1 \end{pmatrix}
\begin{pmatrix} 1 \\ 2 \end{pmatrix}|\begin{vmatrix} 1 \\ 2 \end{vmatrix}
\text{(C)}|B
\text{even}|odd
\text{even}|neve
y=2x+3|y=3-2x
52_8|42
52_8|52_9
5|x \ne 5
x=5|y=5
1,2,3|1, 2, 3, ...
C|(D) 5
\begin{pmatrix}1\\2\end{pmatrix}|(2,1)
\begin{pmatrix}1&2\\3&4\end{pmatrix}|(1,2,3,4)
\emptyset|0
C|Cat
10|10dogs3
9|10^{10^{10}}
9|9999999999!
9|\sum_{i=1}^{10^9} i
9|9^9^9^9
9|((((((((((((9))))))))))))
"""


def _cases(table):
    spelled = table.replace("MINUS", "\u2212").replace("WIDE", "\uff17\uff12")
    return [tuple(line.split("|")) for line in spelled.strip().splitlines()]


@pytest.mark.parametrize(("gold", "answer"), _cases(RIGHT))
def test_the_known_answer_in_other_words_is_right(gold, answer):
    verdict = judge(answer, gold)
    assert verdict.score == 1.0
    assert verdict.reason in {"correct", "correct by value"}


@pytest.mark.parametrize(("gold", "answer"), _cases(WRONG))
def test_another_answer_is_wrong(gold, answer):
    assert judge(answer, gold).score == 0.0


@pytest.mark.parametrize("gold", sorted({gold for gold, _ in _cases(RIGHT)}))
def test_every_known_answer_equals_itself_however_it_is_dressed(gold):
    for dressed in (gold, f" ${gold}$ ", f"**{gold}**", f"{gold}.", f"\\({gold}\\)"):
        assert judge(dressed, gold).reason == "correct"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "no answer in a box"),
        ("  ", "no answer in a box"),
        ("9" * 1000, "answer too long"),
        ("7", "wrong"),
        ("nine or maybe more", "wrong"),
        ("2^{3^{4^5}}!", "wrong: too large to work out"),
        ("\\wp(x)", "wrong: not an expression"),
    ],
)
def test_the_reason_says_what_went_wrong(answer, reason):
    assert judge(answer, "9+\\binom{x}{2}").reason == reason


@given(st.fractions(min_value=-1000, max_value=1000, max_denominator=60))
def test_a_fraction_is_read_exactly_in_each_of_its_forms(value):
    top, below, sign = abs(value.numerator), value.denominator, "-" if value < 0 else ""
    forms = [
        f"{sign}{top}/{below}",
        f"{sign}\\frac{{{top}}}{{{below}}}",
        f"\\dfrac{{{sign}{top}}}{below}",
    ]
    if below > 1:
        forms.append(f"{sign}{top // below}\\frac{{{top % below}}}{{{below}}}")
    for form in forms if below < 10 else forms[:2]:
        number = exact(canonical(form))
        assert number is not None
        assert number.value == value


@given(
    st.text(max_size=80), st.sampled_from(["72", "\\frac{1}{2}", "(1,2]", "\\text{east}", "1,2"])
)
def test_whatever_text_is_judged_without_an_error(answer, gold):
    assert judge(answer, gold).score in (0.0, 1.0)


@given(st.text(alphabet="\\{}()[]^_,&$ .-+/0123456789abefgilmnopqrstxz", max_size=60))
def test_the_canonical_form_is_its_own_canonical_form(latex):
    once = canonical(latex)
    assert canonical(latex) == once
    if re.fullmatch(r"[0-9a-z+/^-]*", latex):
        assert canonical(once) == once


def test_values_tell_expressions_apart_and_keep_quiet_where_they_may_misread():
    assert agree("\\sin^{2}x+\\cos^{2}x", "1") is True
    assert agree("x^{2}-1", "(x-1)(x+1)") is True
    assert agree("x^{2}-1", "(x-1)^{2}") is False
    assert agree("\\sqrt[3]{-8}", "-2") is True
    assert agree("1/2x", "\\frac{x}{2}") is None
    assert agree("2\\frac{1}{2}+x", "x+1") is None
    assert agree("\\sin(x)^{2}", "\\sin^{2}x") is None  # or the sine of x squared
    assert agree("1234567890123456\\cdot1", "1234567890123457") is None  # too close for floats
    assert agree("\\sqrt{51}", "7.141") is False
    assert agree("\\sqrt{51}", "7.141428") is None  # six digits: not equal, perhaps near enough
    assert agree("\\frac{1}{0}", "1") is False
    assert agree("10^{400}", "10^{400}+1") is None


def test_half_of_a_percent_is_exact():
    number = exact("0.5%")
    assert number is not None
    assert (number.value, number.percent) == (Fraction(1, 2), True)


def test_a_thousand_hopeless_answers_take_a_moment():
    pieces = ["\\frac{", "^{9", "(", "\\sqrt{", "9!", "\\left(", "٣", "x", "&", "\\\\", "=", ","]
    started = time.process_time()
    for number in range(1000):
        piece = pieces[number % len(pieces)]
        assert judge(piece * (1 + number % 70) + str(number), "\\text{east}").score == 0.0
    assert time.process_time() - started < 2.0


def test_threads_judge_at_the_same_time():
    scores = []
    threads = [
        threading.Thread(target=lambda: scores.append(judge("\\frac{2}{4}+0x", "\\frac12").score))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert scores == [1.0] * 8
