"""The same program behaves the same each time, in each of its tests, in each slot."""

import pytest

from protocols.ports import JobResult
from sandbox.process import ProcessSandbox
from tests.sandbox.making import function_job, passed


async def _actual(sandbox: ProcessSandbox, code: str, tests: int = 2) -> list[str | None]:
    result: JobResult = await sandbox.run(function_job(code, *["assert f(1) == 'never'"] * tests))
    return [outcome.actual for outcome in result.outcomes]


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    return list({'one', 'two', 'three', 'four', 'five'})",
        "import random\ndef f(x):\n    return random.random()",
        "import random\ndef f(x):\n    values = list(range(50))\n    random.shuffle(values)\n    return values",
        "import time\ndef f(x):\n    return time.tzname, time.localtime(0).tm_hour",
        "import locale\ndef f(x):\n    return locale.getlocale(), locale.getpreferredencoding()",
        "import sys\ndef f(x):\n    return sys.getrecursionlimit(), sys.argv, hash('x')",
        "count = 0\ndef f(x):\n    global count\n    count += 1\n    return count",
        "import sys\ndef f(x):\n    return [sys.setrecursionlimit(5000), sys.getrecursionlimit()]",
    ],
)
async def test_each_test_and_each_run_gives_the_same(sandbox: ProcessSandbox, code: str):
    first, second = await _actual(sandbox, code), await _actual(sandbox, code)
    assert first[0] is not None
    assert {*first, *second} == {first[0]}


async def test_a_seed_of_the_tests_own_counts(sandbox: ProcessSandbox):
    code = "import random\ndef f(x):\n    return random.random()"
    apart = "import random\nrandom.seed(7)\ng = random.Random(7)\nassert random.random() == g.random()"
    assert passed(await sandbox.run(function_job(code, apart))) == (True,)


async def test_what_one_test_did_to_built_ins_is_undone_for_the_next(sandbox: ProcessSandbox):
    code = "import builtins\ndef f(x):\n    if x == 1:\n        builtins.len = lambda y: 7\n    return len([])"
    assert passed(await sandbox.run(function_job(code, "assert f(1) == 7", "assert f(2) == 0"))) == (True, True)


async def test_threads_of_one_test_do_not_reach_the_next(sandbox: ProcessSandbox):
    code = (
        "import threading, time\ndef f(x):\n    before = threading.active_count()\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n    return before"
    )
    assert passed(await sandbox.run(function_job(code, "assert f(1) == 1", "assert f(2) == 1"))) == (True, True)


async def test_random_numbers_are_the_same_in_every_run_by_whatever_name_they_are_had(sandbox: ProcessSandbox):
    code = "name = 'modnar'[::-1]\ndef f(x):\n    return getattr(__import__(name), name)()"
    first, second = [await _actual(sandbox, code, tests=1) for _ in range(2)]
    assert first == second
    assert first[0] is not None
