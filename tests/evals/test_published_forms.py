"""HumanEval's, HumanEval+'s and MBPP+'s published forms: what a line becomes, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.datasets import load_tasks
from evals.numpy_stand_in import STAND_IN, without_numpy
from protocols.errors import TasksError
from protocols.ports import Job
from protocols.records import Task
from sandbox.process import ProcessSandbox

PROMPT = 'from typing import List\n\ndef helper(x):\n    return x\n\n\ndef half(x: float) -> float:\n    """Halve."""\n'
COMPARES = """import numpy as np

def assertion(out, exp, atol):
    if out != exp and atol != 0:
        np.testing.assert_allclose(out, exp, atol=atol)
    else:
        assert out == exp

def check(candidate):
    for inp, exp in zip([[1.0], [2.0]], [0.5, 1.0]):
        assertion(candidate(*inp), exp, 1e-6)
"""
HUMAN_EVAL_PLUS = {
    "task_id": "HumanEval/2",
    "prompt": PROMPT,
    "entry_point": "half",
    "canonical_solution": "    return helper(x) / 2\n",
    "test": COMPARES,
}
RELEASED = {
    **{key: HUMAN_EVAL_PLUS[key] for key in ("task_id", "prompt", "entry_point", "canonical_solution")},
    "contract": "",
    "base_input": [[1.0], [2.0]],
    "plus_input": [[1e9], [-3.5]],
    "atol": 0,
}
MBPP_PLUS = {
    "task_id": 2,
    "code": "def similar(a, b):\n    return tuple(set(a) & set(b))\n",
    "prompt": "Write a function to find shared elements.",
    "source_file": "x",
    "test_imports": [],
    "test_list": ["assert set(similar((3, 4), (4, 5))) == {4}"],
    "test": "import numpy as np\n"
    "inputs = [[(1, 2), (2, 3)], [(1,), (2,)]]\nresults = [(2,), ()]\n"
    "for inp, exp in zip(inputs, results):\n    assert np.allclose(sorted(similar(*inp)), sorted(exp))\n",
}


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def read(line: dict[str, Any]) -> Task:
        path = tmp_path / "t.jsonl"
        path.write_text(json.dumps(line) + "\n", encoding="utf-8")
        (task,) = load_tasks(str(path))
        return task

    return read


async def passes(task: Task, code: str) -> list[bool]:
    sandbox = ProcessSandbox(workers=1)
    result = await sandbox.run(Job(code=code, tests=task.tests, entry_point=task.entry_point, setup=task.setup))
    return [outcome.passed for outcome in result.outcomes]


class TestHumanEval:
    async def test_the_hubs_plus_form_runs_without_numpy(self, load: Any) -> None:
        task = load(HUMAN_EVAL_PLUS)
        assert await passes(task, task.reference) == [True]
        assert await passes(task, "def half(x):\n    return x / 2 + 1e-8") == [True]
        assert await passes(task, "def half(x):\n    return x / 2 + 1e-4") == [False]

    def test_what_the_prompt_defines_may_be_taken_for_granted(self, load: Any) -> None:
        assert load(HUMAN_EVAL_PLUS).context == "from typing import List\n\ndef helper(x):\n    return x"

    async def test_the_released_plus_form_expects_what_the_reference_answers(self, load: Any) -> None:
        task = load(RELEASED)
        assert (task.id, task.topic, len(task.tests)) == ("HumanEval/2", "human_eval_plus", 2)
        assert await passes(task, task.reference) == [True, True]
        assert await passes(task, "def half(x):\n    return abs(x) / 2") == [True, False]
        assert await passes(task, "def half(x):\n    return x / 2 + 1e-9") == [True, True]

    async def test_a_root_is_checked_by_putting_it_in(self, load: Any) -> None:
        root = RELEASED | {
            "entry_point": "find_zero",
            "prompt": "def find_zero(xs):\n",
            "canonical_solution": "    return -xs[0] / xs[1]\n",
            "base_input": [[[1, 2]], [[6, -3]]],
            "plus_input": [],
            "atol": 1e-4,
        }
        task = load(root)
        assert await passes(task, "def find_zero(xs):\n    return -xs[0] / xs[1] + 1e-6") == [True]
        assert await passes(task, "def find_zero(xs):\n    return 0.0") == [False]

    def test_the_released_form_of_mbpp_plus_is_refused_with_the_one_to_use(self, load: Any) -> None:
        with pytest.raises(TasksError, match="hf:evalplus/mbppplus:test"):
            load(RELEASED | {"task_id": "Mbpp/2"})


class TestMbppPlus:
    async def test_its_script_is_one_test_more(self, load: Any) -> None:
        task = load(MBPP_PLUS)
        assert (task.entry_point, len(task.tests)) == ("similar", 2)
        assert await passes(task, task.reference) == [True, True]
        assert await passes(task, "def similar(a, b):\n    return (4,)") == [True, False]

    def test_a_script_that_is_no_python_is_refused(self, load: Any) -> None:
        with pytest.raises(TasksError, match="field `test`"):
            load(MBPP_PLUS | {"test": "for"})


class TestStandIn:
    """The few lines that compare in numpy's place, against numpy itself."""

    @pytest.fixture(scope="class")
    def own(self) -> Any:
        scope: dict[str, Any] = {}
        exec(STAND_IN, scope)  # our own code
        return scope["np"]

    numbers = st.one_of(
        st.integers(-5, 5), st.floats(-3, 3), st.sampled_from([float("inf"), float("-inf"), float("nan")])
    )

    @given(st.lists(st.tuples(numbers, numbers), max_size=5), st.sampled_from([0.0, 1e-6, 0.5]))
    def test_numbers_are_close_when_numpy_says_so(
        self, own: Any, pairs: list[tuple[float, float]], atol: float
    ) -> None:
        ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
        assert own.allclose(ours, theirs, atol=atol) == np.allclose(ours, theirs, atol=atol)
        assert _asserts(own, ours, theirs, atol) == _asserts(np, ours, theirs, atol)

    def test_lists_of_other_shapes_are_not_close(self, own: Any) -> None:
        assert not own.allclose([1.0], [1.0, 1.0])
        assert not own.allclose([1.0], 1.0)
        assert own.allclose([[1.0], (2.0,)], ([1.0], [2.0]))

    @pytest.mark.parametrize(
        "code",
        ["import numpy as np\nx = np.linalg.norm([1])", "import numpy\nx = 1", "x = 1", "import numpy as np\ny = [np]"],
    )
    def test_a_script_that_needs_more_is_left_as_it_is(self, code: str) -> None:
        assert without_numpy(code) == code


def _asserts(library: Any, ours: list[float], theirs: list[float], atol: float) -> bool:
    try:
        library.testing.assert_allclose(ours, theirs, atol=atol)
    except AssertionError:
        return False
    return True
