"""Wrong answers made of right ones: each mutant is the given code with one small mistake in it.

Pure and deterministic: the same code gives the same mutants in the same order. Every mutant parses, and differs from
the code and from every other mutant. Some behave like the code all the same (equivalent mutants): that cannot be
decided here. Not covered: mistakes that need two changes, and wrong algorithms.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

Operator = Callable[[ast.AST], Iterator[ast.AST]]
"""Gives what may stand in the place of one node; nothing when the operator does not apply."""

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


def mutants(code: str, limit: int) -> list[tuple[str, str]]:
    """Return at most `limit` pairs of a description and a mutant of `code`.

    The kinds of mistake take turns, so that a small limit still sees them all; a kind's own sites come in an order
    that depends on the code alone.

    Raises:
        SyntaxError: `code` does not parse.
    """
    tree = ast.parse(code)
    seen = {ast.unparse(tree)}
    chosen: list[tuple[str, str]] = []
    for site in _in_turns([_sites(tree, kind, code) for kind in OPERATORS]):
        if len(chosen) == limit:
            break
        mutant = _replaced(tree, site)
        if mutant not in seen:
            seen.add(mutant)
            chosen.append((site.description, mutant))
    return chosen


class _Site(NamedTuple):
    description: str
    place: int
    """Of the node, in the order of `ast.walk`."""
    replacement: ast.AST


def _in_turns(queues: list[list[_Site]]) -> Iterator[_Site]:
    for turn in range(max(map(len, queues), default=0)):
        yield from (queue[turn] for queue in queues if turn < len(queue))


def _sites(tree: ast.Module, kind: str, code: str) -> list[_Site]:
    found = [
        _Site(_describe(kind, node, replacement), index, replacement)
        for index, node in enumerate(ast.walk(tree))
        for replacement in OPERATORS[kind](node)
    ]
    Random(f"{kind} {code}").shuffle(found)
    return found


def _describe(kind: str, node: ast.AST, replacement: ast.AST) -> str:
    place = node.iter if isinstance(node, ast.comprehension) else node
    at = f"{getattr(place, 'lineno', 0)}:{getattr(place, 'col_offset', 0)}"
    return f"{at} {kind}: {_first_line(node)} -> {_first_line(replacement)}"


def _first_line(node: ast.AST) -> str:
    return ast.unparse(node).strip().splitlines()[0]


def _replaced(tree: ast.Module, site: _Site) -> str:
    changed = copy.deepcopy(tree)
    target = list(ast.walk(changed))[site.place]
    return ast.unparse(ast.fix_missing_locations(_Replacer(target, site.replacement).visit(changed)))


class _Replacer(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self._target = target
        self._replacement = replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self._replacement if node is self._target else self.generic_visit(node)


def _comparison(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            ops = [*node.ops[:place], _COMPARISONS[type(op)](), *node.ops[place + 1 :]]
            yield ast.Compare(left=node.left, ops=ops, comparators=node.comparators)


def _arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _ARITHMETIC:
        yield _with(node, op=_ARITHMETIC[type(node.op)]())


def _integer(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)


def _boolean(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)


def _and_or(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())


def _condition(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield _with(node, test=_negated(node.test))
    if isinstance(node, ast.comprehension):
        for place, test in enumerate(node.ifs):
            yield _with(node, ifs=[*node.ifs[:place], _negated(test), *node.ifs[place + 1 :]])


def _string(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield ast.Constant(node.value + "x")


def _result(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Return) and node.value is not None:
        yield ast.Return(value=ast.Constant(None))


def _not(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand


def _statement(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr | ast.Break | ast.Continue):
        yield ast.Pass()


OPERATORS: dict[str, Operator] = {
    "comparison": _comparison,
    "arithmetic": _arithmetic,
    "integer": _integer,
    "boolean": _boolean,
    "and/or": _and_or,
    "condition": _condition,
    "string": _string,
    "result": _result,
    "not": _not,
    "statement": _statement,
}
"""The kinds of mistake, by the names that descriptions use."""


def _negated(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(op=ast.Not(), operand=test)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """Return a copy of `node` in which `fields` are others; what they hold is shared with `node`."""
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
