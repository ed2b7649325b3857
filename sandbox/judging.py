"""Turns simple tests into calls and judges their results outside the candidate's process. Pure.

`assert f(2, 3) == 5` becomes the call `f(2, 3)`, which goes in, and the condition `<result> == 5`, which stays here:
the expected value never enters the candidate's process. What cannot be taken apart so (several statements other than
asserts, loops, an expected value that is itself computed by code) is None: it must run as code.
"""

import ast
import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from protocols.records import TestOutcome
from sandbox.check_form import asserts_of_check
from sandbox.classification import claimed_failure, class_of, failure, show, success
from sandbox.conditions import BINARY, FUNCTIONS, TYPES, evaluate, function_of
from sandbox.decoding import BadResult, decode, parse

_MAX_TEST_LENGTH = 200_000


@dataclass(frozen=True)
class Condition:
    """One assert: an expression in which the results of calls have the names `<0>`, `<1>` and so on."""

    expression: ast.expr
    holes: tuple[int, ...]
    """Indexes of the calls whose results it needs."""
    source: str
    """The assert's own condition, for messages."""


@dataclass(frozen=True)
class CallForm:
    """A test as calls to make inside and conditions to check outside."""

    calls: tuple[str, ...]
    """Source of each call, in order of evaluation; never holds an expected value."""
    conditions: tuple[Condition, ...]


class _NotSimple(Exception):
    pass


@lru_cache(maxsize=4096)
def call_form(test_code: str, entry_point: str | None) -> CallForm | None:
    """Return the test as calls and conditions, or None when it is not made of simple asserts.

    Args:
        test_code: one or more assert statements; messages after the comma are ignored.
        entry_point: the only name that calls may start from; None takes the first called name that is no built-in.
    """
    try:
        if len(test_code) > _MAX_TEST_LENGTH:
            return None
        body = _statements(test_code, entry_point)
        splitter = _Splitter(entry_point)
        conditions = tuple(splitter.condition(statement) for statement in body)
    except (_NotSimple, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return CallForm(calls=tuple(splitter.calls), conditions=conditions) if conditions else None


def _statements(test_code: str, entry_point: str | None) -> list[ast.stmt]:
    body = ast.parse(test_code).body
    if all(isinstance(statement, ast.Assert) for statement in body):
        return body
    asserts = asserts_of_check(test_code, entry_point)
    return body if asserts is None else ast.parse("\n".join(asserts)).body


class _Splitter:
    """Cuts calls of the candidate out of conditions, numbering them across one test."""

    def __init__(self, entry_point: str | None) -> None:
        self.calls: list[str] = []
        self._entry_point = entry_point

    def condition(self, statement: ast.stmt) -> Condition:
        if not isinstance(statement, ast.Assert):
            raise _NotSimple
        first = len(self.calls)
        expression = self._split(statement.test)
        holes = tuple(range(first, len(self.calls)))
        if not holes:
            raise _NotSimple
        return Condition(expression, holes, ast.unparse(statement.test))

    def _split(self, node: ast.expr) -> ast.expr:
        if self._is_candidate_call(node):
            self.calls.append(ast.unparse(node))
            return ast.Name(id=f"<{len(self.calls) - 1}>")
        match node:
            case ast.Constant():
                return node
            case ast.Name(id=name) if name in TYPES and name != self._entry_point:
                return node
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                return type(node)(elts=self._split_all(items))
            case ast.Dict(keys=keys, values=values) if None not in keys:
                return ast.Dict(keys=[*self._split_all(cast(list[ast.expr], keys))], values=self._split_all(values))
            case ast.UnaryOp(op=op, operand=operand):
                return ast.UnaryOp(op=op, operand=self._split(operand))
            case _:
                return self._split_operation(node)

    def _split_operation(self, node: ast.expr) -> ast.expr:
        match node:
            case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
                return ast.BinOp(left=self._split(left), op=op, right=self._split(right))
            case ast.BoolOp(op=ast.And(), values=values):
                return ast.BoolOp(op=ast.And(), values=self._split_all(values))
            case ast.Compare(left=left, ops=ops, comparators=comparators) if _identity_is_plain(node):
                return ast.Compare(left=self._split(left), ops=ops, comparators=self._split_all(comparators))
            case ast.Call(func=func, args=args, keywords=keywords) if function_of(node) is not None:
                named = [ast.keyword(arg=keyword.arg, value=self._split(keyword.value)) for keyword in keywords]
                if any(keyword.arg is None for keyword in keywords):
                    raise _NotSimple
                return ast.Call(func=func, args=self._split_all(args), keywords=named)
            case _:
                raise _NotSimple

    def _split_all(self, nodes: Sequence[ast.expr]) -> list[ast.expr]:
        return [self._split(node) for node in nodes]

    def _is_candidate_call(self, node: ast.expr) -> bool:
        """Whether `node` is a call of the candidate's, or an attribute, method or item of what one gave."""
        called = False
        while isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
            called = called or isinstance(node, ast.Call)
            node = node.func if isinstance(node, ast.Call) else node.value
        if not (called and isinstance(node, ast.Name)):
            return False
        if self._entry_point is None and _may_be_a_candidates(node.id):
            # The first such name is the candidate's for the whole test: another one may be a helper of the test's.
            self._entry_point = node.id
        return node.id == self._entry_point


def _may_be_a_candidates(name: str) -> bool:
    return name != "math" and name not in FUNCTIONS and not hasattr(builtins, name)


def _identity_is_plain(node: ast.Compare) -> bool:
    """Whether `is` is used only with None, True, False and types, which keep their identity on the way out."""
    for op, right in zip(node.ops, node.comparators, strict=True):
        if isinstance(op, ast.Is | ast.IsNot):
            plain = isinstance(right, ast.Constant) and (right.value is None or isinstance(right.value, bool))
            if not plain and not (isinstance(right, ast.Name) and right.id in TYPES):
                return False
    return True


def judge(form: CallForm, encoded_result: str, code: str = "") -> TestOutcome:
    """Return what a call test showed, from the claim of the process that made the calls.

    Args:
        form: the test.
        encoded_result: the claim: `results` so far and, if one of the calls raised, `error`. Untrusted.
        code: the candidate's, for tracebacks.
    """
    try:
        claim = parse(encoded_result)
        results = claim.get("results")
        values = [decode(part) for part in cast(list[Any], results)] if isinstance(results, list) else []
    except BadResult as error:
        return failure("bad_result", "other", f"the result could not be read: {error}")
    named = {f"<{index}>": value for index, value in enumerate(values[: len(form.calls)])}
    for condition in form.conditions:
        if any(f"<{hole}>" not in named for hole in condition.holes):
            return _unfinished(claim, code)
        outcome = _check(condition, named)
        if not outcome.passed:
            return outcome
    return success()


def _unfinished(claim: dict[str, Any], code: str) -> TestOutcome:
    if "error" not in claim:
        return failure("bad_result", "other", "the result lacks values, and says of no error")
    return claimed_failure(claim["error"], code)


def _check(condition: Condition, values: dict[str, Any]) -> TestOutcome:
    try:
        if evaluate(condition.expression, values):
            return success()
    except Exception as error:  # a comparison of values that the candidate chose may raise anything
        names = tuple(kind.__name__ for kind in type(error).__mro__)
        return failure("wrong", class_of(names), f"{names[0]}: {error} (while checking {condition.source})")
    expected, actual = _difference(condition, values)
    return failure("wrong", "wrong_answer", f"failed: assert {condition.source}", expected, actual)


def _difference(condition: Condition, values: dict[str, Any]) -> tuple[str, str]:
    """Return what was wanted and what came: both values of a plain equality, else the condition and the raw result."""
    match condition.expression:
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[right]):
            sides = (right, left) if _has_hole(left) else (left, right)
            return show(evaluate(sides[0], values)), show(evaluate(sides[1], values))
        case _:
            return condition.source, ", ".join(show(values[f"<{hole}>"]) for hole in condition.holes)


def _has_hole(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id.startswith("<") for part in ast.walk(node))
