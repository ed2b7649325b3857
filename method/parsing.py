"""Python source to syntax tree and back: what small models write often does not parse.

Invariant: nothing here runs code or prints, and only `tree_of` raises. It does not say why something fails to parse;
the sandbox does.
"""

import ast
import warnings


def tree_of(code: str) -> ast.Module:
    """Return the syntax tree of `code`, without the warnings (`1or 2`, an unknown escape) that Python would print.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it does not parse.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def parse(code: str) -> ast.Module | None:
    """Return the syntax tree of `code`, or None when it does not parse (also: null bytes, absurd nesting)."""
    try:
        return tree_of(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def error_line(code: str) -> int | None:
    """Return the 1-based line at which `code` stops being Python; None when it parses or no line can be named."""
    try:
        tree_of(code)
    except SyntaxError as error:
        return error.lineno
    except (ValueError, RecursionError, MemoryError):
        return None
    return None


def unparse(tree: ast.Module) -> str | None:
    """Return `tree` as source; None when it cannot be written (nesting, huge integers, quotes within f-strings)."""
    try:
        return ast.unparse(tree)
    except (ValueError, RecursionError):
        return None


def bound_at_top(tree: ast.Module) -> frozenset[str]:
    """Return the names that a module defines at top level by `def`, `class` or assignment (not by import)."""
    names: set[str] = set()
    for statement in tree.body:
        names |= _bound_by(statement)
    return frozenset(names)


def _bound_by(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {name for target in targets for name in _stored(target)}
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return {name}
        case _:
            return set()


def _stored(target: ast.expr) -> set[str]:
    nodes = (node for node in ast.walk(target) if isinstance(node, ast.Name))
    return {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
