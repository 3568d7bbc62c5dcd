"""One order, one strictness and one honesty rule for every test.

Order: the pure core, then what needs the stack, then whole trainings, so that a broken line of the
core shows in seconds. Warnings are errors for the pure core only: the stack's are not ours to mend.
"""

import sys
import warnings
from collections.abc import Generator

import hypothesis
import pytest

STACK_FOLDERS = ("verl_adapter", "e2e")
STACK_PACKAGES = frozenset({"verl", "vllm", "ray", "tensordict"})

hypothesis.settings.register_profile(
    "copris",
    deadline=None,  # the machine is shared
    derandomize=True,  # a red run must be red again
    database=None,
)
hypothesis.settings.register_profile(  # pytest --hypothesis-profile=nightly
    "nightly", deadline=None, max_examples=2000, print_blob=True, database=None
)
hypothesis.settings.load_profile("copris")


def stage(item: pytest.Item) -> int:
    """0 for the pure core, 1 for the stack's seams, 2 for whole trainings."""
    marks = {mark.name for mark in item.iter_markers()}
    return 2 if marks & {"e2e", "gpu"} else int("verl" in marks)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order by stage, let the stack warn, and skip what needs a device that is not there."""
    items.sort(key=stage)
    for item in items:
        if stage(item) > 0:
            item.add_marker(pytest.mark.filterwarnings("default"))
        if item.get_closest_marker("gpu") and not has_cuda():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and torch sees none"))


def has_cuda() -> bool:
    """Asked only where a `gpu` test was collected: torch takes seconds to import."""
    import torch

    return torch.cuda.is_available()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, object, object]:
    """Let the stack warn while the folders that import it are collected."""
    if not set(STACK_FOLDERS) & set(collector.path.parts):
        return (yield)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        return (yield)


@pytest.fixture(autouse=True)
def _pure_tests_load_no_stack(request: pytest.FixtureRequest) -> Generator[None, None, None]:
    before = STACK_PACKAGES & sys.modules.keys()
    yield
    loaded = (STACK_PACKAGES & sys.modules.keys()) - before
    if loaded and stage(request.node) == 0:
        pytest.fail(f"imported {', '.join(sorted(loaded))}: mark the test with `verl`")
