"""LiveCodeBench's published form (Jain et al. 2024, arXiv 2403.07974): contest problems, by function or by program.

A problem's tests are all `functional` (a method of a class `Solution` is called with JSON values) or all `stdin`. The
private ones may be packed (base64, zlib, pickle of one string): they are unpacked without letting the pickle name
anything. A result that is a tuple counts as the list it holds, as the benchmark's own judge has it; printed numbers are
compared as numbers, without a tolerance.
"""

import base64
import binascii
import io
import pickle
import zlib
from typing import Any, Literal, NoReturn

import msgspec

from evals.source_check import check_parses
from protocols.errors import TasksError, TestsFileError
from protocols.records import AssertTest, StdioTest, Task, Test
from sandbox.tests_file import value_source

NAME = "LiveCodeBench's form"
MARKS = frozenset({"question_content", "question_id", "public_test_cases"})
"""Fields by which a line of this form is known."""
_MAX_UNPACKED_BYTES = 1 << 30
_DIFFICULTIES = {"easy": 1, "medium": 3, "hard": 5}
_CLASS = "Solution"


class _Line(msgspec.Struct):
    question_id: str
    question_content: str
    public_test_cases: str
    private_test_cases: str = ""
    starter_code: str = ""
    difficulty: str = ""
    metadata: str = "{}"


class _Case(msgspec.Struct):
    input: str
    output: str
    testtype: Literal["stdin", "functional"]


class _Metadata(msgspec.Struct):
    func_name: str | None = None


def parse(data: bytes) -> Task:
    """Return the task that one line holds.

    Raises:
        msgspec.MsgspecError: a field is missing or of the wrong type.
        TasksError: the fields do not go together.
    """
    line = msgspec.json.decode(data, type=_Line)
    cases = (*_cases("public_test_cases", line.public_test_cases), *_private_cases(line.private_test_cases))
    kinds = {case.testtype for case in cases}
    if len(kinds) != 1:
        raise TasksError(f"field `public_test_cases`: expected tests of one type, got {sorted(kinds) or 'none'}")
    functional = kinds == {"functional"}
    tests: tuple[Test, ...] = (
        _functional_tests(line, cases)
        if functional
        else tuple(
            StdioTest(stdin=case.input, stdout=case.output, comparison="floats", tolerance=0.0) for case in cases
        )
    )
    return Task(
        id=f"live_code_bench/{line.question_id}",
        kind="function" if functional else "stdio",
        instruction=_instruction(line, functional=functional),
        tests=tests,
        entry_point=_CLASS if functional else None,
        topic="live_code_bench",
        difficulty=_DIFFICULTIES.get(line.difficulty),
    )


def _instruction(line: _Line, *, functional: bool) -> str:
    text = line.question_content.strip()
    if functional:
        return f"{text}\n\nComplete this class, with the imports that it needs:\n\n{line.starter_code.strip()}"
    return f"{text}\n\nWrite a program that reads standard input and prints the answer."


def _functional_tests(line: _Line, cases: tuple[_Case, ...]) -> tuple[Test, ...]:
    name = _decoded("metadata", line.metadata.encode(), _Metadata).func_name
    if name is None or not name.isidentifier():
        raise TasksError("field `metadata`: expected `func_name`, the method that the tests call")
    tests = tuple(AssertTest(code=_assertion(name, case)) for case in cases)
    for number, test in enumerate(tests):
        check_parses(f"test_cases[{number}]", test.code)
    return tests


def _assertion(name: str, case: _Case) -> str:
    try:
        arguments = [value_source(_value("input", text), "input") for text in case.input.split("\n") if text.strip()]
        wanted = _value("output", case.output)
        call, expected = f"{_CLASS}().{name}({', '.join(arguments)})", value_source(wanted, "output")
    except TestsFileError as error:
        raise TasksError(str(error)) from error
    if isinstance(wanted, list):
        return f"assert {call} in ({expected}, tuple({expected}))"
    return f"assert {call} == {expected}"


def _value(field: str, text: str) -> object:
    return _decoded(f"{field}` of a test", text.encode(), Any)


def _cases(field: str, text: str) -> tuple[_Case, ...]:
    return _decoded(field, text.encode(), tuple[_Case, ...])


def _private_cases(text: str) -> tuple[_Case, ...]:
    if not text:
        return ()
    return _cases("private_test_cases", text if text.lstrip().startswith("[") else _unpacked(text))


def _decoded(field: str, data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TasksError(f"field `{field}`: expected JSON of its form: {error}") from error


class _Strings(pickle.Unpickler):
    """Reads a pickle of plain data; one that names a class or a function is refused before anything is called."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")


def _unpacked(text: str) -> str:
    try:
        packed = zlib.decompressobj()
        data = packed.decompress(base64.b64decode(text, validate=True), _MAX_UNPACKED_BYTES)
        if packed.unconsumed_tail:
            raise TasksError(f"field `private_test_cases`: over {_MAX_UNPACKED_BYTES} bytes when unpacked")
        found = _Strings(io.BytesIO(data)).load()
    # A damaged pickle may raise almost anything.
    except (binascii.Error, zlib.error, pickle.UnpicklingError, ValueError, EOFError, LookupError, TypeError,
            AttributeError, MemoryError) as error:  # fmt: skip
        raise TasksError(f"field `private_test_cases`: neither JSON nor the packed form: {error}") from error
    if not isinstance(found, str):
        raise TasksError("field `private_test_cases`: expected the packed form to hold a string")
    return found
