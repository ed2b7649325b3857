"""The sandbox elsewhere: what is sent, how answers are judged, and what happens when a service fails."""

import json
import socket
from collections.abc import AsyncGenerator, Generator

import msgspec
import pytest
import trio

from protocols.errors import SandboxError, SandboxUnavailable
from protocols.ports import JobResult, Limits
from protocols.records import ErrorClass, OutcomeKind
from sandbox.canaries import Probed
from sandbox.http import HttpSandbox
from tests.sandbox.making import QUICK, function_job, passed, program_job
from tests.sandbox.service import Service, service_running

BRIEF = Limits(cpu_s=1.0, wall_s=0.5)
HARMLESS = function_job("def f(x):\n    return x + 1", "assert f(1) == 2")
FAILED = {"status": "SandboxError", "message": "no pod", "run_result": None}


@pytest.fixture
def service() -> Generator[Service]:
    with service_running() as running:
        yield running


@pytest.fixture
def other() -> Generator[Service]:
    with service_running() as running:
        yield running


@pytest.fixture
async def remote(service: Service) -> AsyncGenerator[HttpSandbox]:
    async with HttpSandbox([service.url]) as sandbox:
        yield sandbox


def unused_url() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


class TestWhatIsSent:
    async def test_code_and_inputs_and_limits(self, service: Service, remote: HttpSandbox):
        limits = Limits(wall_s=3.0, memory_bytes=(200 << 20) + 1)
        await remote.run(program_job("print(input())", ("in\n", "secret-output"), limits=limits))
        assert service.requests == [
            {
                "language": "python",
                "code": "print(input())",
                "stdin": "in\n",
                "compile_timeout": 3.0,
                "run_timeout": 3.0,
                "memory_limit_MB": 201,
                "files": {},
            }
        ]

    async def test_expected_values_never(self, service: Service, remote: HttpSandbox):
        await remote.run(function_job("def f(x):\n    return x", "assert f(1234321) == 8765678"))
        (request,) = service.requests
        assert "1234321" in request["code"]
        assert "8765678" not in json.dumps(request)


OUTCOMES: list[tuple[str, OutcomeKind, ErrorClass | None]] = [
    ("def f(x):\n    return x + 1", "pass", None),
    ("def f(x):\n    print('noise' * 100_000)\n    return x + 1", "pass", None),
    ("def f(x):\n    return x", "wrong", "wrong_answer"),
    ("class A(int):\n    def __eq__(self, other): return True\ndef f(x):\n    return A(7)", "wrong", "wrong_answer"),
    ("def f(x:", "syntax", "syntax"),
    ("def g(x):\n    return x", "runtime_error", "missing_entry_point"),
    ("import nothing_here", "runtime_error", "import"),
    ("def f(x):\n    return y", "runtime_error", "name"),
    ("def f(x):\n    return f(x)", "runtime_error", "recursion"),
    ("import sys\ndef f(x):\n    sys.exit(0)", "early_exit", "crash"),
    ("import os\ndef f(x):\n    os._exit(0)", "early_exit", "crash"),
    ("import os\nos._exit(0)", "early_exit", "crash"),
    ("import os\ndef f(x):\n    os.abort()", "crash", "crash"),
    ("def f(x):\n    return bytearray(8 << 30)", "memory", "memory"),
    ("def f(x):\n    return ['x' * 1000] * 500", "output_limit", "output_limit"),
    (
        "import os\ndef f(x):\n    [os.write(n, b'{}') for n in range(3, 9) if n in (3, 4)]\n    return 2",
        "bad_result",
        "other",
    ),
]


class TestFunctions:
    @pytest.mark.parametrize(
        ("code", "outcome", "error_class"), OUTCOMES, ids=[f"{c[1]}-{i}" for i, c in enumerate(OUTCOMES)]
    )
    async def test_have_the_outcome_that_the_local_sandbox_gives(
        self, remote: HttpSandbox, code: str, outcome: OutcomeKind, error_class: ErrorClass | None
    ):
        result = await remote.run(function_job(code, "assert f(1) == 2", limits=QUICK))
        assert (result.outcome, result.error_class) == (outcome, error_class), result

    async def test_only_a_single_request_can_be_too_large(self, service: Service, remote: HttpSandbox):
        big = "x" * (9 << 20)
        result = await remote.run(program_job("print(len(input()))", (big, f"{9 << 20}"), (big, "0")))
        assert passed(result) == (True, False)
        refused = await remote.run(program_job("print()", (big + big, "")))
        assert (refused.outcome, "not run" in refused.outcomes[0].message) == ("runtime_error", True)
        assert len(service.requests) == 2

    async def test_an_endless_loop_costs_two_time_limits(self, service: Service, remote: HttpSandbox):
        job = function_job("def f(x):\n    while True: pass", *["assert f(1) == 2"] * 4, limits=BRIEF)
        result = await remote.run(job)
        assert [outcome.outcome for outcome in result.outcomes] == ["timeout"] * 4
        assert len(service.requests) == 2

    async def test_a_traceback_has_the_candidates_own_lines(self, remote: HttpSandbox):
        code = "def g(x):\n    return x.y\n\ndef f(x):\n    return g(x)\n"
        result = await remote.run(function_job(code, "assert f(1) == 2"))
        assert result.outcomes[0].traceback.splitlines()[:4] == [
            "  line 5, in f", "    return g(x)", "  line 2, in g", "    return x.y",
        ]  # fmt: skip

    async def test_other_tests_run_as_code_and_are_weak(self, remote: HttpSandbox):
        job = function_job(
            "def f(x):\n    return x", "y = f(1)\nassert y == 1", "y = f(2)\nassert y == 1", setup="z = 1"
        )
        result = await remote.run(job)
        assert (passed(result), result.evidence) == ((True, False), "weak")

    async def test_a_job_without_tests_is_loaded(self, remote: HttpSandbox):
        good, bad = await remote.run(function_job("def f(x): return x")), await remote.run(function_job("x = 1 / 0"))
        assert (good.outcome, bad.outcome, good.outcomes) == ("pass", "runtime_error", ())


PROGRAMS: list[tuple[str, OutcomeKind, ErrorClass | None]] = [
    ("print(input()[::-1])", "pass", None),
    ("import sys\nprint(sys.stdin.buffer.read().decode().strip()[::-1])\nsys.exit(0)", "pass", None),
    ("print(input())", "wrong", "wrong_answer"),
    ("print(", "syntax", "syntax"),
    ("print('\udc80')", "syntax", "syntax"),
    ("def g():\n    return 1 / 0\ng()", "runtime_error", "other"),
    ("print([][1])", "runtime_error", "index_key"),
    ("import json\njson.loads('{')", "runtime_error", "other"),
    ("open('/no/such/file')", "runtime_error", "other"),
    ("import sys\nsys.exit(3)", "runtime_error", "crash"),
    ("held = bytearray(8 << 30)", "memory", "memory"),
    ("import os\nos.abort()", "crash", "crash"),
    ("while True: pass", "timeout", "timeout"),
    ("print('x' * 70_000)", "output_limit", "output_limit"),
    ("while True: print('x' * 70_000, flush=True)", "output_limit", "output_limit"),
]


class TestPrograms:
    @pytest.mark.parametrize(
        ("code", "outcome", "error_class"), PROGRAMS, ids=[f"{c[1]}-{i}" for i, c in enumerate(PROGRAMS)]
    )
    async def test_have_the_outcome_that_the_local_sandbox_gives(
        self, remote: HttpSandbox, code: str, outcome: OutcomeKind, error_class: ErrorClass | None
    ):
        limits = BRIEF if outcome in ("timeout", "output_limit") else QUICK
        result = await remote.run(program_job(code, ("ab\n", "ba\n"), limits=limits))
        assert (result.outcome, result.error_class) == (outcome, error_class), result

    async def test_an_uncaught_exception_shows_its_lines(self, remote: HttpSandbox):
        result = await remote.run(program_job("def g():\n    return 1 / 0\ng()", ("", "")))
        (outcome,) = result.outcomes
        assert outcome.message == "ZeroDivisionError: division by zero (line 2)"
        assert outcome.traceback.splitlines()[:2] == ["  line 3, in <module>", "    g()"]


class TestServicesThatFail:
    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (500, b""),
            (200, FAILED),
            (200, b"not json"),
            (200, {"status": "Success"}),
            (200, {"status": "Odd", "run_result": {"status": "Finished", "return_code": 0}}),
            (200, {"status": "Failed", "run_result": {"status": "Error", "stderr": "no pod"}}),
            (200, {"status": "Success", "run_result": {"status": "Finished"}}),
        ],
    )
    async def test_another_one_is_asked(self, service: Service, other: Service, status: int, body: object):
        service.fail_next(status, body)
        async with HttpSandbox([service.url, other.url]) as sandbox:
            assert passed(await sandbox.run(HARMLESS)) == (True,)
        assert (len(service.requests), len(other.requests)) == (1, 1)

    async def test_with_no_other_the_same_is_asked_again_and_then_it_is_infrastructure(self, service: Service):
        for _ in range(5):
            service.fail_next(200, FAILED)
        async with HttpSandbox([service.url], tries=3) as sandbox:
            with pytest.raises(SandboxError, match=r"3 times tried; at last .* 'no pod'"):
                await sandbox.run(HARMLESS)
            assert len(service.requests) == 3

    async def test_a_service_that_is_gone_rests_and_is_pinged_before_it_is_asked_again(
        self, service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
    ):
        service.fail_next(503)
        async with HttpSandbox([service.url, other.url]) as sandbox:
            await sandbox.run(HARMLESS)
            await sandbox.run(HARMLESS)
            assert (len(service.requests), service.pings, len(other.requests)) == (1, 0, 2)
            monkeypatch.setattr("sandbox.http_service.HttpService.resting", False)
            service.ping_status = 500
            await sandbox.run(HARMLESS)
            assert (len(service.requests), service.pings) == (1, 1)
            service.ping_status = 200
            await sandbox.run(HARMLESS)
            assert (len(service.requests), service.pings) == (2, 2)

    async def test_a_port_that_nobody_listens_at_is_infrastructure(self):
        async with HttpSandbox([unused_url()], tries=2) as sandbox:
            with pytest.raises(SandboxError):
                await sandbox.run(HARMLESS)

    async def test_a_service_that_never_answers_is_given_up(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("sandbox.http._SPARE_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            job = function_job("def f(x):\n    return x", "assert f(1) == 1", limits=Limits(wall_s=0.1))
            async with HttpSandbox([url], tries=1) as sandbox:
                with pytest.raises(SandboxError, match="no answer within"):
                    await sandbox.run(job)

    async def test_an_answer_without_end_is_the_candidates_flood(self, service: Service, remote: HttpSandbox):
        service.fail_next(200, b"x" * (9 << 20))
        assert (await remote.run(HARMLESS)).outcome == "output_limit"


class TestSeveralServices:
    async def test_the_least_loaded_is_asked(self, service: Service, other: Service):
        slow = function_job("import time\ndef f(x):\n    time.sleep(1)\n    return x", "assert f(1) == 1")
        async with HttpSandbox([service.url, other.url], at_once=4) as sandbox, trio.open_nursery() as nursery:
            nursery.start_soon(sandbox.run, slow)
            with trio.fail_after(5):
                # Nothing tells when another program has got a request.
                while not service.requests:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            for _ in range(3):
                await sandbox.run(HARMLESS)
        assert (len(service.requests), len(other.requests)) == (1, 3)

    async def test_one_that_is_left_alone_is_not_asked_for_more_than_it_may_do_at_once(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("sandbox.http._SPARE_S", 1.0)
        slow = function_job("import time\ndef f(x):\n    time.sleep(0.4)\n    return x", "assert f(1) == 1")
        job = msgspec.structs.replace(slow, limits=Limits(wall_s=1.0))
        results: list[JobResult] = []

        async def run() -> None:
            results.append(await sandbox.run(job))

        async with HttpSandbox([service.url, unused_url()], at_once=2) as sandbox, trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(run)
        assert [passed(result) for result in results] == [(True,)] * 8
        assert service.busiest == 2

    async def test_equally_loaded_ones_take_turns(self, service: Service, other: Service):
        async with HttpSandbox([service.url, other.url]) as sandbox:
            for _ in range(4):
                await sandbox.run(HARMLESS)
        assert (len(service.requests), len(other.requests)) == (2, 2)


class TestTheCheck:
    async def test_tells_of_every_service_and_probe(self, service: Service, other: Service):
        told: list[Probed] = []
        async with HttpSandbox([service.url, other.url]) as sandbox:
            assert await sandbox.check(told.append) == "http"
        assert len(told) == 6
        assert all(probed.held for probed in told)

    @pytest.mark.parametrize("broken", ["ping", "answer", "verdict"])
    async def test_refuses_a_service_that_does_not_work(self, service: Service, broken: str):
        if broken == "ping":
            service.ping_status = 404
        elif broken == "answer":
            service.fail_next(200, FAILED)
        else:
            service.fail_next(200, {"status": "Success", "run_result": {"status": "Finished", "return_code": 0}})
        async with HttpSandbox([service.url]) as sandbox:
            with pytest.raises(SandboxUnavailable, match=service.url):
                await sandbox.check()
