r"""Reads a batch for `sandbox run --batch`: one program with its tests on each line of a JSON lines file.

::

    {"id": "first", "code": "def f(x): …", "tests": {"kind": "calls", …}}
    {"file": "second.py", "tests": "second.json"}

Paths are relative to the batch's folder. The whole batch is read and checked before anything runs.
"""

from pathlib import Path

import msgspec

from protocols.errors import TestsFileError
from protocols.ports import Job, Limits
from sandbox.tests_file import read_tests

_NOT_GIVEN = msgspec.UNSET


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tests: msgspec.Raw
    code: str | msgspec.UnsetType = _NOT_GIVEN
    file: str | msgspec.UnsetType = _NOT_GIVEN
    id: str | int | msgspec.UnsetType = _NOT_GIVEN


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One program of a batch."""

    id: str | int
    job: Job


def read_program(path: Path) -> str:
    """Return a program's source; bytes that are not UTF-8 stay in it, so that it fails as the program's fault.

    Raises:
        TestsFileError: the file cannot be read.
    """
    return _read(path, "program").decode("utf-8-sig", "surrogateescape")


def read_job(program: str, tests: Path, limits: Limits) -> Job:
    """Return the job of running `program` against the tests in a file.

    Raises:
        TestsFileError: the file cannot be read, or is no tests file; the text names file and field.
    """
    return _job(_read(tests, "tests file"), program, limits, f"tests file {tests}")


def read_batch(path: Path, limits: Limits) -> tuple[Pair, ...]:
    """Return the programs of a batch in order.

    Raises:
        TestsFileError: the batch, or a file that it names, cannot be used; the text names file, line and field.
    """
    lines = [(number, line) for number, line in enumerate(_read(path, "batch").split(b"\n"), 1) if line.strip()]
    if not lines:
        raise TestsFileError(f"batch {path}: expected at least one line, found none")
    return tuple(_pair(path, number, line, limits) for number, line in lines)


def _pair(path: Path, number: int, data: bytes, limits: Limits) -> Pair:
    place = f"batch {path}, line {number}"
    try:
        line = msgspec.json.decode(data, type=_Line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TestsFileError(f"{place}: expected an object with `tests` and `code` or `file`: {error}") from error
    if (line.code is _NOT_GIVEN) == (line.file is _NOT_GIVEN):
        raise TestsFileError(f"{place}: expected either `code`, a program's source, or `file`, its path")
    code = read_program(path.parent / line.file) if isinstance(line.file, str) else str(line.code)
    tests = bytes(line.tests)
    if tests.startswith(b'"'):
        tests = _read(path.parent / msgspec.json.decode(tests, type=str), "tests file")
    return Pair(id=number if isinstance(line.id, msgspec.UnsetType) else line.id, job=_job(tests, code, limits, place))


def _job(tests: bytes, code: str, limits: Limits, place: str) -> Job:
    try:
        return read_tests(tests, code, limits)
    except TestsFileError as error:
        raise TestsFileError(f"{place}: {error}") from error


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise TestsFileError(f"{what} {path} does not exist") from error
    except (OSError, ValueError) as error:
        raise TestsFileError(f"{what} {path} cannot be read: {error}") from error
