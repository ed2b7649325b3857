"""Code up to what does not matter: formatting, comments, docstrings and the names of locals.

Invariants: both forms are idempotent; renaming a local changes neither; another operator, constant or call changes
both. Two codes of one normal form behave alike, unless a test passes the entry point's own parameters by keyword.
Code that reads its own names (`locals`, `eval`, ...) keeps them all.
"""

import ast
from collections.abc import Sequence

from method.parsing import parse, unparse
from method.scopes import Binding, Place, resolve

_UNPARSABLE = "! "
"""Begins the form of code that does not parse; no Python begins so, hence it equals no other code's form."""
_READS_NAMES = frozenset({"locals", "globals", "vars", "dir", "eval", "exec"})


def normal_form(code: str) -> str:
    """Return `code` normalised up to formatting, comments, docstrings and local names.

    Parameters and local variables are numbered in order of first use; global names, attributes and keyword-argument
    names stay. Code that does not parse is its words behind `! `.
    """
    return _form(code, rename_globals=False)


def shape(code: str) -> str:
    """Return the coarser form for overlap: also the module's own functions, classes and variables are numbered.

    Constants, attributes, imported names and builtins stay.
    """
    return _form(code, rename_globals=True)


def group_equal(codes: Sequence[str | None]) -> tuple[tuple[int, ...], ...]:
    """Return the indices of `codes` grouped by normal form, in order of first occurrence; all None are one group."""
    groups: dict[str | None, list[int]] = {}
    for index, code in enumerate(codes):
        groups.setdefault(None if code is None else normal_form(code), []).append(index)
    return tuple(tuple(group) for group in groups.values())


def _form(code: str, *, rename_globals: bool) -> str:
    tree = parse(code)
    form = None if tree is None else _normalised(tree, rename_globals)
    return _words(code) if form is None else form


def _words(code: str) -> str:
    text = " ".join(code.split())
    return text if text.startswith(_UNPARSABLE) else _UNPARSABLE + text


def _normalised(tree: ast.Module, rename_globals: bool) -> str | None:
    try:
        _drop_constant_statements(tree)
        if not any(isinstance(node, ast.Name) and node.id in _READS_NAMES for node in ast.walk(tree)):
            _number(resolve(tree), rename_globals)
    except RecursionError:
        return None
    return unparse(tree)


def _drop_constant_statements(tree: ast.Module) -> None:
    """Remove docstrings, and every other bare constant: with only the first gone, the next would be a docstring."""
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list) and body:
                _keep_statements(node, field, body)  # pyright: ignore[reportUnknownArgumentType]


def _keep_statements(node: ast.AST, field: str, body: list[ast.stmt]) -> None:
    kept = [statement for statement in body if not _is_constant(statement)]
    needs_one = field == "body" and not isinstance(node, ast.Module)
    setattr(node, field, kept or ([ast.Pass()] if needs_one else []))


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _number(places: Sequence[Place], rename_globals: bool) -> None:
    renamed = [place for place in places if _is_renamed(place.binding, rename_globals)]
    kept = {place.name for place in places if not _is_renamed(place.binding, rename_globals)}
    numbers: dict[Binding | None, str] = {}
    free = (name for name in map("v{}".format, range(len(renamed) + len(kept))) if name not in kept)
    for place in renamed:
        if place.binding not in numbers:
            numbers[place.binding] = next(free)
        place.rename(numbers[place.binding])


def _is_renamed(binding: Binding | None, rename_globals: bool) -> bool:
    return binding is not None and not binding.fixed and (rename_globals or not binding.is_global)
