import ast

import pytest

from tests.tasks.mutants import OPERATORS, mutants

SEVERAL_KINDS = """
def pick(items, limit):
    \"\"\"Keep what is small.\"\"\"
    kept = []
    for item in items:
        if item <= limit and not item == 3:
            kept.append(item * 2)
    return kept if True else "none"
"""


def codes(code: str) -> list[str]:
    return [mutant for _, mutant in mutants(code, 1000)]


@pytest.mark.parametrize(
    ("code", "mutant"),
    [
        ("x = a < b", "x = a <= b"),
        ("x = a in b", "x = a not in b"),
        ("x = a < b < c", "x = a < b <= c"),
        ("x = a + b", "x = a - b"),
        ("x //= b", "x *= b"),
        ("x = 7", "x = 8"),
        ("x = 7", "x = 6"),
        ("x = True", "x = False"),
        ("x = a and b", "x = a or b"),
        ("if a:\n    x()", "if not a:\n    x()"),
        ("x = [a for a in b if a]", "x = [a for a in b if not a]"),
        ("x = 'yes'", "x = 'yesx'"),
        ("x = not a", "x = a"),
        ("def f(a):\n    return a", "def f(a):\n    return None"),
        ("def f(a):\n    a += b\n    return a", "def f(a):\n    pass\n    return a"),
        ("while a:\n    break", "while a:\n    pass"),
    ],
)
def test_each_small_mistake_is_made(code: str, mutant: str) -> None:
    assert mutant in codes(code)


def test_a_mutant_has_one_mistake_and_keeps_the_rest() -> None:
    assert set(codes("x = a + 1")) == {"x = a - 1", "x = a + 2", "x = a + 0", "pass"}


def test_every_mutant_parses_and_differs_from_the_code_and_from_each_other() -> None:
    found = codes(SEVERAL_KINDS)
    assert len(found) == len(set(found))
    assert ast.unparse(ast.parse(SEVERAL_KINDS)) not in found
    for mutant in found:
        ast.parse(mutant)


def test_the_same_code_gives_the_same_mutants_in_the_same_order() -> None:
    assert mutants(SEVERAL_KINDS, 1000) == mutants(SEVERAL_KINDS, 1000)


def test_a_limit_cuts_the_same_list() -> None:
    assert mutants(SEVERAL_KINDS, 4) == mutants(SEVERAL_KINDS, 1000)[:4]


def test_the_kinds_of_mistake_take_turns() -> None:
    kinds = [description.split()[1].rstrip(":") for description, _ in mutants(SEVERAL_KINDS, len(OPERATORS))]
    assert kinds == list(OPERATORS)


def test_descriptions_tell_mutants_apart() -> None:
    descriptions = [description for description, _ in mutants("x = 1 + 1\ny = [a for a in b if a if a]", 1000)]
    assert len(descriptions) == len(set(descriptions))
    assert "1:4 integer: 1 -> 2" in descriptions


def test_code_without_a_place_for_a_mistake_has_no_mutants() -> None:
    assert mutants("def f(a):\n    pass", 1000) == []


def test_no_mutants_are_made_of_what_does_not_parse() -> None:
    with pytest.raises(SyntaxError):
        mutants("def f(:", 1)
