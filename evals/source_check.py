"""Looking at a task's Python without running it: does it parse, what does it define, what does a test call."""

import ast
from collections.abc import Iterator

from method.parsing import tree_of
from protocols.errors import TasksError

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def check_parses(field: str, code: str) -> ast.Module:
    """Return the syntax tree of `code`.

    Raises:
        TasksError: it is not Python; the text names `field`.
    """
    try:
        return tree_of(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TasksError(f"field `{field}`: expected Python, but it does not parse ({error}): {code[:80]!r}") from error


def check_defines(field: str, code: str, name: str) -> None:
    """Make sure that `code` defines `name` at its top level.

    Raises:
        TasksError: it does not, or it is not Python; the text names `field`.
    """
    if name not in set(_defined(check_parses(field, code))):
        raise TasksError(f"field `{field}`: expected it to define the entry point `{name}`, but it does not")


def before_definition(code: str, name: str) -> str:
    """Return the lines of `code`, which parses, before the top-level definition of the function `name`."""
    for node in tree_of(code).body:
        if isinstance(node, _FUNCTIONS) and node.name == name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "\n".join(code.splitlines()[: first - 1]).strip("\n")
    return ""


def called_function(field: str, code: str, tests: tuple[str, ...]) -> str:
    """Return the function that `code` defines and `tests` call, the outermost call first; a class only for want of one.

    Raises:
        TasksError: no test calls anything that `code` defines; the text names `field`.
    """
    tree = check_parses(field, code)
    called = [name for test in tests for name in _called(check_parses("test_list", test))]
    functions = {node.name for node in tree.body if isinstance(node, _FUNCTIONS)}
    for names in (functions, set(_defined(tree))):
        found = next((name for name in called if name in names), None)
        if found is not None:
            return found
    raise TasksError(
        f"field `{field}`: expected it to define what the tests call, {sorted(set(called))}, but it does not"
    )


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _called(tree: ast.Module) -> Iterator[str]:
    # ast.walk goes level by level, so an outer call comes before those among its arguments.
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
