"""An answer reduced to what its entry point needs, before it is measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.parsing import parse
from method.sanitizing import reduced, sanitized, with_context
from protocols.records import Task
from tests.method.making import task

ADD = "def f(a, b):\n    return a + b"


def fenced(code: str) -> str:
    return f"Sure:\n```python\n{code}\n```\nI hope this helps!"


class TestWhatStays:
    def test_the_entry_point_alone_of_an_answer_that_tries_itself_out(self) -> None:
        answer = fenced(f"{ADD}\n\nprint(f(1, 2))\nassert f(1, 2) == 4\nfor n in range(3):\n    print(f(n, n))")
        assert sanitized(answer, task()) == ADD

    def test_a_main_guard_goes(self) -> None:
        assert reduced(f"{ADD}\n\nif __name__ == '__main__':\n    result = f(int(input()), 1)", "f") == ADD

    def test_imports_stay_also_those_that_are_tried(self) -> None:
        imports = (
            "import math\nfrom typing import List\ntry:\n    import numpy as np\nexcept ImportError:\n    np = None"
        )
        assert reduced(f"{imports}\n{ADD}", "f") == f"{imports}\n{ADD}"

    def test_what_the_entry_point_needs_through_others_stays_in_order(self) -> None:
        code = (
            "LIMIT = 3\n@cache\ndef helper(n):\n    return n + LIMIT\nclass Box:\n    pass\n"
            "def f(a, b):\n    return helper(a) + b"
        )
        kept = "LIMIT = 3\n@cache\ndef helper(n):\n    return n + LIMIT\ndef f(a, b):\n    return helper(a) + b"
        assert reduced(code, "f") == kept

    def test_what_is_changed_later_stays_changed(self) -> None:
        code = "TABLE = {}\nTABLE['a'] = 1\nother = 2\ndef f(a, b):\n    return TABLE[a] + b"
        assert reduced(code, "f") == "TABLE = {}\nTABLE['a'] = 1\ndef f(a, b):\n    return TABLE[a] + b"

    def test_an_entry_point_that_is_assigned(self) -> None:
        assert reduced("g = lambda a, b: a\nf = g\nf(1, 2)", "f") == "g = lambda a, b: a\nf = g"

    def test_names_that_refer_to_each_other_end(self) -> None:
        code = "def f(a, b):\n    return g(a)\ndef g(a):\n    return f(a, a)"
        assert reduced(f"{code}\nprint(f)", "f") == code


class TestWhatIsLeftAlone:
    @pytest.mark.parametrize("code", ["def f(a, b:\n    return", "def g(a):\n    return a\nprint(g(1))"])
    def test_what_cannot_be_executed_is_for_the_sandbox_to_report(self, code: str) -> None:
        assert reduced(code, "f") == code

    def test_a_program_is_whole(self) -> None:
        program = Task(id="p", kind="stdio", instruction="Add.")
        assert sanitized(fenced("def g(n):\n    return n\nprint(g(int(input())))"), program) == (
            "def g(n):\n    return n\nprint(g(int(input())))"
        )

    def test_prose_is_no_code(self) -> None:
        assert sanitized("I cannot do that.", task()) is None


class TestContext:
    def test_what_the_prompt_gave_may_be_taken_for_granted(self) -> None:
        assert with_context(ADD, "from typing import List\n") == f"from typing import List\n\n{ADD}"

    def test_nothing_is_put_before_a_look_into_the_future(self) -> None:
        code = f"from __future__ import annotations\n{ADD}"
        assert with_context(code, "import math") == code


statements = st.sampled_from(
    [
        ADD,
        "import math",
        "x = 1",
        "y = x",
        "x += 1",
        "print(x)",
        "def g():\n    return f(x, 1)",
        "if x:\n    z = 2",
        "a, *b = 1, 2",
        "f(1, 2)",
        "class C:\n    n = x",
    ]
)


@given(st.lists(statements, max_size=8))
def test_reducing_twice_is_reducing_once_and_the_result_parses(parts: list[str]) -> None:
    code = "\n".join([ADD, *parts])
    once = reduced(code, "f")
    assert parse(once) is not None
    assert ADD in once
    assert reduced(once, "f") == once
    assert set(once.splitlines()) <= set(code.splitlines())
