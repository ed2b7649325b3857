"""Takes `unittest` classes apart into one test for each method. Pure.

A method that only makes simple assertions becomes plain asserts, judged outside the candidate's process; any other one
is the whole source with a call of that method behind it, and runs as code, `setUp` and class fixtures included. Methods
that are skipped, or expected to fail, say nothing of a candidate and are left out. Not covered: `load_tests`, and
classes whose base `TestCase` cannot be seen in the source.
"""

import ast
from collections.abc import Callable, Iterator

from sandbox.judging import call_form

_FIXTURES = {"setUp", "tearDown", "setUpClass", "tearDownClass", "asyncSetUp", "asyncTearDown", "run"}
_NOT_COUNTED = {"skip", "skipIf", "skipUnless", "expectedFailure"}
_CALLABLE = (ast.FunctionDef, ast.AsyncFunctionDef)


def methods_of_unittest(code: str, entry_point: str | None) -> tuple[str, ...]:
    """Return the code of one test for each test method of `code`, in the order in which `unittest` runs them.

    Args:
        code: defines classes that derive from `unittest.TestCase`.
        entry_point: name that the candidate defines; None takes the first called name that is no built-in.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: `code` does not parse.
    """
    tree = ast.parse(code)
    tree.body = [node for node in tree.body if not _is_start(node)]
    source = ast.unparse(tree)
    has_module_fixture = any(isinstance(node, ast.FunctionDef) and node.name == "setUpModule" for node in tree.body)
    prefix = f"{source}\n{'setUpModule()' if has_module_fixture else ''}\n"
    return tuple(
        _plain(methods, name, entry_point) or prefix + _call(case, name)
        for case, methods in _cases(tree).items()
        for name in sorted(methods)
        if name.startswith("test") and not _left_out(methods[name])
    )


def _is_start(node: ast.stmt) -> bool:
    """Whether `node` runs the tests by itself: `unittest.main()`, bare or under a main guard."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="unittest"), attr="main"))):
            return True
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
        case _:
            return False


def _cases(tree: ast.Module) -> dict[str, dict[str, ast.stmt]]:
    """Return, for each test class, its methods by name, inherited ones included."""
    known: dict[str, dict[str, ast.stmt]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not _left_out(node):
            bases = [ast.unparse(base) for base in node.bases]
            if any(base in known or base.rsplit(".", 1)[-1].endswith("TestCase") for base in bases):
                inherited = {name: method for base in bases for name, method in known.get(base, {}).items()}
                own = {part.name: part for part in node.body if isinstance(part, _CALLABLE)}
                known[node.name] = {**inherited, **own}
    return known


def _left_out(node: ast.stmt) -> bool:
    decorators = node.decorator_list if isinstance(node, (*_CALLABLE, ast.ClassDef)) else []
    parts = (part for decorator in decorators for part in ast.walk(decorator))
    return any(
        (isinstance(part, ast.Attribute) and part.attr in _NOT_COUNTED)
        or (isinstance(part, ast.Name) and part.id in _NOT_COUNTED)
        for part in parts
    )


def _call(case: str, method: str) -> str:
    # `debug` lets exceptions through, and a candidate cannot end the test early by raising unittest.SkipTest.
    return (
        f"{case}.setUpClass()\ntry:\n    {case}({method!r}).debug()\n"
        f"finally:\n    {case}.tearDownClass()\n    {case}.doClassCleanups()\n"
    )


def _plain(methods: dict[str, ast.stmt], name: str, entry_point: str | None) -> str | None:
    """Return the method as asserts that can be judged outside, or None."""
    method = methods[name]
    if _FIXTURES & methods.keys() or not isinstance(method, ast.FunctionDef) or method.decorator_list:
        return None
    statements = [node for node in method.body if not _is_docstring(node)]
    asserts = [*_asserts(statements)]
    if len(asserts) != len(statements):
        return None
    code = "\n".join(asserts)
    return code if call_form(code, entry_point) is not None else None


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _asserts(statements: list[ast.stmt]) -> Iterator[str]:
    for node in statements:
        match node:
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)) as call):
                condition = _condition(name, call)
                if condition is not None:
                    yield f"assert {condition}"
            case _:
                return


def _condition(name: str, call: ast.Call) -> str | None:
    texts = [f"({ast.unparse(argument)})" for argument in call.args]
    named = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg != "msg"}
    if name == "assertAlmostEqual":
        return _almost_equal(texts, named)
    if name not in _CONDITIONS or named:
        return None
    wanted, condition = _CONDITIONS[name]
    # One more may be the message.
    return condition(*texts[:wanted]) if wanted <= len(texts) <= wanted + 1 else None


def _almost_equal(texts: list[str], named: dict[str | None, str]) -> str | None:
    if len(texts) == 3 and not named:
        named = {"places": texts.pop()}
    if len(texts) != 2:
        return None
    distance = f"abs({texts[0]} - {texts[1]})"
    if named.keys() == {"delta"}:
        return f"{distance} <= ({named['delta']})"
    return f"round({distance}, {named.get('places', '7')}) == 0" if named.keys() <= {"places"} else None


_CONDITIONS: dict[str, tuple[int, Callable[..., str]]] = {
    "assertEqual": (2, "{} == {}".format),
    "assertNotEqual": (2, "{} != {}".format),
    "assertTrue": (1, "{}".format),
    "assertFalse": (1, "not {}".format),
    "assertIs": (2, "{} is {}".format),
    "assertIsNot": (2, "{} is not {}".format),
    "assertIsNone": (1, "{} is None".format),
    "assertIsNotNone": (1, "{} is not None".format),
    "assertIn": (2, "{} in {}".format),
    "assertNotIn": (2, "{} not in {}".format),
    "assertGreater": (2, "{} > {}".format),
    "assertGreaterEqual": (2, "{} >= {}".format),
    "assertLess": (2, "{} < {}".format),
    "assertLessEqual": (2, "{} <= {}".format),
    "assertIsInstance": (2, "isinstance({}, {})".format),
}
"""Assertions that are simple: how many arguments decide, and the condition on them."""
