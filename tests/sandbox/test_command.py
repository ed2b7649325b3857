"""`main.py sandbox`: what it prints, and with which exit code it ends."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from main import main
from tests.sandbox.service import service_running

RIGHT = "def f(x):\n    return x + 40\n"
WRONG = "def f(x):\n    return x\n"
CALLS: dict[str, Any] = {"kind": "calls", "entry_point": "f", "cases": [{"args": [1], "expected": 41}]}
STDIO: dict[str, Any] = {"kind": "stdio", "cases": [{"stdin": "3\n", "stdout": "6"}, {"stdin": "4\n", "stdout": "8"}]}
QUICK = {"cpu_s": 1, "wall_s": 0.5}
OUTCOMES = [
    ("import sys\ndef f(x):\n    sys.exit(0)", "early_exit"),
    ("import os\ndef f(x):\n    os.write(3, b'{')\n    return 41", "bad_result"),
    ("def f(x):\n    while True: print('x' * 1000)", "output_limit"),
    ("def f(x):\n    while True: pass", "timeout"),
    ("def f(x):\n    return bytearray(8 << 30)", "memory"),
    ("import os\ndef f(x):\n    os.abort()", "crash"),
    ("def f(x", "syntax"),
    ("\0", "syntax"),
    ("def f(x):\n    open('/x', 'w')", "runtime_error"),
    ("def g(x):\n    pass", "runtime_error"),
]


class Told:
    """What one call of the command did."""

    def __init__(self, code: int, out: str, error: str) -> None:
        self.code = code
        self.out = out
        self.error = error

    @property
    def answer(self) -> dict[str, Any]:
        return json.loads(self.out)


class Command:
    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._capture = capture

    def file(self, name: str, content: str | dict[str, Any]) -> str:
        path = self._folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(path)

    def __call__(self, *arguments: str) -> Told:
        code = main(["sandbox", *arguments])
        captured = self._capture.readouterr()
        return Told(code, captured.out, captured.err)

    def run(self, program: str, tests: str | dict[str, Any], *options: str) -> Told:
        return self("run", self.file("program.py", program), "--tests", self.file("tests.json", tests), *options)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, capsys)


class TestRunningOne:
    def test_a_program_that_passes_ends_with_0(self, command: Command):
        told = command.run(RIGHT, CALLS, "--json")
        assert told.code == 0
        assert {name: told.answer[name] for name in ("outcome", "passed", "total")} == {
            "outcome": "pass",
            "passed": 1,
            "total": 1,
        }
        assert told.answer["tier"] not in ("", "http")
        assert min(told.answer[name] for name in ("cpu_s", "wall_s", "peak_bytes")) > 0

    def test_a_program_that_does_not_ends_with_1_and_shows_why(self, command: Command):
        told = command.run(WRONG, CALLS, "--json")
        assert (told.code, told.answer["outcome"]) == (1, "wrong")
        (test,) = told.answer["tests"]
        assert (test["outcome"], test["expected"], test["actual"]) == ("wrong", "41", "1")

    def test_several_cases_of_a_program(self, command: Command):
        told = command.run("print(2 * int(input()))", STDIO, "--json")
        assert (told.code, told.answer["passed"], told.answer["total"]) == (0, 2, 2)

    def test_people_are_told_in_lines(self, command: Command):
        told = command.run("def f(x):\n    return g(x)\n", CALLS)
        assert told.code == 1
        assert told.out.startswith("runtime_error: 0 of 1 tests passed")
        assert "test 1: runtime_error: NameError: name 'g' is not defined (line 2)" in told.out
        assert "    return g(x)" in told.out

    def test_a_program_that_is_no_text_fails_by_its_own_fault(self, command: Command, tmp_path: Path):
        (tmp_path / "p.py").write_bytes(b"\xff\xfe")
        told = command("run", str(tmp_path / "p.py"), "--tests", command.file("t.json", CALLS), "--json")
        assert (told.code, told.answer["outcome"]) == (1, "syntax")

    def test_unittest_and_asserts_and_check(self, command: Command):
        methods = "    def test_it(self):\n        with self.assertRaises(TypeError):\n            f('a')\n"
        case: dict[str, Any] = {"kind": "unittest", "code": f"import unittest\nclass T(unittest.TestCase):\n{methods}"}
        check = {"kind": "check", "entry_point": "f", "code": "def check(candidate):\n    assert candidate(1) == 41"}
        asserts = {"kind": "asserts", "setup": "y = 1", "asserts": ["assert f(y) == 41", "x = f(1)\nassert x == 41"]}
        answers = [command.run(RIGHT, tests, "--json").answer for tests in (case, check, asserts)]
        assert [answer["outcome"] for answer in answers] == ["pass"] * 3
        assert [answer["total"] for answer in answers] == [1, 1, 2]
        assert answers[1]["evidence"] == "tests"
        wrong = command.run("def f(x):\n    return 41", case, "--json").answer
        assert (wrong["outcome"], wrong["error_class"]) == ("wrong", "wrong_answer")


class TestRunningABatch:
    def test_answers_come_one_a_line_in_order(self, command: Command):
        command.file("slow.py", "import time\ntime.sleep(0.3)\nprint(2 * int(input()))")
        command.file("slow.json", STDIO)
        lines = [
            {"file": "slow.py", "tests": "slow.json"},
            {"id": "second", "code": RIGHT, "tests": CALLS},
            {"id": 7, "code": WRONG, "tests": CALLS},
        ]
        batch = command.file("batch.jsonl", "\n".join(map(json.dumps, lines)) + "\n")
        told = command("run", "--batch", batch, "--json")
        answers = [json.loads(line) for line in told.out.splitlines()]
        assert [(answer["id"], answer["outcome"]) for answer in answers] == [
            (1, "pass"), ("second", "pass"), (7, "wrong"),
        ]  # fmt: skip
        assert told.code == 1
        assert "3 programs: 2 pass, 1 wrong" in told.error

    def test_every_outcome_has_its_name(self, command: Command):
        tests = {**CALLS, "limits": QUICK}
        lines = [{"id": f"{outcome} {n}", "code": code, "tests": tests} for n, (code, outcome) in enumerate(OUTCOMES)]
        told = command("run", "--batch", command.file("b.jsonl", "\n".join(map(json.dumps, lines))), "--json")
        answers = [json.loads(line) for line in told.out.splitlines()]
        assert {answer["id"]: answer["outcome"] for answer in answers} == {
            f"{outcome} {n}": outcome for n, (_, outcome) in enumerate(OUTCOMES)
        }

    def test_a_batch_that_passes_ends_with_0(self, command: Command):
        told = command("run", "--batch", command.file("b.jsonl", json.dumps({"code": RIGHT, "tests": CALLS})))
        assert (told.code, told.out.split("(")[0]) == (0, "1: pass: 1 of 1 tests passed ")

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("{", "line 2"),
            ('{"tests": {}}', "line 2: expected either `code`"),
            ('{"code": "", "file": "", "tests": {}}', "line 2: expected either `code`"),
            ('{"code": "", "tests": {"kind": "calls"}}', "line 2: .*`entry_point`"),
            ('{"code": "", "tests": "absent.json"}', "absent.json does not exist"),
            ('{"file": "absent.py", "tests": {}}', "absent.py does not exist"),
            ('{"code": "", "tests": {}, "more": 1}', "unknown field `more`"),
        ],
    )
    def test_a_wrong_line_is_named_before_anything_runs(self, command: Command, line: str, complaint: str):
        good = json.dumps({"code": RIGHT, "tests": CALLS})
        told = command("run", "--batch", command.file("b.jsonl", f"{good}\n{line}\n"))
        assert (told.code, told.out) == (2, "")
        assert re.search(complaint, told.error)


class TestWhatCannotBeUsed:
    @pytest.mark.parametrize(
        ("tests", "complaint"),
        [
            ("{", "expected a JSON object"),
            ({**CALLS, "cases": []}, "field `cases`"),
            ({**CALLS, "limits": {"wall_s": -1}}, "field `limits.wall_s`"),
            ({"kind": "asserts", "asserts": ["assert f("]}, "field `asserts[0]`: expected Python"),
        ],
    )
    def test_a_wrong_tests_file_ends_with_2_and_one_paragraph(
        self, command: Command, tests: str | dict[str, Any], complaint: str
    ):
        told = command.run(RIGHT, tests, "--json")
        assert (told.code, told.out) == (2, "")
        assert complaint in told.error
        assert "tests.json" in told.error
        assert told.error.count("\n") == 1

    def test_missing_files_are_named(self, command: Command):
        program = command.file("p.py", RIGHT)
        assert "absent.json does not exist" in command("run", program, "--tests", "absent.json").error
        assert "absent.py does not exist" in command("run", "absent.py", "--tests", program).error

    @pytest.mark.parametrize("arguments", [[], ["p.py"], ["--tests", "t.json"], ["p.py", "--batch", "b.jsonl"]])
    def test_half_a_command_says_what_it_takes(self, command: Command, arguments: list[str]):
        told = command("run", *arguments)
        assert told.code == 2
        assert "FILE --tests FILE" in told.error

    def test_urls_belong_to_http(self, command: Command):
        told = command("check", "--set", "sandbox.backend=http")
        assert told.code == 2
        assert "needs at least one" in told.error

    def test_help_shows_every_form(self, capsys: pytest.CaptureFixture[str]):
        with pytest.raises(SystemExit):
            main(["sandbox", "run", "--help"])
        text = capsys.readouterr().out
        for word in ("calls", "stdio", "asserts", "check", "unittest", "--batch", "exit codes", "early_exit", "limits"):
            assert word in text


class TestTheCheck:
    def test_tells_every_probe_the_tier_and_the_rate(self, command: Command, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("commands.sandbox._RATE_S", 0.1)
        told = command("check", "--json")
        assert told.code == 0
        assert told.answer["tier"] not in ("", "http")
        assert told.answer["runs_per_s"] > 0
        assert all(probe["held"] for probe in told.answer["probes"])
        assert {"harmless function", "early exit"} <= {probe["name"] for probe in told.answer["probes"]}


class TestElsewhere:
    def test_a_service_runs_programs_and_is_probed(self, command: Command, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("commands.sandbox._RATE_S", 0.1)
        with service_running() as service:
            there = ["--set", "sandbox.backend=http", "--set", f'sandbox.urls=["{service.url}"]', "--json"]
            assert command.run(RIGHT, CALLS, *there).answer["tier"] == "http"
            told = command("check", *there)
        assert (told.code, told.answer["tier"]) == (0, "http")

    @pytest.mark.parametrize("action", ["check", "run"])
    def test_without_a_sandbox_it_ends_with_3_and_says_why(self, command: Command, action: str):
        there = ["--set", "sandbox.backend=http", "--set", 'sandbox.urls=["http://127.0.0.1:9"]', "--json"]
        told = command("check", *there) if action == "check" else command.run(RIGHT, CALLS, *there)
        assert told.code == 3
        assert "http://127.0.0.1:9" in told.error
        assert told.answer.get("outcome", "sandbox_failure") == "sandbox_failure"
