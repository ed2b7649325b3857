"""Candidates for function tasks: what passes, and which class a failure has."""

import pytest

from protocols.ports import Limits
from protocols.records import ErrorClass
from sandbox.process import ProcessSandbox
from tests.sandbox.making import QUICK, function_job, outcome_of, passed

HUMAN_EVAL_CHECK = """
METADATA = {'author': 'none'}

def check(candidate):
    assert candidate(1) == 2
    assert abs(candidate(2) - 3) < 1e-6

check(f)
"""
STACK = """
class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        return self.items.pop()
"""


class TestWhatPasses:
    async def test_simple_asserts_are_judged_outside(self, sandbox: ProcessSandbox):
        result = await sandbox.run(function_job("def f(x):\n    return x + 1", "assert f(1) == 2", "assert f(2) == 4"))
        assert passed(result) == (True, False)
        assert (result.evidence, result.error_class) == ("tests", "wrong_answer")
        assert (result.outcomes[1].expected, result.outcomes[1].actual) == ("4", "3")
        assert result.cpu_s > 0
        assert result.peak_bytes > 1 << 20
        assert result.tier == sandbox.tier

    async def test_a_test_of_a_class_needs_its_objects_and_runs_in_process(self, sandbox: ProcessSandbox):
        right = "s = Stack()\ns.push(1)\ns.push(2)\nassert s.pop() == 2"
        wrong = "s = Stack()\ns.push(1)\nassert s.pop() == 2"
        result = await sandbox.run(function_job(STACK, right, wrong, entry_point="Stack"))
        assert passed(result) == (True, False)
        assert (result.evidence, result.error_class) == ("weak", "wrong_answer")

    async def test_human_evals_check_is_judged_outside(self, sandbox: ProcessSandbox):
        right = await sandbox.run(function_job("def f(x):\n    return x + 1", HUMAN_EVAL_CHECK))
        wrong = await sandbox.run(function_job("def f(x):\n    return x", HUMAN_EVAL_CHECK))
        assert (passed(right), right.evidence) == ((True,), "tests")
        assert (wrong.error_class, wrong.outcome) == ("wrong_answer", "wrong")

    async def test_a_check_that_does_more_than_assert_runs_apart_from_the_candidate(self, sandbox: ProcessSandbox):
        check = "def check(candidate):\n    for x in range(3):\n        assert candidate(x) == x + 1\n\ncheck(f)"
        right = await sandbox.run(function_job("def f(x):\n    return x + 1", check))
        wrong = await sandbox.run(function_job("def f(x):\n    return x", check))
        assert (passed(right), right.evidence) == ((True,), "tests")
        assert (wrong.error_class, wrong.outcome) == ("wrong_answer", "wrong")

    async def test_one_weak_test_makes_the_jobs_evidence_weak(self, sandbox: ProcessSandbox):
        result = await sandbox.run(
            function_job("def f(x):\n    return x", "assert f(1) == 1", "g = lambda y: y\nassert f(g)(1) == 1")
        )
        assert (passed(result), result.evidence) == ((True, True), "weak")

    async def test_set_up_code_serves_the_test(self, sandbox: ProcessSandbox):
        job = function_job("def f(xs):\n    return sum(xs)", "assert f(VALUES) == 6", setup="VALUES = [1, 2, 3]")
        assert passed(await sandbox.run(job)) == (True,)

    async def test_set_up_code_does_not_mend_the_candidate(self, sandbox: ProcessSandbox):
        job = function_job("def f(x):\n    return math.sqrt(x)", "assert f(4) == 2", setup="import math")
        assert (await sandbox.run(job)).error_class == "name"

    async def test_a_main_guard_does_not_run(self, sandbox: ProcessSandbox):
        job = function_job("def f(x):\n    return x\nif __name__ == '__main__':\n    f(input())", "assert f(1) == 1")
        assert passed(await sandbox.run(job)) == (True,)

    async def test_printing_does_not_matter(self, sandbox: ProcessSandbox):
        job = function_job("print('PASSED')\ndef f(x):\n    print(x)\n    return x", "assert f(1) == 1")
        assert passed(await sandbox.run(job)) == (True,)

    async def test_the_standard_library_is_there(self, sandbox: ProcessSandbox):
        names = "json, re, csv, heapq, dataclasses, decimal, zoneinfo, hashlib, typing, unittest, sqlite3"
        job = function_job(
            f"import {names}\ndef f(x):\n    return len(hashlib.sha256(x).digest())", "assert f(b'') == 32"
        )
        assert passed(await sandbox.run(job)) == (True,)

    async def test_dataclasses_and_globals_work_as_in_a_module(self, sandbox: ProcessSandbox):
        code = (
            "from __future__ import annotations\nfrom dataclasses import dataclass\ncount = 0\n"
            "@dataclass\nclass P:\n    x: int\n"
            "def f(x):\n    global count\n    count += P(x).x\n    return count\n"
        )
        assert passed(await sandbox.run(function_job(code, "assert f(2) == 2", "f(3)\nassert count == 3"))) == (
            True,
            True,
        )

    async def test_scratch_files_can_be_written_and_are_gone_at_the_next_test(self, sandbox: ProcessSandbox):
        code = (
            "import os\ndef f(x):\n    before = os.listdir('.')\n    open('note', 'w').write('hi')\n    return before"
        )
        assert passed(await sandbox.run(function_job(code, "assert f(1) == []", "assert f(2) == []"))) == (True, True)

    async def test_sets_have_the_same_order_each_time(self, sandbox: ProcessSandbox):
        job = function_job("def f(x):\n    return list({'one', 'two', 'three', 'four', 'five'})", "assert f(1) == 0")
        first, second = [(await outcome_of(sandbox, job)).actual for _ in range(2)]
        assert first == second

    async def test_a_job_without_tests_shows_whether_the_code_can_be_executed(self, sandbox: ProcessSandbox):
        good = await sandbox.run(function_job("def f(x): return x"))
        bad = await sandbox.run(function_job("def g(x): return x"))
        assert (good.outcomes, good.error_class) == ((), None)
        assert (bad.outcomes, bad.error_class) == ((), "missing_entry_point")


CLASSES: list[tuple[str, ErrorClass, str]] = [
    ("def f(x) return x", "syntax", "(line 1)"),
    ("(" * 5000 + ")" * 5000, "syntax", ""),
    ("def g(x):\n    return x", "missing_entry_point", "f"),
    ("import no_such_module\ndef f(x):\n    return x", "import", "no_such_module"),
    ("def f(x):\n    return y", "name", "'y' is not defined (line 2)"),
    ("def f(x):\n    return x + 'a'", "type", "(line 2)"),
    ("def f(x):\n    return [][x]", "index_key", "IndexError"),
    ("def f(x):\n    return {}[x]", "index_key", "KeyError"),
    ("def f(x):\n    return int('a')", "value", "(line 2)"),
    ("def f(x):\n    return x.y", "attribute", "'y'"),
    ("def f(x):\n    return f(x)", "recursion", "maximum recursion"),
    ("def f(x):\n    return 7", "wrong_answer", "failed: assert f(1) == 2"),
    ("def f(x):\n    assert x > 5, 'small'", "wrong_answer", "small"),
    ("def f(x):\n    return 1 / 0", "other", "ZeroDivisionError"),
    ("y = input()\ndef f(x):\n    return x + 1", "other", "EOFError"),
    ("def f(x):\n    raise PermissionError('no')", "forbidden", "no"),
    ("def f(x):\n    return bytearray(8 << 30)", "memory", "MemoryError"),
    ("def f(x):\n    held = []\n    while True:\n        held.append('x' * 1000000)", "memory", ""),
    ("import ctypes\ndef f(x):\n    ctypes.string_at(0)", "crash", "SIGSEGV"),
    ("import os\ndef f(x):\n    os.abort()", "crash", "SIGABRT"),
    ("class Mine(LookupError):\n    pass\ndef f(x):\n    raise Mine('odd')", "other", "Mine: odd (line 4)"),
]


@pytest.mark.parametrize(("code", "error_class", "text"), CLASSES, ids=[f"{c[1]}-{i}" for i, c in enumerate(CLASSES)])
async def test_a_failure_has_its_class_and_says_what_happened(
    sandbox: ProcessSandbox, code: str, error_class: ErrorClass, text: str
):
    outcome = await outcome_of(sandbox, function_job(code, "assert f(1) == 2"))
    assert (outcome.passed, outcome.error_class) == (False, error_class), outcome
    assert text in outcome.message
    assert len(outcome.message) <= 300


async def test_a_candidate_that_cannot_be_executed_fails_every_test_with_its_class(sandbox: ProcessSandbox):
    result = await sandbox.run(function_job("import nothing_here", "assert f(1) == 1", "f(2)", "assert f(3) == 3"))
    assert [outcome.error_class for outcome in result.outcomes] == ["import"] * 3


async def test_a_test_that_crashes_costs_only_itself(sandbox: ProcessSandbox):
    code = "import os\ndef f(x):\n    if x == 2:\n        os.abort()\n    return x"
    result = await sandbox.run(function_job(code, *(f"assert f({x}) == {x}" for x in (1, 2, 3))))
    assert [outcome.error_class for outcome in result.outcomes] == [None, "crash", None]
    assert result.error_class == "crash"


async def test_a_test_that_runs_out_of_memory_costs_only_itself(sandbox: ProcessSandbox):
    code = "held = []\ndef f(x):\n    while x == 2:\n        held.append('x' * 1000000)\n    return x"
    result = await sandbox.run(function_job(code, *(f"assert f({x}) == {x}" for x in (1, 2, 2, 3))))
    assert [outcome.error_class for outcome in result.outcomes] == [None, "memory", "memory", None]


async def test_a_long_message_is_clipped(sandbox: ProcessSandbox):
    outcome = await outcome_of(sandbox, function_job("def f(x):\n    raise ValueError('y' * 5000)", "assert f(1) == 2"))
    assert outcome.error_class == "value"
    assert len(outcome.message) <= 300
    assert outcome.message.endswith("(line 2)")


class TestTimeouts:
    limits = Limits(cpu_s=1.0, wall_s=0.5)

    async def test_a_sleeping_test_costs_only_itself(self, sandbox: ProcessSandbox):
        code = "import time\ndef f(x):\n    if x == 1:\n        time.sleep(60)\n    return x"
        job = function_job(code, "assert f(1) == 1", "assert f(2) == 2", limits=self.limits)
        assert [outcome.error_class for outcome in (await sandbox.run(job)).outcomes] == ["timeout", None]

    async def test_after_two_timeouts_the_rest_is_not_run(self, sandbox: ProcessSandbox):
        job = function_job("def f(x):\n    while True: pass", *["assert f(1) == 1"] * 5, limits=self.limits)
        result = await sandbox.run(job)
        assert [outcome.error_class for outcome in result.outcomes] == ["timeout"] * 5
        assert ["not run" in outcome.message for outcome in result.outcomes] == [False, False, True, True, True]

    async def test_cpu_time_is_limited_too(self, sandbox: ProcessSandbox):
        job = function_job("def f(x):\n    while True: pass", "assert f(1) == 1", limits=Limits(cpu_s=1.0, wall_s=30.0))
        assert (await outcome_of(sandbox, job)).error_class == "timeout"

    async def test_ignoring_the_cpu_limits_signal_does_not_help(self, sandbox: ProcessSandbox):
        code = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\ndef f(x):\n    while True: pass"
        job = function_job(code, "assert f(1) == 1", limits=Limits(cpu_s=1.0, wall_s=30.0))
        assert (await outcome_of(sandbox, job)).error_class == "timeout"

    async def test_an_expression_in_c_that_takes_for_ever_ends(self, sandbox: ProcessSandbox):
        job = function_job("def f(x):\n    return 10 ** 10 ** 10", "assert f(1) == 1", limits=self.limits)
        assert (await outcome_of(sandbox, job)).error_class in ("timeout", "memory")


async def test_threads_are_limited(sandbox: ProcessSandbox):
    code = (
        "import threading\ndef f(x):\n    found = []\n    thread = threading.Thread(target=found.append, args=(x,))\n"
        "    thread.start()\n    thread.join()\n    return found"
    )
    alone = await outcome_of(sandbox, function_job(code, "assert f(1) == [1]", limits=Limits(processes=1)))
    more = await outcome_of(sandbox, function_job(code, "assert f(1) == [1]", limits=QUICK))
    assert (alone.passed, more.passed) == (False, True)
