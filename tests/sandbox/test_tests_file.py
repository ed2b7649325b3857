"""The JSON form of a program's tests: what it means, and how a wrong one is refused."""

import json
from typing import Any

import pytest

from protocols.errors import TestsFileError
from protocols.ports import Job, Limits
from protocols.records import AssertTest, StdioTest
from sandbox.tests_file import read_tests

CALLS: dict[str, Any] = {"kind": "calls", "entry_point": "f", "cases": [{"args": [1], "expected": 41}]}
STDIO: dict[str, Any] = {"kind": "stdio", "cases": [{"stdin": "3\n", "stdout": "6"}]}
ASSERTS: dict[str, Any] = {"kind": "asserts", "setup": "", "asserts": ["assert f(1) == 41"]}
CHECK: dict[str, Any] = {
    "kind": "check",
    "entry_point": "f",
    "code": "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(2) == 3",
}
UNITTEST: dict[str, Any] = {
    "kind": "unittest",
    "code": "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n        self.assertEqual(f(1), 2)",
}


def job_of(tests: dict[str, Any]) -> Job:
    return read_tests(json.dumps(tests).encode(), "code", Limits())


def test_calls_become_asserts_on_the_entry_point():
    case = {"args": [[1, "x"], None], "kwargs": {"key": True}, "expected": {"a": 0.5}}
    job = job_of({**CALLS, "cases": [case, CALLS["cases"][0]]})
    assert job.tests == (
        AssertTest(code="assert f([1, 'x'], None, key=True) == {'a': 0.5}"),
        AssertTest(code="assert f(1) == 41"),
    )
    assert job.entry_point == "f"


def test_a_call_with_a_tolerance_accepts_a_near_number():
    job = job_of({**CALLS, "cases": [{"args": [], "expected": 0.5, "tolerance": 0.01}]})
    assert job.tests == (AssertTest(code="assert abs(f() - 0.5) <= 0.01"),)


@pytest.mark.parametrize("comparison", ["lines", "exact", "tokens", "floats"])
def test_programs_are_compared_as_the_file_says(comparison: str):
    job = job_of({**STDIO, "comparison": comparison, "tolerance": 0.5})
    assert job.tests == (StdioTest(stdin="3\n", stdout="6", comparison=comparison, tolerance=0.5),)  # type: ignore[arg-type]
    assert job.entry_point is None


def test_asserts_are_taken_as_they_are():
    job = job_of({**ASSERTS, "setup": "import math"})
    assert (job.tests, job.setup) == ((AssertTest(code="assert f(1) == 41"),), "import math")


def test_check_and_unittest_are_taken_apart():
    assert job_of(CHECK).tests == (AssertTest(code="assert f(1) == 2"), AssertTest(code="assert f(2) == 3"))
    assert job_of(UNITTEST).tests == (AssertTest(code="assert (f(1)) == (2)"),)


def test_a_check_that_does_more_is_called_whole():
    (test,) = job_of({**CHECK, "code": "def check(candidate):\n    x = 1\n    assert candidate(x) == 2"}).tests
    assert isinstance(test, AssertTest)
    assert test.code.endswith("\ncheck(f)")


def test_limits_of_the_file_come_before_the_settings():
    job = job_of({**CALLS, "limits": {"wall_s": 1.5, "memory_bytes": 1 << 28}})
    assert job.limits == Limits(wall_s=1.5, memory_bytes=1 << 28)


@pytest.mark.parametrize(
    ("tests", "complaint"),
    [
        ({}, "`kind`"),
        ({**CALLS, "kind": "odd"}, "`kind`"),
        ({**CALLS, "cases": []}, "`cases`"),
        ({**CALLS, "cases": [{"args": [1]}]}, "`expected`"),
        ({**CALLS, "cases": [{"arg": [1], "expected": 1}]}, "unknown field `arg`"),
        ({**CALLS, "more": 1}, "unknown field `more`"),
        ({**CALLS, "entry_point": "f()"}, "`entry_point`"),
        ({**CALLS, "entry_point": "lambda"}, "`entry_point`"),
        ({**CALLS, "cases": [{"kwargs": {"a b": 1}, "expected": 1}]}, "`cases[0].kwargs`"),
        ({**CALLS, "cases": [{"expected": "x", "tolerance": 0.1}]}, "`cases[0].tolerance`"),
        ({**CALLS, "limits": {"wall_s": 0}}, "`limits.wall_s`"),
        ({**CALLS, "limits": {"memory_bytes": 1000}}, "`limits.memory_bytes`"),
        ({**CALLS, "limits": {"memory_bytes": None}}, "`limits.memory_bytes`"),
        ({**CALLS, "limits": {"wall": 1}}, "unknown field `wall`"),
        ({**STDIO, "comparison": "loose"}, "`comparison`"),
        ({**STDIO, "tolerance": -1}, "`tolerance`"),
        ({**STDIO, "cases": [{"stdin": 1, "stdout": ""}]}, "`cases[0].stdin`"),
        ({**ASSERTS, "asserts": ["assert f("]}, "`asserts[0]`"),
        ({**ASSERTS, "asserts": ["# nothing"]}, "`asserts[0]`"),
        ({**ASSERTS, "setup": "import"}, "`setup`"),
        ({**CHECK, "code": "def other(): pass"}, "`check(candidate)`"),
        ({**UNITTEST, "code": "x = 1"}, "unittest.TestCase"),
    ],
)
def test_what_cannot_be_used_is_named(tests: dict[str, Any], complaint: str):
    with pytest.raises(TestsFileError) as caught:
        job_of(tests)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"\xff", b"[" * 100_000, b'{"kind":"calls","entry_point":"f","cases":[{"expected":NaN}]}'],
)
def test_what_is_not_json_is_refused(data: bytes):
    with pytest.raises(TestsFileError):
        read_tests(data, "", Limits())


def test_deep_values_and_endless_numbers_are_refused():
    with pytest.raises(TestsFileError, match="levels deep"):
        read_tests(json.dumps(CALLS).replace("41", "[" * 200 + "]" * 200).encode(), "", Limits())
    with pytest.raises(TestsFileError):
        read_tests(json.dumps(CALLS).replace("41", "1" * 5000).encode(), "", Limits())
