"""Candidates that are programs: real standard input and output, compared outside."""

import pytest

from protocols.ports import Limits
from protocols.records import ErrorClass
from sandbox.process import ProcessSandbox
from tests.sandbox.making import outcome_of, passed, program_job


@pytest.mark.parametrize(
    "code",
    [
        "print(int(input()) + int(input()))",
        "import sys\nprint(sum(map(int, sys.stdin)))",
        "import sys\nprint(sum(map(int, sys.stdin.read().split())))",
        "import sys\nread = sys.stdin.buffer.readline\nprint(int(read()) + int(read()))",
        "import os\nprint(sum(map(int, os.read(0, 100).split())))",
        "import os\nos.write(1, str(sum(map(int, os.read(0, 100).split()))).encode())",
        "import sys\nsys.stdout.write(str(sum(map(int, open(0)))))",
        "def main():\n    print(int(input()) + int(input()))\nif __name__ == '__main__':\n    main()",
        "print(int(input()) + int(input()))\nexit()",
        "import sys\nprint(int(input()) + int(input()))\nsys.exit(0)",
        "import os\nprint(int(input()) + int(input()), flush=True)\nos._exit(0)",
        "import atexit\natexit.register(lambda: print(int(input()) + int(input())))",
        "print(int(input()) + int(input()), '  \\n\\n')",
    ],
)
async def test_a_right_program_passes_however_it_reads_and_ends(sandbox: ProcessSandbox, code: str):
    result = await sandbox.run(program_job(code, ("1\n2\n", "3\n"), ("-1\n1\n", "0")))
    assert (passed(result), result.evidence) == ((True, True), "tests"), result


async def test_a_wrong_output_shows_both(sandbox: ProcessSandbox):
    outcome = await outcome_of(sandbox, program_job("print(input()[::-1])", ("ab\n", "ab\n")))
    assert (outcome.error_class, outcome.expected, outcome.actual) == ("wrong_answer", "'ab\\n'", "'ba\\n'")


CLASSES: list[tuple[str, ErrorClass, str]] = [
    ("print('x'", "syntax", ""),
    ("print('x')\nimport sys\nsys.exit(3)", "crash", "3"),
    ("print('x')\nimport os\nos._exit(4)", "crash", "4"),
    ("print('x')\nraise SystemExit('bad input')", "crash", "bad input"),
    ("print('x')\nprint([][1])", "index_key", "(line 2)"),
    ("print('x')\ny", "name", "(line 2)"),
    ("input()\ninput()", "other", "EOFError"),
    ("import os, signal\nprint('x', flush=True)\nos.kill(os.getpid(), signal.SIGTERM)", "crash", "SIGTERM"),
    ("while True:\n    print('x' * 1000)", "output_limit", ""),
    ("import sys\nwhile True:\n    sys.stderr.write('x' * 1000)", "output_limit", ""),
    ("print('x', flush=True)\nwhile True: pass", "timeout", ""),
    ("import sys\nsys.stdout.buffer.write(bytes([255, 254, 0]))", "wrong_answer", ""),
    ("def g(n):\n    return g(n + 1)\nprint(g(0))", "recursion", ""),
    ("print('x')\nimport sys\nsys.stdout.close()\nraise ValueError('late')", "value", "late"),
    ("held = bytearray(8 << 30)", "memory", ""),
    ("with open('big', 'wb') as file:\n    file.write(bytes(4 << 20))", "output_limit", ""),
]


@pytest.mark.parametrize(("code", "error_class", "text"), CLASSES, ids=[f"{c[1]}-{i}" for i, c in enumerate(CLASSES)])
async def test_a_failure_has_its_class_even_after_the_right_output(
    sandbox: ProcessSandbox, code: str, error_class: ErrorClass, text: str
):
    limits = Limits(cpu_s=1.0, wall_s=1.0) if error_class == "timeout" else Limits()
    outcome = await outcome_of(sandbox, program_job(code, ("in\n", "x\n"), limits=limits))
    assert (outcome.passed, outcome.error_class) == (False, error_class), outcome
    assert text in outcome.message


async def test_output_up_to_the_limit_is_no_failure(sandbox: ProcessSandbox):
    job = program_job("print('x' * 150_000)", ("", "x" * 150_000), limits=Limits(output_bytes=200_000))
    assert passed(await sandbox.run(job)) == (True,)


async def test_large_inputs_and_other_alphabets_arrive(sandbox: ProcessSandbox):
    text = "žluťoučký 漢字 🙂\n" * 20_000
    job = program_job("import sys\nprint(len(sys.stdin.read()))", (text, str(len(text))))
    assert passed(await sandbox.run(job)) == (True,)
