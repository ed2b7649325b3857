import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.extraction import extract_code

ADD = "def add(a, b):\n    return a + b"


def text(template: str) -> str:
    return textwrap.dedent(template).strip("\n")


def test_code_comes_out_of_its_fence() -> None:
    assert extract_code(f"Sure!\n```python\n{ADD}\n```\nThis adds.", "add") == ADD


@pytest.mark.parametrize("language", ["", "py", "python", "Python3", "python title=a.py"])
def test_the_language_of_a_fence_does_not_matter(language: str) -> None:
    assert extract_code(f"```{language}\n{ADD}\n```", "add") == ADD


def test_the_last_block_that_defines_the_entry_point_wins() -> None:
    better = "def add(a, b):\n    return b + a"
    answer = f"```\n{ADD}\n```\nBetter:\n```\n{better}\n```\nUse it:\n```\nprint(add(1, 2))\n```"
    assert extract_code(answer, "add") == better


def test_a_complete_block_beats_a_later_one_that_was_cut_off() -> None:
    assert extract_code(f"```python\n{ADD}\n```\nAgain:\n```python\ndef add(a, b):\n    return (a", "add") == ADD


def test_examples_and_tests_in_the_same_block_stay() -> None:
    block = f"{ADD}\n\nassert add(1, 2) == 3\nprint(add(3, 4))"
    assert extract_code(f"```python\n{block}\n```", "add") == block


@pytest.mark.parametrize(
    "definition",
    [
        "add = lambda a, b: a + b",
        "class add:\n    pass",
        "async def add():\n    pass",
        "other, add = 1, 2",
        "add: int = 3",
    ],
)
def test_every_way_to_define_a_name_counts(definition: str) -> None:
    assert extract_code(f"```\n{definition}\n```\n```\nprint(1)\n```", "add") == definition


@pytest.mark.parametrize(
    "other", ["def outer():\n    def add(a, b): pass", "from operator import add", "add: int", "print(add)"]
)
def test_what_only_mentions_the_name_does_not_define_it(other: str) -> None:
    assert extract_code(f"```\n{ADD}\n```\n```\n{other}\n```", "add") == ADD


def test_without_the_entry_point_the_last_block_that_parses_is_taken() -> None:
    assert extract_code(f"```\n{ADD}\n```\n```\ndef (:\n```", "missing") == ADD


def test_when_nothing_parses_the_last_block_is_returned_for_the_sandbox_to_report() -> None:
    assert extract_code("```\ndef f(:\n```\n```\ndef g(:\n```", "f") == "def g(:"


def test_a_program_is_not_mistaken_for_its_sample_output() -> None:
    answer = "```python\nprint(int(input()) + 1)\n```\nOutput:\n```\n5\n```\nand\n```\n1, 2\n```"
    assert extract_code(answer, None) == "print(int(input()) + 1)"


def test_of_two_programs_the_last_is_taken() -> None:
    assert extract_code("```\nprint(1)\n```\n```\nprint(2)\n```", None) == "print(2)"


def test_an_unclosed_fence_runs_to_the_end() -> None:
    assert extract_code(f"Here:\n```python\n{ADD}\n", "add") == ADD


def test_prose_after_an_unclosed_fence_is_cut() -> None:
    assert extract_code(f"```python\n{ADD}\n\nThis function adds two numbers.", "add") == ADD


def test_a_function_that_was_cut_off_is_not_shortened_until_it_parses() -> None:
    cut = "def add(a, b):\n    total = a\n    if total >"
    assert extract_code(f"```python\n{cut}", "add") == cut


def test_a_second_opening_fence_ends_an_unclosed_block() -> None:
    assert extract_code(f"```python\n{ADD}\n```python\nprint(1)\n```", "add") == ADD


def test_an_indented_fence_is_dedented() -> None:
    assert extract_code("1. So:\n   ```python\n   def add(a, b):\n       return a + b\n   ```", "add") == ADD


def test_bare_code_is_taken_as_it_is() -> None:
    assert extract_code(ADD, "add") == ADD


def test_prose_around_bare_code_is_cut() -> None:
    answer = f"Here is the code for you:\n\nimport math\n\n{ADD}\n\nThis works because addition is easy.\nDone"
    assert extract_code(answer, "add") == f"import math\n\n{ADD}"


@pytest.mark.parametrize("words", ["Done", "Note: this", "Explanation"])
def test_words_that_happen_to_parse_are_prose_at_the_end(words: str) -> None:
    assert extract_code(f"{ADD}\n\n{words}", "add") == ADD


def test_bare_code_that_defines_the_entry_point_beats_a_fenced_example() -> None:
    assert extract_code(f"{ADD}\n\nFor example:\n```\nadd(1, 2)\n```", "add") == ADD


def test_a_bare_program_is_found() -> None:
    program = "n = int(input())\nfor i in range(n):\n    print(i)"
    assert extract_code(f"The program reads a number.\n{program}\nIt prints all of them.", None) == program


def test_statements_with_clauses_at_the_margin_stay_whole() -> None:
    program = "try:\n    print(int(input()))\nexcept ValueError:\n    print(0)\nelse:\n    print(1)"
    assert extract_code(program, None) == program


def test_of_two_stretches_of_bare_code_the_one_with_the_entry_point_is_taken() -> None:
    longer = "def helper(a):\n    b = a\n    c = b\n    return c"
    assert extract_code(f"{longer}\nand then\n{ADD}", "add") == ADD


def test_bare_code_that_never_parses_is_returned_for_the_sandbox_to_report() -> None:
    assert extract_code("Here you are\ndef add(a, b:\n    return a", "add") == "def add(a, b:\n    return a"


@pytest.mark.parametrize(
    "prose",
    [
        "",
        "   \n",
        "I am sorry, I cannot do that.",
        "For every number from the list, if it is even:\nadd it.",
        "```python\n```",
        "import of goods is forbidden",
    ],
)
def test_prose_holds_no_code(prose: str) -> None:
    assert extract_code(prose, "add") is None
    assert extract_code(prose, None) is None


@given(st.text(alphabet=st.sampled_from("ab def()`:\n=#'\"\\\t\x0c1+[]"), max_size=120), st.sampled_from(["a", None]))
def test_nothing_makes_it_raise_and_the_result_is_never_blank(answer: str, entry_point: str | None) -> None:
    code = extract_code(answer, entry_point)
    assert code is None or code.strip()


@given(st.lists(st.sampled_from(["x = 1", "print('a')", "def g(q):\n    return q", "# note", ""]), max_size=5))
def test_whatever_surrounds_it_a_fenced_definition_comes_out_unchanged(others: list[str]) -> None:
    body = "\n".join([ADD, *others]).strip("\n")
    code = extract_code(f"Some words.\n```python\n{body}\n```\nMore words.", "add")
    assert code == body
    ast.parse(code)
