r"""Reads the tests of one program from JSON: the form of `main.py sandbox run FILE --tests FILE`. Pure.

::

    {"kind": "calls", "entry_point": "f", "cases": [{"args": [1], "expected": 41}]}
    {"kind": "stdio", "cases": [{"stdin": "3\n", "stdout": "6"}], "comparison": "floats", "tolerance": 1e-6}
    {"kind": "asserts", "setup": "", "asserts": ["assert f(1) == 41"]}
    {"kind": "check", "entry_point": "f", "code": "def check(candidate): …"}
    {"kind": "unittest", "code": "class TestF(unittest.TestCase): …"}

Each may have `limits`. Values are JSON's: a list is equal to a list only, never to a tuple. What cannot be used is
refused with the field, and what was expected there; an unknown field is refused, because it is more likely a mistake.
"""

import ast
import keyword
import math
import warnings
from typing import Annotated, Any, Literal, cast

import msgspec

from protocols.errors import TestsFileError
from protocols.ports import Job, Limits
from protocols.records import AssertTest, OutputComparison, StdioTest, Test
from sandbox.check_form import asserts_of_check
from sandbox.unittest_form import methods_of_unittest

_MAX_BYTES = 16 << 20
_MAX_DEPTH = 60
_MAX_DIGITS = 4000
"""Of an integer: Python itself reads no longer ones."""

_Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
_Bytes = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_CASES = msgspec.Meta(min_length=1, max_length=10_000)


class _Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cpu_s: _Seconds | msgspec.UnsetType = msgspec.UNSET
    wall_s: _Seconds | msgspec.UnsetType = msgspec.UNSET
    memory_bytes: Annotated[int, msgspec.Meta(ge=32 << 20, le=1 << 40)] | msgspec.UnsetType = msgspec.UNSET
    output_bytes: _Bytes | msgspec.UnsetType = msgspec.UNSET
    file_bytes: _Bytes | msgspec.UnsetType = msgspec.UNSET
    processes: Annotated[int, msgspec.Meta(ge=1, le=1000)] | msgspec.UnsetType = msgspec.UNSET


class _Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", kw_only=True):
    limits: _Limits = _Limits()


class _Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    expected: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    tolerance: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Largest absolute difference of a number that is expected; None compares exactly."""


class _Calls(_Form, frozen=True, kw_only=True, tag="calls"):
    entry_point: _Name
    cases: Annotated[tuple[_Call, ...], _CASES]


class _Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stdin: str
    stdout: str


class _Stdio(_Form, frozen=True, kw_only=True, tag="stdio"):
    cases: Annotated[tuple[_Case, ...], _CASES]
    comparison: OutputComparison = "lines"
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1e-6


class _Asserts(_Form, frozen=True, kw_only=True, tag="asserts"):
    asserts: Annotated[tuple[str, ...], _CASES]
    setup: str = ""
    entry_point: _Name | None = None


class _Check(_Form, frozen=True, kw_only=True, tag="check"):
    entry_point: _Name
    code: str
    setup: str = ""


class _Unittest(_Form, frozen=True, kw_only=True, tag="unittest"):
    code: str
    setup: str = ""
    entry_point: _Name | None = None


_decoder = msgspec.json.Decoder(_Calls | _Stdio | _Asserts | _Check | _Unittest)


def read_tests(data: bytes, code: str, limits: Limits) -> Job:
    """Return the job of running `code` against the tests in `data`.

    Args:
        data: a tests file's bytes.
        code: the program's source.
        limits: those that hold where the file gives none.

    Raises:
        TestsFileError: the bytes are no tests file; the text names the field and what was expected.
    """
    if len(data) > _MAX_BYTES:
        raise TestsFileError(f"expected at most {_MAX_BYTES} bytes, got {len(data)}")
    try:
        form = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TestsFileError(_explain(error)) from error
    entry_point = None if isinstance(form, _Stdio) else form.entry_point
    if entry_point is not None and (not entry_point.isidentifier() or keyword.iskeyword(entry_point)):
        raise TestsFileError(f"field `entry_point`: expected a Python name, got {entry_point[:80]!r}")
    setup = "" if isinstance(form, _Calls | _Stdio) else form.setup
    _parsed("setup", setup)
    given = {name: value for name, value in msgspec.structs.asdict(form.limits).items() if value is not msgspec.UNSET}
    return Job(
        code=code,
        tests=_tests(form),
        entry_point=entry_point,
        setup=setup,
        limits=msgspec.structs.replace(limits, **given),
    )


def _tests(form: _Calls | _Stdio | _Asserts | _Check | _Unittest) -> tuple[Test, ...]:
    match form:
        case _Calls():
            return tuple(
                AssertTest(code=_call(form.entry_point, case, number)) for number, case in enumerate(form.cases)
            )
        case _Stdio(comparison=comparison, tolerance=tolerance):
            return tuple(
                StdioTest(stdin=case.stdin, stdout=case.stdout, comparison=comparison, tolerance=tolerance)
                for case in form.cases
            )
        case _Asserts():
            for number, code in enumerate(form.asserts):
                _parsed(f"asserts[{number}]", code, some=True)
            return tuple(AssertTest(code=code) for code in form.asserts)
        case _Check():
            return _check_tests(form)
        case _Unittest():
            return _unittest_tests(form)


def _call(entry_point: str, case: _Call, number: int) -> str:
    place = f"cases[{number}]"
    arguments = [value_source(value, f"{place}.args") for value in case.args]
    for name, value in case.kwargs.items():
        if not name.isidentifier() or keyword.iskeyword(name):
            raise TestsFileError(f"field `{place}.kwargs`: expected Python names, got {name[:80]!r}")
        arguments.append(f"{name}={value_source(value, f'{place}.kwargs')}")
    call, expected = f"{entry_point}({', '.join(arguments)})", value_source(case.expected, f"{place}.expected")
    if case.tolerance is None:
        return f"assert {call} == {expected}"
    if type(case.expected) not in (int, float):
        raise TestsFileError(f"field `{place}.tolerance`: expected only where a number is expected")
    return f"assert abs({call} - {expected}) <= {_float(case.tolerance)}"


def value_source(value: object, place: str = "value") -> str:
    """Return the Python expression of a JSON value.

    Raises:
        TestsFileError: it is nested too deeply, or holds a number that Python does not write.
    """
    return _source(value, place, 0)


def _source(value: Any, place: str, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise TestsFileError(f"field `{place}`: nested more than {_MAX_DEPTH} levels deep")
    match value:
        case float():
            return _float(value)
        case int() if abs(value) >= 10**_MAX_DIGITS:
            raise TestsFileError(f"field `{place}`: an integer of more than {_MAX_DIGITS} digits")
        case list():
            return f"[{', '.join([_source(item, place, depth + 1) for item in cast(list[Any], value)])}]"
        case dict():
            items = cast(dict[str, Any], value).items()
            pairs = [f"{key!r}: {_source(item, place, depth + 1)}" for key, item in items]
            return f"{{{', '.join(pairs)}}}"
        case _:
            return repr(value)


def _float(value: float) -> str:
    return repr(value) if math.isfinite(value) else f"float({str(value)!r})"


def _check_tests(form: _Check) -> tuple[Test, ...]:
    tree = _parsed("code", form.code)
    if not any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in tree.body):
        raise TestsFileError("field `code`: expected it to define the function `check(candidate)`")
    asserts = asserts_of_check(form.code, form.entry_point)
    return tuple(AssertTest(code=code) for code in asserts or (f"{form.code}\ncheck({form.entry_point})",))


def _unittest_tests(form: _Unittest) -> tuple[Test, ...]:
    _parsed("code", form.code)
    try:
        tests = methods_of_unittest(form.code, form.entry_point)
    except RecursionError as error:
        raise TestsFileError("field `code`: expected Python, but it is nested too deeply") from error
    if not tests:
        raise TestsFileError("field `code`: expected a class that derives from unittest.TestCase, with a test method")
    return tuple(AssertTest(code=code) for code in tests)


def _parsed(field: str, code: str, *, some: Literal[True] | None = None) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TestsFileError(
            f"field `{field}`: expected Python, but it does not parse ({error}): {code[:80]!r}"
        ) from error
    if some and not tree.body:
        raise TestsFileError(f"field `{field}`: expected at least one statement, got {code[:80]!r}")
    return tree


def _explain(error: Exception) -> str:
    """Return a codec's message with its field in front: `Expected x - at `$.y`` becomes `field `y`: expected x`."""
    text, separator, place = str(error).partition(" - at `$")
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not separator:
        return f"expected a JSON object with the field `kind`: {text}"
    return f"field `{place.removesuffix('`').lstrip('.')}`: {text[:1].lower()}{text[1:]}"
