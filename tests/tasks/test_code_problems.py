"""The generator of function tasks: every family is sound, and its tests tell wrong from right."""

import ast
import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from copris_core.tasks.code_problems import CodeProblem, draw_problem, split_of
from copris_core.tasks.code_task import FAMILIES, truth_of
from copris_core.tasks.code_verdict import judged

pytestmark = pytest.mark.slow  # all together: seconds, and processes of their own

BY_NAME = {family.name: family for family in FAMILIES}


def _drawn(family, params, seed=0) -> CodeProblem:
    return draw_problem(random.Random(seed), family, params, num_examples=2, num_tests=10)


def _built(source, name):
    space = {}
    exec(compile(source, name, "exec"), space)
    return space[name]


def _mutants(source):
    """The source with one number, comparison or operator changed, each in turn."""
    swaps = {
        ast.Add: ast.Sub,
        ast.Sub: ast.Add,
        ast.Lt: ast.GtE,
        ast.Gt: ast.LtE,
        ast.Eq: ast.NotEq,
    }
    swaps |= {ast.LtE: ast.Gt, ast.GtE: ast.Lt, ast.NotEq: ast.Eq, ast.FloorDiv: ast.Mult}
    for i in range(len(list(ast.walk(ast.parse(source))))):
        tree = ast.parse(source)
        node = list(ast.walk(tree))[i]
        if isinstance(node, ast.Constant) and type(node.value) is int:
            node.value += 1
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in swaps:
            node.op = swaps[type(node.op)]()
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in swaps:
            node.ops[0] = swaps[type(node.ops[0])]()
        else:
            continue
        yield ast.unparse(tree)


def test_there_are_dozens_of_families_with_many_functions_in_both_splits():
    functions = [(family.name, params) for family in FAMILIES for params in family.points()]
    held_out = [each for each in functions if split_of(*each) == "test"]
    assert len(FAMILIES) == len(BY_NAME) >= 80
    assert len(functions) >= 1000
    assert 0.15 < len(held_out) / len(functions) < 0.25
    assert len({name for name, _ in held_out}) >= 60


@pytest.mark.parametrize("name", BY_NAME)
def test_every_function_has_a_statement_without_gaps_and_a_reference_that_stands_alone(name):
    family = BY_NAME[name]
    statements = {family.statement(params) for params in family.points()}
    assert len(statements) == len(family.points())  # every parameter is told
    for params in random.Random(0).sample(family.points(), min(5, len(family.points()))):
        problem = _drawn(family, params)
        function = _built(family.solution(params), name)
        for each in problem.examples + problem.tests:
            before = repr(each.arguments)
            value = function(*each.arguments)
            assert value == each.value
            assert type(value) is type(each.value)
            assert repr(each.arguments) == before
        assert "{" not in family.statement(params)
        assert f"def {name}(" in problem.question
        assert "typing" not in problem.question


@pytest.mark.parametrize("name", BY_NAME)
def test_no_call_is_drawn_twice_and_no_constant_answer_earns_much(name):
    family = BY_NAME[name]
    for params in family.points()[:3]:
        problem = _drawn(family, params)
        calls = [repr(each.arguments) for each in problem.examples + problem.tests]
        assert len(set(calls)) == 12
        values = Counter(repr(each.value) for each in problem.tests)
        yes_or_no = isinstance(problem.tests[0].value, bool)
        # Half of 12 calls for yes or no, a quarter else; f(n) = f(n - 1) - f(n - 2) has 3 values.
        most = 6 if yes_or_no or name == "recurrence" else 3
        assert max(values.values()) <= most


def test_nearly_every_changed_reference_fails_a_test():
    caught = total = 0
    for family in FAMILIES[::3]:
        params = family.points()[0]
        tests = _drawn(family, params).tests
        for mutant in _mutants(family.solution(params)):
            function = _built(mutant, family.name)
            total += 1
            caught += not _passes(function, tests)
    assert total > 150
    assert caught / total > 0.8  # the rest changes what these parameters do not use, or nothing


def _passes(function, tests):
    for test in tests:
        steps = 0

        def bounded(frame, event, argument):
            nonlocal steps
            steps += 1
            if steps > 20_000:
                raise TimeoutError
            return bounded

        sys.settrace(bounded)
        try:
            value = function(*test.arguments)
        except Exception:
            return False
        finally:
            sys.settrace(None)
        if value != test.value:
            return False
    return True


@pytest.mark.parametrize("name", ["walk", "pipeline", "mean_of_largest", "partners", "pad_numbers"])
def test_a_reference_scores_one_in_the_sandbox(name):
    _assert_reference_scores_one(BY_NAME[name])


@pytest.mark.slow
def test_every_reference_scores_one_in_the_sandbox():
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_assert_reference_scores_one, FAMILIES))


def _assert_reference_scores_one(family):
    params = family.points()[-1]
    truth = truth_of(_drawn(family, params))
    verdict = judged(f"```python\n{family.solution(params)}\n```", truth)
    assert (verdict.score, verdict.reason) == (1.0, "10 of 10 tests passed"), family.name
