"""Any bytes at all, where untrusted ones come in: nothing crashes or hangs, and nothing is accepted that is not right.

Bounded here. `FUZZ_MINUTES=60 python -m pytest -q tests/sandbox/test_fuzz.py` goes on for an hour, which the
tests share: each looks for new examples again and again. What one finds is kept in `.hypothesis/` and tried first the
next time.
"""

import json
import os
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from protocols.errors import SandboxError, TestsFileError
from protocols.ports import Job, Limits
from protocols.records import StdioTest
from sandbox.http_program import HttpProgram, ServiceFailed
from sandbox.inside.frames import ANSWER, ENDS
from sandbox.plan import PlannedTest, Report, plan_of
from sandbox.process import ProcessSandbox
from sandbox.slot import read_head
from sandbox.tests_file import read_tests, value_source
from tests.sandbox.making import function_job, passed, program_job
from tests.sandbox.test_tests_file import CHECK, UNITTEST

MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
TESTS = 8
"""That share the time."""
_bounded = settings(
    max_examples=1000 if MINUTES else 200,
    deadline=None,  # the machine may be busy, and a long run has what others leave: a hang shows as no end
    derandomize=False,
    suppress_health_check=[HealthCheck.too_slow],
)


def fuzzed(test: Callable[..., None]) -> Callable[..., None]:
    """Bound a hypothesis test by examples, or repeat it for its share of the time that was asked for."""
    bounded = _bounded(test)
    if not MINUTES:
        return bounded

    @wraps(bounded)
    def repeated(*args: Any, **fixtures: Any) -> None:
        end = time.monotonic() + 60 * MINUTES / TESTS
        while time.monotonic() < end:
            bounded(*args, **fixtures)

    return repeated


SECRET = 918273645
"""Part of every expected value: what does not hold it is wrong."""

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
_names = st.sampled_from(["kind", "cases", "args", "kwargs", "expected", "stdin", "stdout", "asserts", "code", "setup"])
_files = st.fixed_dictionaries(
    {"kind": st.sampled_from(["calls", "stdio", "asserts", "check", "unittest"])},
    optional={
        "entry_point": st.sampled_from(["f", "", "x y"]) | _json,
        "cases": st.lists(st.dictionaries(_names, _json, max_size=4), max_size=3) | _json,
        "asserts": st.lists(st.text() | st.sampled_from(["assert f(1) == 2", "assert f", "x = 1"]), max_size=3) | _json,
        "setup": st.text() | _json,
        "code": st.text() | st.sampled_from([CHECK["code"], UNITTEST["code"]]) | _json,
        "limits": st.dictionaries(st.sampled_from(["wall_s", "cpu_s", "memory_bytes", "x"]), _json, max_size=2),
        "comparison": _json,
    },
)


class TestAnyFile:
    @fuzzed
    @given(_files | _json)
    def test_is_read_or_refused_and_silence_never_passes_it(self, tests: Any):
        self._try(json.dumps(tests).encode("utf-8", "surrogatepass"))

    @fuzzed
    @given(st.binary(max_size=300))
    @example(b'{"kind":"asserts","asserts":["assert True"]}')
    def test_of_bytes_too(self, data: bytes):
        self._try(data)

    @staticmethod
    def _try(data: bytes) -> None:
        """Read `data`; what was read must not be passed by a candidate that did nothing at all."""
        try:
            job = read_tests(data, "", Limits())
        except TestsFileError:
            return
        silent = Report(
            end="exit", status=0, complete=False, cpu_s=0.0, peak_bytes=0, out="no such output", err="", claim=""
        )
        plan = plan_of(job)
        assert plan.tests
        assert not any(
            outcome.passed for outcome in plan.result([silent] * len(plan.tests), tier="", wall_s=0).outcomes
        )

    @fuzzed
    @given(_json.filter(lambda value: "nan" not in repr(value)))
    def test_a_values_source_gives_the_value_back(self, value: Any):
        assert eval(value_source(value)) == value


_ENDS = ["exit", "signal", "timeout", "output_limit", "memory", "violation", "odd"]
_TAGS = [
    "int", "float", "complex", "bytes", "bytearray", "tuple", "set", "frozenset", "deque", "range", "iterator", "dict",
    "Counter", "OrderedDict", "defaultdict", "Decimal", "Fraction", "opaque", "odd",
]  # fmt: skip
_small = st.none() | st.booleans() | st.integers(-10, 10) | st.floats() | st.text(max_size=5)
_encoded = st.recursive(
    _small,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_TAGS), inner, min_size=1, max_size=2)
        | st.sampled_from(_TAGS).flatmap(lambda tag: st.fixed_dictionaries({tag: st.lists(inner, max_size=3)}))
    ),
    max_leaves=8,
)
_errors = _encoded | st.fixed_dictionaries(
    {"names": st.lists(st.sampled_from(["KeyError", "MemoryError", "SystemExit", "AssertionError", ""]) | _small)},
    optional={
        "stage": st.sampled_from(["compile", "load", "run", "entry_point", "too_large"]) | _small,
        "text": st.text() | _small,
        "line": st.integers() | _small,
        "errno": st.integers(0, 200) | _small,
        "frames": st.lists(st.tuples(st.integers(), st.text()) | _small, max_size=30) | _small,
    },
)
_claims = st.text(max_size=100) | st.fixed_dictionaries(
    {}, optional={"results": st.lists(_encoded, max_size=3) | _small, "error": _errors, "token": st.text()}
).map(json.dumps)
_reports = st.builds(
    Report,
    end=st.sampled_from(_ENDS),
    status=st.integers(-300, 300),
    complete=st.just(False),
    cpu_s=st.floats(0, 100),
    peak_bytes=st.integers(0, 1 << 40),
    out=st.text(max_size=30),
    err=st.text(max_size=30),
    claim=_claims,
    not_run=st.booleans(),
    wall_s=st.floats(0, 100),
    apart=st.booleans(),
)
_TESTS = [
    f"assert f(1) == {SECRET}",
    f"assert f(1) == [{SECRET}, 'x']",
    f"assert sorted(f(1)) == [{SECRET}]",
    f"assert abs(f(1) - {SECRET}) < 1e-6",
    f"assert len(set(f(1))) == {SECRET}",
    f"assert f(1) in ({SECRET}, '{SECRET}')",
    f"assert math.isclose(f(1), {SECRET}.5)",
    f"assert f(1) % 7 == {SECRET}",
    f"assert round(f(1), 2) == {SECRET} and f(2) is None",
    f"assert sum(f(1)) == {SECRET}",
    f"x = f(1)\nassert x == {SECRET}",
]


class TestAnyClaim:
    @fuzzed
    @given(_reports, st.sampled_from(_TESTS))
    def test_is_a_failed_test_unless_the_secret_is_in_it(self, report: Report, test: str):
        (planned,) = plan_of(function_job("def f(x):\n    return x", test)).tests
        self._check(planned, report)

    @fuzzed
    @given(_reports, st.sampled_from(["exact", "lines", "tokens", "floats"]))
    def test_of_a_program_too(self, report: Report, comparison: Any):
        test = StdioTest(stdin="", stdout=f"{SECRET}.5\n", comparison=comparison)
        (planned,) = plan_of(Job(code="", tests=(test,))).tests
        self._check(planned, report)

    @staticmethod
    def _check(planned: PlannedTest, report: Report) -> None:
        outcome = planned.outcome(report)
        assert outcome.passed is False
        assert outcome.outcome not in (None, "pass", "sandbox_failure")
        assert outcome.error_class is not None
        assert len(outcome.traceback) <= 2000

    @fuzzed
    @given(st.binary(min_size=ANSWER.size, max_size=ANSWER.size))
    def test_a_slots_answer_is_bounded_or_refused(self, data: bytes):
        try:
            head = read_head(data, 1 << 20)
        except SandboxError:
            return
        assert head.end in ENDS
        assert max(head.lengths) <= 1 << 20


_texts = st.text(max_size=50) | st.none() | st.integers()
_answers = st.fixed_dictionaries(
    {"status": st.sampled_from(["Success", "Failed", "SandboxError", "x"])},
    optional={
        "message": _texts,
        "run_result": st.none()
        | st.fixed_dictionaries(
            {"status": st.sampled_from(["Finished", "TimeLimitExceeded", "Error", "x"])},
            optional={
                "return_code": st.integers(-300, 300) | st.none(),
                "stdout": st.sampled_from(['{"results":[3]}', '{"results":[3],"usage":[1e999,-1]}', "[]", "{"])
                | _texts,
                "stderr": st.sampled_from(['  File "x", line 9999999999999999999, in f\nValueError: x']) | _texts,
                "execution_time": st.floats() | st.none(),
            },
        ),
    },
)


class TestAnyAnswer:
    @fuzzed
    @given(_answers.map(lambda answer: json.dumps(answer).encode()) | st.binary(max_size=100))
    def test_is_a_failed_test_or_a_failed_service(self, body: bytes):
        for job in (function_job("", "assert f(1) == 2"), function_job("", "y = f(1)"), program_job("", ("", "zz"))):
            (planned,) = plan_of(job).tests
            try:
                report = HttpProgram(job, planned).report(body)
            except ServiceFailed:
                continue
            assert planned.outcome(report).passed is False


_ends = st.sampled_from(["", "os._exit(0)", "raise SystemExit", "os.close(3)", "os.close(5)", "print('F')"])
_bytes = st.binary(max_size=200) | _claims.map(lambda claim: claim.encode("utf-8", "surrogatepass") + b"\n")
_heads = st.integers(0, 1 << 32).map(lambda length: length.to_bytes(5, "little")[:4])
_writes = st.lists(
    st.tuples(st.sampled_from([3, 4, 5]), _bytes | _heads | st.sampled_from([b"S", b"F", b"\n"])), max_size=6
)
SHORT = Limits(cpu_s=0.3, wall_s=0.5)
"""What waits for the rest of a message that never comes ends with its time."""
PATIENT = Limits(cpu_s=5.0, wall_s=60.0)
"""For what must pass, on a machine however busy."""
FORGER = """
import os
def say():
    for descriptor, part in {writes!r}:
        try:
            os.write(descriptor, part)
        except OSError:
            pass
    {end}
{when}def f(x):
    {then}
    return x
"""


class TestAnyBytesOfAProcess:
    @fuzzed
    @given(
        _writes, _ends, st.booleans(), st.sampled_from([f"assert f(1) == {SECRET}", f"y = f(1)\nassert y == {SECRET}"])
    )
    def test_are_a_failed_test_and_harm_no_other(
        self, sandbox: ProcessSandbox, writes: list[tuple[int, bytes]], end: str, at_once: bool, test: str
    ):
        when, then = ("say()\n", "pass") if at_once else ("", "say()")
        code = FORGER.format(writes=writes, end=end, when=when, then=then)
        harmless = function_job(
            "def f(x):\n    return x", "assert f(1) == 1", "y = f(2)\nassert y == 2", limits=PATIENT
        )

        async def both() -> None:
            (outcome,) = (await sandbox.run(function_job(code, test, limits=SHORT))).outcomes
            assert not outcome.passed
            assert outcome.outcome not in (None, "pass", "sandbox_failure")
            assert passed(await sandbox.run(harmless)) == (True, True)

        trio.run(both)
