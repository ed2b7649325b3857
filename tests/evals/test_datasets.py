"""Loading tasks: four forms, where they come from, and what is refused with which words."""

import base64
import gzip
import json
import pickle
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from evals.datasets import load_tasks
from protocols.errors import TasksError
from protocols.records import AssertTest, StdioTest

MBPP = Path(__file__).parents[3] / "shared" / "data" / "mbpp"
SHIPPED = Path(__file__).parents[2] / "tasks"

OWN = {
    "id": "numbers/double",
    "kind": "function",
    "topic": "numbers",
    "difficulty": 1,
    "instruction": "Write `double(x)`.",
    "entry_point": "double",
    "reference": "def double(x):\n    return 2 * x\n",
    "setup": "import math",
    "tests": ["assert double(2) == 4"],
}
STDIO = {
    "id": "io/sum",
    "kind": "stdio",
    "instruction": "Print the sum.",
    "tests": [{"stdin": "1 2\n", "stdout": "3\n"}],
}
FULL_MBPP = {
    "text": "Write a function to double. ",
    "code": "def helper(x):\r\n\treturn x\r\ndef double(x):\r\n\treturn 2 * helper(x)",
    "task_id": 601,
    "test_setup_code": "root = 1",
    "test_list": ["assert double(helper(2)) == 4", "assert double(root) == 2"],
    "challenge_test_list": ["assert double(-1) == -2"],
}
CHECKED_MBPP = {
    "source_file": "x.ipynb",
    "task_id": 602,
    "prompt": "Write a function to double.",
    "code": "def double(x):\n    return 2 * x",
    "test_imports": ["import math", "import re"],
    "test_list": ["assert math.isclose(double(2), 4)"],
}
HUMAN_EVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'def double(x: int) -> int:\n    """Double it."""\n',
    "entry_point": "double",
    "canonical_solution": "    return 2 * x\n",
    "test": "METADATA = {}\n\ndef check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 6\n",
}
CONTEST = {
    "question_id": "1_A",
    "question_content": "Print the sum.",
    "starter_code": "",
    "difficulty": "medium",
    "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]),
    "private_test_cases": json.dumps([{"input": "5 5\n", "output": "10\n", "testtype": "stdin"}]),
    "metadata": "{}",
}
METHOD = {
    "question_id": "2",
    "question_content": "Pick.",
    "starter_code": "class Solution:\n    def pick(self, xs, key):\n        ",
    "public_test_cases": json.dumps([{"input": '[1, 2]\n"a"', "output": "[2]", "testtype": "functional"}]),
    "private_test_cases": json.dumps([{"input": "[]\nnull", "output": "0.5", "testtype": "functional"}]),
    "metadata": json.dumps({"func_name": "pick"}),
}


class Hostile:
    """What a pickle that is no string could hold."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("unpickled",)


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def write(path: Path, *lines: Any) -> str:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text(text + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.jsonl"


class TestForms:
    def test_our_own_function_task(self, path: Path) -> None:
        (task,) = load_tasks(write(path, OWN))
        assert (task.id, task.kind, task.topic, task.difficulty) == ("numbers/double", "function", "numbers", 1)
        assert (task.instruction, task.entry_point) == (OWN["instruction"], "double")
        assert (task.reference, task.setup) == (OWN["reference"], "import math")
        assert task.tests == (AssertTest(code="assert double(2) == 4"),)

    def test_our_own_stdio_task(self, path: Path) -> None:
        (task,) = load_tasks(write(path, STDIO))
        assert (task.kind, task.entry_point, task.reference, task.difficulty) == ("stdio", None, None, None)
        assert task.tests == (StdioTest(stdin="1 2\n", stdout="3\n"),)

    def test_a_task_may_be_without_tests(self, path: Path) -> None:
        (task,) = load_tasks(write(path, OWN | {"tests": []}))
        assert task.tests == ()

    def test_full_mbpp(self, path: Path) -> None:
        (task,) = load_tasks(write(path, FULL_MBPP))
        assert (task.id, task.entry_point, task.setup) == ("mbpp/601", "double", "root = 1")
        assert task.reference == "def helper(x):\n\treturn x\ndef double(x):\n\treturn 2 * helper(x)"
        assert [test.code for test in task.tests if isinstance(test, AssertTest)] == [
            *FULL_MBPP["test_list"],
            *FULL_MBPP["challenge_test_list"],
        ]

    def test_mbpps_instruction_shows_the_name_and_one_test_only(self, path: Path) -> None:
        (task,) = load_tasks(write(path, FULL_MBPP))
        assert task.instruction.startswith("Write a function to double.\n\nName the function `double`.")
        assert "assert double(helper(2)) == 4" in task.instruction
        assert "root" not in task.instruction

    def test_hand_checked_mbpp(self, path: Path) -> None:
        (task,) = load_tasks(write(path, CHECKED_MBPP))
        assert (task.id, task.entry_point, task.setup) == ("mbpp/602", "double", "import math\nimport re")

    def test_mbpps_entry_point_is_a_function_before_a_class(self, path: Path) -> None:
        code = "class Pair:\n    pass\ndef longest(pairs):\n    return 0"
        line = CHECKED_MBPP | {"code": code, "test_list": ["assert longest([Pair(), Pair()]) == 0"]}
        assert load_tasks(write(path, line))[0].entry_point == "longest"

    def test_human_eval(self, path: Path) -> None:
        (task,) = load_tasks(write(path, HUMAN_EVAL))
        assert (task.id, task.entry_point) == ("HumanEval/0", "double")
        assert task.instruction == f"Complete this function:\n\n{HUMAN_EVAL['prompt']}"
        assert task.reference == HUMAN_EVAL["prompt"] + HUMAN_EVAL["canonical_solution"]
        assert task.tests == (AssertTest(code="assert double(2) == 4"), AssertTest(code="assert double(3) == 6"))

    def test_a_check_of_human_eval_that_does_more_than_assert_stays_whole(self, path: Path) -> None:
        check = "def check(candidate):\n    for x in range(3):\n        assert candidate(x) == 2 * x\n"
        (task,) = load_tasks(write(path, HUMAN_EVAL | {"test": check}))
        assert task.tests == (AssertTest(code=f"{check}\ncheck(double)"),)

    def test_our_own_stdio_task_may_name_its_comparison(self, path: Path) -> None:
        test = {"stdin": "", "stdout": "0.5", "comparison": "floats", "tolerance": 0.01}
        (task,) = load_tasks(write(path, STDIO | {"tests": [test]}))
        assert task.tests == (StdioTest(stdin="", stdout="0.5", comparison="floats", tolerance=0.01),)

    def test_live_code_benchs_programs(self, path: Path) -> None:
        (task,) = load_tasks(write(path, CONTEST))
        assert (task.id, task.kind, task.entry_point, task.difficulty) == ("live_code_bench/1_A", "stdio", None, 3)
        assert task.tests == (
            StdioTest(stdin="1 2\n", stdout="3\n", comparison="floats", tolerance=0.0),
            StdioTest(stdin="5 5\n", stdout="10\n", comparison="floats", tolerance=0.0),
        )

    def test_live_code_benchs_private_tests_may_be_packed(self, path: Path) -> None:
        (task,) = load_tasks(write(path, CONTEST | {"private_test_cases": packed(CONTEST["private_test_cases"])}))
        assert len(task.tests) == 2

    def test_live_code_benchs_functions(self, path: Path) -> None:
        (task,) = load_tasks(write(path, METHOD))
        assert (task.kind, task.entry_point) == ("function", "Solution")
        assert "class Solution:" in task.instruction
        assert task.tests == (
            AssertTest(code="assert Solution().pick([1, 2], 'a') in ([2], tuple([2]))"),
            AssertTest(code="assert Solution().pick([], None) == 0.5"),
        )


class TestSources:
    def test_order_and_limit(self, path: Path) -> None:
        source = write(path, *(OWN | {"id": name} for name in "zamb"))
        assert [task.id for task in load_tasks(source)] == list("zamb")
        assert [task.id for task in load_tasks(source, limit=2)] == ["z", "a"]

    def test_blank_lines_a_byte_order_mark_and_odd_separators_do_no_harm(self, path: Path) -> None:
        line = json.dumps(OWN | {"instruction": "one\u2028two"}, ensure_ascii=False)
        path.write_bytes(b"\xef\xbb\xbf\n" + line.encode() + b"\r\n\n")
        assert load_tasks(str(path))[0].instruction == "one\u2028two"

    def test_a_compressed_file(self, tmp_path: Path) -> None:
        path = tmp_path / "HumanEval.jsonl.gz"
        path.write_bytes(gzip.compress(json.dumps(HUMAN_EVAL).encode()))
        assert load_tasks(str(path))[0].id == "HumanEval/0"

    def test_the_hub_is_asked_for_name_and_split(self) -> None:
        asked: list[tuple[str, str]] = []

        def rows(name: str, split: str) -> list[dict[str, Any]]:
            asked.append((name, split))
            return [FULL_MBPP, FULL_MBPP | {"task_id": 7}]

        assert [task.id for task in load_tasks("hf:owner/mbpp:test", rows=rows)] == ["mbpp/601", "mbpp/7"]
        assert len(load_tasks("hf:owner/mbpp", limit=1, rows=rows)) == 1
        assert asked == [("owner/mbpp", "test"), ("owner/mbpp", "train")]

    def test_a_bad_row_of_the_hub_is_named(self) -> None:
        with pytest.raises(TasksError, match=r"hf:x, row 2: .*test_list"):
            load_tasks("hf:x", rows=lambda name, split: [FULL_MBPP, FULL_MBPP | {"test_list": 3}])

    def test_without_the_package_its_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(TasksError, match="install this project's extra `datasets`"):
            load_tasks("hf:owner/mbpp")

    def test_a_set_that_the_package_cannot_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Library:
            def load_dataset(self, name: str, split: str) -> None:
                raise ConnectionError(f"no way to {name}")

        monkeypatch.setitem(sys.modules, "datasets", Library())  # pyright: ignore[reportArgumentType]
        with pytest.raises(TasksError, match=r"hf:owner/mbpp:test cannot be loaded: no way to owner/mbpp"):
            load_tasks("hf:owner/mbpp:test")

    def test_a_missing_file(self, path: Path) -> None:
        with pytest.raises(TasksError, match=r"tasks\.jsonl does not exist"):
            load_tasks(str(path))

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(TasksError, match="cannot be read"):
            load_tasks(str(tmp_path))

    @pytest.mark.parametrize("content", ["", "\n\n  \n"])
    def test_an_empty_file(self, path: Path, content: str) -> None:
        path.write_text(content)
        with pytest.raises(TasksError, match="at least one task"):
            load_tasks(str(path))

    @pytest.mark.parametrize("content", [b"not compressed", gzip.compress(b"{}" * 99, mtime=0)[:-9]])
    def test_a_broken_compressed_file(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "x.jsonl.gz"
        path.write_bytes(content)
        with pytest.raises(TasksError, match="cannot be read"):
            load_tasks(str(path))

    def test_an_id_twice(self, path: Path) -> None:
        with pytest.raises(TasksError, match=r"line 3: field `id`: 'numbers/double' is there already, from .*line 1"):
            load_tasks(write(path, OWN, STDIO, OWN))


BAD_LINES = [
    pytest.param(OWN, "{oops", "line 2: .*malformed", id="not JSON"),
    pytest.param(OWN, "[1]", "line 2: expected `object`", id="not an object"),
    pytest.param(OWN, OWN | {"id": 3}, "line 2: field `id`: expected `str`, got `int`", id="type"),
    pytest.param(OWN, OWN | {"id": ""}, "line 2: field `id`: expected `str` of length >= 1", id="empty"),
    pytest.param(OWN, OWN | {"kind": "essay"}, "line 2: field `kind`: invalid enum value 'essay'", id="kind"),
    pytest.param(OWN, OWN | {"difficulty": 9}, "line 2: field `difficulty`: expected `int` <= 5", id="difficulty"),
    pytest.param(OWN, OWN | {"dificulty": 1}, "line 2: .*unknown field `dificulty`", id="unknown field"),
    pytest.param(OWN, {"id": "x", "kind": "stdio"}, "line 2: .*missing required field `instruction`", id="missing"),
    pytest.param(OWN, OWN | {"entry_point": None}, "line 2: field `entry_point` is missing", id="no entry point"),
    pytest.param(OWN, OWN | {"reference": "def f(): pass"}, "line 2: field `reference`: .*`double`", id="other name"),
    pytest.param(OWN, OWN | {"reference": "def f(:"}, "line 2: field `reference`: expected Python", id="bad reference"),
    pytest.param(OWN, OWN | {"setup": "import"}, "line 2: field `setup`: expected Python", id="bad setup"),
    pytest.param(OWN, OWN | {"tests": ["assert ("]}, r"line 2: field `tests\[0\]`: expected Python", id="bad test"),
    pytest.param(
        OWN, OWN | {"tests": STDIO["tests"]}, r"line 2: field `tests\[0\]`: .*string of Python", id="wrong test"
    ),
    pytest.param(OWN, OWN | {"tests": [{"stdin": ""}]}, r"line 2: field `tests\[0\]`: .*`stdout`", id="half a test"),
    pytest.param(STDIO, STDIO | {"id": "y", "tests": ["x"]}, r"line 2: field `tests\[0\]`: .*object", id="string test"),
    pytest.param(
        STDIO, STDIO | {"id": "y", "entry_point": "f"}, "line 2: field `entry_point`: .*none", id="stdio name"
    ),
    pytest.param(FULL_MBPP, FULL_MBPP | {"code": "x = 1"}, "line 2: field `code`: .*double", id="mbpp: not defined"),
    pytest.param(
        FULL_MBPP, FULL_MBPP | {"test_list": []}, "line 2: field `test_list`: .*one assert", id="mbpp: no test"
    ),
    pytest.param(FULL_MBPP, FULL_MBPP | {"text": ""}, "line 2: field `text`", id="mbpp: no text"),
    pytest.param(FULL_MBPP, OWN, "line 2: .*missing required field `task_id` .MBPP's form", id="another form later"),
    pytest.param(
        CONTEST,
        CONTEST | {"question_id": "2", "public_test_cases": "[]", "private_test_cases": ""},
        "line 2: .*one type, got none",
        id="contest: no test",
    ),
    pytest.param(
        CONTEST,
        CONTEST | {"question_id": "2", "public_test_cases": METHOD["public_test_cases"]},
        "line 2: .*one type, got .*functional.*stdin",
        id="contest: two types",
    ),
    pytest.param(METHOD, METHOD | {"metadata": "{}"}, "line 2: field `metadata`: .*func_name", id="contest: no method"),
    pytest.param(
        CONTEST, CONTEST | {"private_test_cases": "!!"}, "line 2: field `private_test_cases`", id="contest: not packed"
    ),
    pytest.param(
        CONTEST, CONTEST | {"private_test_cases": packed(3)}, "line 2: .*hold a string", id="contest: no string"
    ),
    pytest.param(
        CONTEST,
        CONTEST | {"private_test_cases": packed(Hostile())},
        "line 2: .*it names builtins.print",
        id="contest: hostile pickle",
    ),
    pytest.param(
        METHOD,
        METHOD | {"public_test_cases": json.dumps([{"input": "[1", "output": "", "testtype": "functional"}])},
        "line 2: field `input` of a test",
        id="contest: no value",
    ),
    pytest.param(HUMAN_EVAL, HUMAN_EVAL | {"test": "x = 1"}, "line 2: field `test`: .*`check`", id="no check"),
    pytest.param(HUMAN_EVAL, HUMAN_EVAL | {"entry_point": "f"}, "line 2: .*canonical_solution`: .*`f`", id="no entry"),
]


@pytest.mark.parametrize(("first", "second", "text"), BAD_LINES)
def test_a_line_that_cannot_be_used_is_named_with_its_field(path: Path, first: Any, second: Any, text: str) -> None:
    with pytest.raises(TasksError, match=f"(?i){text}") as caught:
        load_tasks(write(path, first, second))
    assert str(path) in str(caught.value)


def test_a_form_that_nobody_knows_is_refused_with_those_that_are(path: Path) -> None:
    with pytest.raises(
        TasksError, match=r"line 1: of no known form, its fields are answer, question; .*MBPP.*HumanEval"
    ):
        load_tasks(write(path, {"question": "?", "answer": "!"}))


def test_text_that_is_not_utf_8_is_refused(path: Path) -> None:
    path.write_bytes(json.dumps(OWN).encode().replace(b"Write", b"\xff\xfe"))
    with pytest.raises(TasksError, match="line 1"):
        load_tasks(str(path))


@pytest.mark.skipif(not MBPP.is_dir(), reason="MBPP is not at ../shared/data/mbpp")
@pytest.mark.parametrize(
    ("name", "count"),
    [("train", 374), ("validation", 90), ("prompt", 10), ("sanitized-train", 120), ("sanitized-validation", 43)],
)
def test_published_mbpp_loads_whole(name: str, count: int) -> None:
    tasks = load_tasks(str(MBPP / f"{name}.jsonl"))
    assert len(tasks) == count
    for task in tasks:
        assert task.entry_point is not None
        assert task.tests
        assert f"`{task.entry_point}`" in task.instruction
        assert f"def {task.entry_point}" in (task.reference or "")


@pytest.mark.parametrize("name", ["train", "gate", "held_out"])
def test_our_own_sets_load(name: str) -> None:
    assert len(load_tasks(str(SHIPPED / f"{name}.jsonl"))) >= 30
