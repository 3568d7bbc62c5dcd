"""Code of a user's own, named on the command line: ``package.module:Name`` or ``file.py:Name``.

A file is named with its absolute path, so that any process of a run finds it. This file refuses to
know what the code is for.
"""

import difflib
import importlib
import importlib.util
import sys
import threading
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

HOW = "write package.module:Class or path/to/file.py:Class"
_LOADING = threading.Lock()


def whole_reference(reference: str, *, key: str) -> str:
    """The reference with its file's absolute path, or of a module that Python finds.

    A module that Python does not find is looked for as a file below the working directory, which
    worker processes may not have on their path.

    Args:
        reference: what the user wrote.
        key: the setting it was written for, named in errors.

    Raises:
        ValueError: it names no class, or there is no such module or file.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise ValueError(f"{key}={reference!r} names no class: {HOW}")
    if not place.endswith(".py"):
        if _is_found(place):
            return reference
        place = place.replace(".", "/") + ".py"
    file = Path(place).expanduser().absolute()
    if not file.is_file():
        raise ValueError(f"{key}={reference}: no such module, and no file {file}: {HOW}")
    return f"{file}:{name}"


def load_class(reference: str, *, key: str, needed: Collection[str], guide: str) -> type[Any]:
    """The class that a whole reference names.

    Args:
        reference: as ``whole_reference`` gives it.
        key: the setting it was written for.
        needed: methods the class must have.
        guide: where to read how it is written.

    Raises:
        ValueError: its module can't be imported, or the class is missing or lacks a method.
    """
    place, _, name = reference.rpartition(":")
    module = _module(place, key)
    kind = getattr(module, name, None)
    if not isinstance(kind, type):
        own = (x for x in vars(module).values() if getattr(x, "__module__", "") == module.__name__)
        classes = [value.__name__ for value in own if isinstance(value, type)]
        raise ValueError(f"{key}: {place} has no class {name}: {nearest(name, classes)}")
    lacking = [method for method in needed if not callable(getattr(kind, method, None))]
    if lacking:
        raise ValueError(f"{key}: {reference} lacks {', '.join(lacking)}: see {guide}")
    return kind


def nearest(name: str, known: Iterable[str]) -> str:
    """Say what was probably meant, or what there is."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(known)}"


def _is_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _module(place: str, key: str) -> ModuleType:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        with _LOADING:
            return _module_of_file(Path(place))
    except Exception as error:  # whatever the user's own code raises when it is imported
        told = (str(error) or repr(error)).partition("\n")[0]
        raise ValueError(
            f"{key}: {place} can't be imported ({type(error).__name__}: {told}): mend it"
        ) from error


def _module_of_file(file: Path) -> ModuleType:
    name = f"copris_custom_{file.stem}_{zlib.crc32(str(file).encode()):08x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a dataclass looks its module up while the body runs
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
