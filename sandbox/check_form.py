"""Takes HumanEval's `check(candidate)` apart into asserts on the entry point. Pure.

Only a `check` that is nothing but asserts is taken apart, so that what is left needs no scope of its own; one with
loops, assignments or helpers stays whole and runs as code.
"""

import ast

_CHECK = "check"


def asserts_of_check(test_code: str, entry_point: str | None) -> tuple[str, ...] | None:
    """Return the asserts that `check` makes, each on `entry_point` in the place of its parameter.

    Args:
        test_code: defines `check`, and may call it in its last statement.
        entry_point: what is checked; None takes it from the call of `check`.

    Returns:
        Sources of assert statements; None when there is no such `check`, or it does more.
    """
    try:
        tree = ast.parse(test_code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    check = _only_check(tree)
    entry_point = entry_point or _checked(tree)
    if check is None or entry_point is None:
        return None
    rename = _Rename(check.args.args[0].arg, entry_point)
    asserts = [rename.visit(node) for node in check.body if not _says_nothing(node)]
    if rename.shadowed or not asserts or not all(isinstance(node, ast.Assert) for node in asserts):
        return None
    return tuple(ast.unparse(node) for node in asserts)


def _only_check(tree: ast.Module) -> ast.FunctionDef | None:
    """Return `check` if it has one plain parameter and nothing but it and constants is defined."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == _CHECK]
    others = [node for node in tree.body if node not in functions and not _is_call_of_check(node)]
    if len(functions) != 1 or not all(_is_metadata(node) or _says_nothing(node) for node in others):
        return None
    (check,) = functions
    arguments = check.args
    plain = len(arguments.args) == 1 and not (
        arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg or arguments.defaults
    )
    return check if plain and not check.decorator_list else None


def _checked(tree: ast.Module) -> str | None:
    for node in tree.body:
        if _is_call_of_check(node):
            match node:
                case ast.Expr(value=ast.Call(args=[ast.Name(id=name)], keywords=[])):
                    return name
                case _:
                    return None
    return None


def _is_call_of_check(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id=name))):
            return name == _CHECK
        case _:
            return False


def _is_metadata(node: ast.stmt) -> bool:
    match node:
        case ast.Assign(targets=[ast.Name(id="METADATA")]):
            return True
        case _:
            return False


def _says_nothing(node: ast.stmt) -> bool:
    """Whether `node` has no effect (a docstring, `print` without a call) or asserts what holds whatever comes."""
    match node:
        case ast.Pass() | ast.Expr(value=ast.Constant() | ast.Name(id="print")):
            return True
        case ast.Assert(test=ast.Constant(value=value)):
            return bool(value)
        case _:
            return False


class _Rename(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self._old = old
        self._new = new
        self.shadowed = False
        """Whether something else bears the old name, so that renaming would change the meaning."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id != self._old:
            return node
        self.shadowed = self.shadowed or not isinstance(node.ctx, ast.Load)
        return ast.Name(id=self._new, ctx=node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        self.shadowed = self.shadowed or node.arg == self._old
        return node
