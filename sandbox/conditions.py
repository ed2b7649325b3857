"""A small evaluator for the conditions of simple tests: literals, comparisons and harmless built-ins. Pure.

It works on values that untrusted code chose, inside the orchestrator, so each operation is bounded: powers and
repetitions that would give huge values are refused. It never looks up an attribute and never calls anything that is
not in its table.
"""

# pyright: reportUnknownMemberType=false
# (the functions of `operator` take anything)

import ast
import math
import operator
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from sandbox.decoding import MAX_HASHED_ITEMS


def _reversed(values: Sequence[Any]) -> list[Any]:
    return list(reversed(values))


TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **TYPES,
    "abs": abs,
    "all": all,
    "any": any,
    "Counter": Counter,
    "isinstance": isinstance,
    "len": len,
    "max": max,
    "min": min,
    "range": range,
    "reversed": _reversed,
    "round": round,
    "sorted": sorted,
    "sum": sum,
    "type": type,
}
"""What a condition may call by name."""
_ONE_ARGUMENT = {"sum", "type"}
"""Called with one argument only: `sum(lists, [])` takes quadratic time and three-argument `type` makes a class."""
_MATH: dict[str, Callable[..., Any]] = {"isclose": math.isclose, "sqrt": math.sqrt, "isnan": math.isnan}
_HASHING: set[Any] = {set, frozenset, dict, Counter}
_MAX_BITS = 100_000
_MAX_LENGTH = 1_000_000
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


class TooCostly(ArithmeticError):
    """An operation would give a value too large for the orchestrator to hold."""


def function_of(call: ast.Call) -> Callable[..., Any] | None:
    """Return the function that `call` names, if it is one of the table's."""
    match call.func:
        case ast.Name(id=name) if name not in _ONE_ARGUMENT or (len(call.args) == 1 and not call.keywords):
            return FUNCTIONS.get(name)
        case ast.Attribute(value=ast.Name(id="math"), attr=name):
            return _MATH.get(name)
        case _:
            return None


def evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """Return the value of a condition or a part of it, with `values` for its names.

    Raises:
        Exception: what the operation itself raises on these values, such as TypeError.
    """
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return values[name] if name in values else TYPES[name]
        case ast.List() | ast.Tuple() | ast.Set() | ast.Dict():
            return _display(node, values)
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](evaluate(operand, values))
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(type(op), evaluate(left, values), evaluate(right, values))
        case ast.BoolOp(values=parts):
            return all(evaluate(part, values) for part in parts)
        case ast.Compare():
            return _compare(node, values)
        case ast.Call():
            return _call(node, values)
        case _:
            raise TypeError(f"not a condition: {ast.dump(node)}")


def _display(node: ast.List | ast.Tuple | ast.Set | ast.Dict, values: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Dict):
        keys = [evaluate(cast(ast.expr, key), values) for key in node.keys]
        return dict(zip(keys, [evaluate(value, values) for value in node.values], strict=True))
    items = [evaluate(item, values) for item in node.elts]
    return {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)](items)


def _compare(node: ast.Compare, values: Mapping[str, Any]) -> bool:
    left = evaluate(node.left, values)
    for op, part in zip(node.ops, node.comparators, strict=True):
        right = evaluate(part, values)
        if not _COMPARE[type(op)](left, right):
            return False
        left = right
    return True


def _call(node: ast.Call, values: Mapping[str, Any]) -> Any:
    arguments = [evaluate(argument, values) for argument in node.args]
    keywords = {keyword.arg or "": evaluate(keyword.value, values) for keyword in node.keywords}
    function = cast(Callable[..., Any], function_of(node))
    if function is range and len(range(*arguments)) > _MAX_LENGTH:
        raise TooCostly("a range is too long")
    if function is bytes and arguments and isinstance(arguments[0], int):
        raise TooCostly("bytes of a given length")
    if function in _HASHING and arguments and sum(1 for _ in arguments[0]) > MAX_HASHED_ITEMS:
        raise TooCostly("too many elements")
    return function(*arguments, **keywords)


def _binary(op: type[ast.operator], left: Any, right: Any) -> Any:
    if op is ast.Pow and not _is_cheap_power(left, right):
        raise TooCostly("a power is too large")
    if op is ast.Mult and max(_length(left, right), _length(right, left)) > _MAX_LENGTH:
        raise TooCostly("a repetition is too long")
    if op is ast.Mod and isinstance(left, str | bytes | bytearray):
        raise TypeError("text formatting is not part of a condition")
    return BINARY[op](left, right)


def _is_cheap_power(left: Any, right: Any) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() * abs(right) <= _MAX_BITS
    return isinstance(left, int | float | complex) and isinstance(right, int | float | complex)


def _length(value: Any, times: Any) -> int:
    """Return the length of a sequence repeated `times`; 0 when this is no repetition."""
    repeated = isinstance(times, int) and isinstance(value, str | bytes | bytearray | list | tuple | deque)
    return len(cast(str, value)) * times if repeated else 0
