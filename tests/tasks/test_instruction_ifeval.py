"""lm-eval's checkers: loaded without the network and without a trace, and always of one mind."""

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from copris_core.tasks import instruction_ifeval as ifeval

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("lm_eval") is None,
        reason="needs lm_eval: pip install 'copris[cpu]'",
    ),
]

ROOT = Path(__file__).parents[2]
LOADS = (
    "import os, random, socket, sys\n"
    "def refuse(*args, **kwargs): raise AssertionError('asked the network')\n"
    "socket.socket = socket.create_connection = socket.getaddrinfo = refuse\n"
    "before, drawn = dict(os.environ), random.getstate()\n"
    "from copris_core.tasks import instruction_ifeval as ifeval\n"
    "light = 'langdetect' not in sys.modules\n"
    "said = ifeval.follows('punctuation:no_comma', 'a, b', {})\n"
    "ifeval.follows('change_case:english_lowercase', 'so it is', {})\n"
    "named = [name for name in sys.modules if name.split('.')[0] in ('lm_eval', 'nltk')]\n"
    "print(light, said, named, before == os.environ, drawn == random.getstate())"
)


def test_loading_asks_no_network_and_leaves_nothing_behind():
    done = subprocess.run(
        [sys.executable, "-c", LOADS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True False [] True True"
    assert done.stderr == ""


def test_threads_that_load_at_once_get_whole_modules():
    ifeval._modules.cache_clear()
    ifeval._language_factory.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        said = pool.map(
            lambda number: ifeval.follows(
                "length_constraints:number_words",
                "so " * number,
                {"num_words": 4, "relation": "at least"},
            ),
            range(8),
        )
        assert list(said) == [number >= 4 for number in range(8)]


def test_the_language_is_the_same_on_every_call():
    text = "so it is"  # langdetect, unseeded, says English or Tagalog
    assert len({ifeval.language_of(text) for _ in range(20)}) == 1


@pytest.mark.parametrize("text", ["", "12 + 3", "\u2603", "\ud800", "!?"])
def test_no_language_is_told_where_none_is_spoken(text):
    assert ifeval.language_of(text) is None


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Ray lives in the U.S. today", ["Dr. Ray lives in the U.S. today"]),
        ("It costs 2.50. Fine", ["It costs 2.50.", "Fine"]),
        ("Wait... what?!", ["Wait...", "what?"]),
        ("!!! ... ???", []),
        ("no<stop>mark<prd>", ["no stop>mark prd>"]),
    ],
)
def test_sentences_are_split_by_rules(text, sentences):
    assert ifeval.sentences(text) == sentences


def test_an_undetectable_response_is_not_logged(caplog):
    assert ifeval.follows("language:response_language", "123", {"language": "fr"})  # IFEval's rule
    assert caplog.records == []


@pytest.mark.parametrize("missing", ["lm_eval", "langdetect"])
def test_a_missing_package_is_named_with_the_mend(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(ifeval.importlib.util, "find_spec", lambda name: None)
    ifeval._modules.cache_clear()
    with pytest.raises(ValueError, match=r"(lm-eval|langdetect) is missing: pip install"):
        ifeval.describe("punctuation:no_comma", {})
    ifeval._modules.cache_clear()
