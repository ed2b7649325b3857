"""Published tests that compare with numpy, made to run where there is none: the sandbox has the standard library only.

EvalPlus's scripts use of numpy what compares numbers within a tolerance, and types that only numpy itself makes. The
import is replaced by a few lines of Python that compare nested lists in the same way. A script that uses more is left
as it is, and fails in the sandbox as one that cannot import numpy.

Not covered: broadcasting. A number is never close to a list.
"""

import ast

from method.parsing import parse

STAND_IN = """
class np:
    class ndarray:
        dtype = None

    class float32:
        pass

    class float64:
        pass

    inf = float("inf")
    nan = float("nan")

    @staticmethod
    def _close(ours, theirs, rtol, atol, equal_nan):
        if isinstance(ours, (list, tuple)) or isinstance(theirs, (list, tuple)):
            return (
                isinstance(ours, (list, tuple))
                and isinstance(theirs, (list, tuple))
                and len(ours) == len(theirs)
                and all(np._close(a, b, rtol, atol, equal_nan) for a, b in zip(ours, theirs))
            )
        if ours != ours or theirs != theirs:
            return equal_nan and ours != ours and theirs != theirs
        return bool(ours == theirs or (abs(theirs) != np.inf and abs(ours - theirs) <= atol + rtol * abs(theirs)))

    @staticmethod
    def allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
        return np._close(a, b, rtol, atol, equal_nan)

    class testing:
        @staticmethod
        def assert_allclose(actual, desired, rtol=1e-07, atol=0, equal_nan=True):
            assert np._close(actual, desired, rtol, atol, equal_nan), (actual, desired)
""".lstrip("\n")
_KNOWN = frozenset({"ndarray", "float32", "float64", "inf", "nan", "allclose", "testing"})


def without_numpy(code: str) -> str:
    """Return `code` with `import numpy as np` replaced, where nothing more is used of it than the stand-in has."""
    tree = parse(code)
    if tree is None or not any(map(_imports_numpy, tree.body)) or not _used(tree) <= _KNOWN:
        return code
    lines = code.splitlines()
    for node in tree.body:
        if _imports_numpy(node):
            lines[node.lineno - 1] = STAND_IN
    return "\n".join(lines)


def _imports_numpy(node: ast.stmt) -> bool:
    match node:
        case ast.Import(names=[ast.alias(name="numpy", asname="np")]):
            return True
        case _:
            return False


def _used(tree: ast.Module) -> set[str]:
    """Return what is used of `np`; the empty name where it is used otherwise than by its attributes."""
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    owned = [node for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "np"]
    mentions = sum(isinstance(node, ast.Name) and node.id == "np" for node in ast.walk(tree))
    return {node.attr for node in owned} | ({""} if mentions > len(owned) else set[str]())
