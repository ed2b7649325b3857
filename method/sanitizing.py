"""An answer reduced to what its entry point needs, as EvalPlus does before it measures (arXiv 2305.01210).

On top of `method.extraction` (fences, prose): of the chosen block only imports stay, and the definitions and
assignments that the entry point needs, directly or through others. Its own tests, examples and prints would otherwise
decide how it is measured. What the prompt gave (`Task.context`) is put in front, where an answer may take it for
granted. Programs are left whole: all of a program is what it does.

Invariants: below the context, the result is lines of the response as they stand; what does not parse, or defines no
entry point, is left as it is, for the sandbox to report. Not kept, as in EvalPlus: statements at top level that only
call something, such as `sys.setrecursionlimit`, and loops that fill a table.
"""

import ast
from collections.abc import Iterator, Sequence

from method.extraction import extract_code
from method.parsing import parse
from protocols.records import Task


def sanitized(text: str, task: Task) -> str | None:
    """Return the code of a response as it is measured; None when the response holds no code."""
    code = extract_code(text, task.entry_point)
    if code is None or task.entry_point is None:
        return code
    return with_context(reduced(code, task.entry_point), task.context)


def reduced(code: str, entry_point: str) -> str:
    """Return the imports of `code` and what `entry_point` needs of the rest."""
    tree = parse(code)
    if tree is None or entry_point not in {name for node in tree.body for name in _bound(node)}:
        return code
    needed = _needed(tree.body, entry_point)
    kept = [node for node in tree.body if _is_import(node) or needed & set(_bound(node))]
    return _lines_of(code, kept)


def with_context(code: str, context: str) -> str:
    """Return `code` behind what the prompt defines; code that looks into the future (`__future__`) stays alone."""
    if not context.strip() or "from __future__" in code:
        return code
    return f"{context.strip()}\n\n{code}"


def _needed(body: Sequence[ast.stmt], entry_point: str) -> set[str]:
    """Return the names that `entry_point` reaches through what the module binds."""
    uses: dict[str, set[str]] = {}
    for node in body:
        for name in _bound(node):
            uses.setdefault(name, set()).update(_mentioned(node))
    needed: set[str] = set()
    open_names = [entry_point]
    while open_names:
        name = open_names.pop()
        if name not in needed:
            needed.add(name)
            open_names.extend(uses.get(name, ()))
    return needed


def _mentioned(node: ast.stmt) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _is_import(node: ast.stmt) -> bool:
    """Whether a statement imports, or tries to."""
    if isinstance(node, ast.Try | ast.If):
        return any(map(_is_import, node.body))
    return isinstance(node, ast.Import | ast.ImportFrom)


def _bound(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement at top level defines or changes; none for tests and calls."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Assign(targets=targets):
            for target in targets:
                yield from _roots(target)
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            yield from _roots(target)
        case ast.Try(body=body) | ast.If(body=body) if not _is_main_guard(node):
            for inner in body:
                yield from _bound(inner)
        case _:
            pass


def _roots(target: ast.expr) -> Iterator[str]:
    """Yield the names that an assignment to `target` changes: `a` of `a`, `a[0]`, `a.b` and `(a, *b)`."""
    match target:
        case ast.Name(id=name):
            yield name
        case ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Starred(value=value):
            yield from _roots(value)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from _roots(part)
        case _:
            pass


def _is_main_guard(node: ast.stmt) -> bool:
    match node:
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
        case _:
            return False


def _lines_of(code: str, kept: Sequence[ast.stmt]) -> str:
    lines = code.splitlines()
    chosen: dict[int, str] = {}
    for node in kept:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        last = node.end_lineno or node.lineno
        chosen.update({number: lines[number - 1] for number in range(first, last + 1)})
    return "\n".join(chosen[number] for number in sorted(chosen))
