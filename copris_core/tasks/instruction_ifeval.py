"""lm-eval's IFEval checkers (arXiv 2311.07911), loaded offline and without a trace elsewhere.

``import lm_eval.tasks.ifeval`` would start lm-eval's task manager, whose requirements are not
ours, and download nltk's data. So three of its files are run here as private modules whose import
statements are answered by this file: nothing is registered in ``sys.modules``, no environment
variable is read or set, the network is never asked. Two threads that load at once do the work
twice and get equal modules. Every parameter is given, so the checkers draw nothing at random.
This file refuses to know which constraints are generated, and how they add up to a score.
"""

import builtins
import functools
import importlib
import importlib.util
import logging
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEND = "pip install --no-deps lm_eval==0.4.13, and pip install immutabledict langdetect nltk"
LANGUAGE_CHARS = 10_000  # langdetect looks no further, but would clean the whole text first
LANGUAGE_SEED = 0

# Words of the row that lm-eval would take for regular expressions: "C++" is an error there.
_PATTERNS = ("keywords", "keyword", "forbidden_words", "section_spliter")


def describe(constraint: str, parameters: Mapping[str, Any]) -> str:
    """The constraint in IFEval's words.

    Raises:
        ValueError: lm-eval is not installed.
    """
    return str(_checker(constraint).build_description(**parameters))


def follows(constraint: str, text: str, parameters: Mapping[str, Any]) -> bool:
    """Whether lm-eval's checker says that a response follows the constraint.

    Raises:
        ValueError: lm-eval is not installed.
    """
    checker = _checker(constraint)
    checker.build_description(**{name: _literal(name, value) for name, value in parameters.items()})
    return bool(checker.check_following(text))


def sentences(text: str) -> list[str]:
    """Sentences by lm-eval's own rules (abbreviations, initials, decimals), which need no data.

    The checker itself uses nltk's punkt, a download. A piece without a letter or digit is none.
    """
    marked_by_us = text.replace("<", " ")  # the splitter marks ends with <stop>, which may be said
    pieces = _modules()["instructions_util"].split_into_sentences(marked_by_us)
    return [piece for piece in pieces if any(map(str.isalnum, piece))]


def languages() -> Mapping[str, str]:
    """ISO 639-1 codes that a row may ask for, with their English names."""
    names: Mapping[str, str] = _modules()["instructions_util"].LANGUAGE_CODES
    return names


def language_of(text: str) -> str | None:
    """ISO 639-1 code by langdetect, the same on every call; None when it can't tell."""
    error: type[Exception] = _langdetect().LangDetectException
    try:
        return _detect(text)
    except error:
        return None


def _detect(text: str) -> str:
    detector = _language_factory().create()
    detector.append(text[:LANGUAGE_CHARS])
    return str(detector.detect())


def _literal(name: str, value: Any) -> Any:
    if name not in _PATTERNS:
        return value
    return re.escape(value) if isinstance(value, str) else [re.escape(each) for each in value]


def _checker(constraint: str) -> Any:
    return _modules()["instructions_registry"].INSTRUCTION_DICT[constraint](constraint)


@functools.cache
def _modules() -> Mapping[str, Any]:
    """The three files as private modules, by name."""
    nltk = types.SimpleNamespace(
        data=types.SimpleNamespace(find=lambda resource: None),  # "is there": no download
        tokenize=types.SimpleNamespace(RegexpTokenizer=_RegexpTokenizer),
    )
    langdetect = types.SimpleNamespace(
        detect=_detect, LangDetectException=_langdetect().LangDetectException
    )
    package = types.SimpleNamespace()
    answers = {"nltk": nltk, "langdetect": langdetect, "lm_eval.tasks.ifeval": package}
    for name in ("instructions_util", "instructions", "instructions_registry"):
        setattr(package, name, _run_privately(name, answers))
    # It would log every response whose language can't be told, whole, as an error.
    package.instructions.logger = logging.Logger("ifeval", level=logging.CRITICAL)
    return vars(package)


def _run_privately(name: str, answers: Mapping[str, Any]) -> types.ModuleType:
    """Run one of lm-eval's files with ``answers`` in the place of what it imports."""

    def answer(wanted: str, *args: Any) -> Any:
        return answers[wanted] if wanted in answers else builtins.__import__(wanted, *args)

    path = _ifeval_folder() / f"{name}.py"
    module = types.ModuleType(f"{__name__}.{name}")
    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": answer}
    try:
        exec(compile(path.read_text(encoding="utf-8"), path, "exec"), module.__dict__)
    except (ImportError, OSError) as error:
        raise ValueError(f"lm-eval's IFEval does not load ({error}): {MEND}") from error
    return module


def _ifeval_folder() -> Path:
    found = importlib.util.find_spec("lm_eval")  # the package's place; it is not imported
    if found is None or not found.submodule_search_locations:
        raise ValueError(f"lm-eval is missing: {MEND}")
    return Path(found.submodule_search_locations[0]) / "tasks" / "ifeval"


def _langdetect() -> Any:
    try:
        return importlib.import_module("langdetect")
    except ModuleNotFoundError as error:
        raise ValueError(f"langdetect is missing: {MEND}") from error


@functools.cache
def _language_factory() -> Any:
    """Our own factory: langdetect's is one for the process, unseeded, and filled while in use."""
    factory_module = importlib.import_module("langdetect.detector_factory")
    factory = factory_module.DetectorFactory()
    factory.load_profile(factory_module.PROFILES_DIRECTORY)
    factory.set_seed(LANGUAGE_SEED)
    return factory


class _RegexpTokenizer:
    """What the checkers use of nltk's class of this name."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)

    def tokenize(self, text: str) -> list[str]:
        """All matches, in order."""
        return self._pattern.findall(text)
