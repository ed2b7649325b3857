"""What import-linter cannot see of the house's architecture."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("actors", "protocols", "sandbox", "trainer", "method", "endpoints", "ledger", "evals", "dashboard", "commands")
FORESEEN = {*ROOMS, "tests", "benchmarks"}
"""Every top-level package there may be; another one needs a decision first."""

SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
OWNED = {
    "torch": "trainer",
    "transformers": "trainer",
    "peft": "trainer",
    "sqlite3": "ledger",
}
"""Which room alone may import a package, also inside a function."""

INSIDE = {Path("sandbox/inside/child.py"), Path("sandbox/inside/proxy.py"), Path("sandbox/http_driver.py")}
"""What runs in the candidate's own process, or in that of a test, here or at a service."""


def packages() -> set[str]:
    return {path.parent.name for path in ROOT.glob("*/*.py") if not path.parent.name.startswith(".")}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"}:
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def called(call: ast.Call) -> str:
    return getattr(call.func, "id", None) or getattr(call.func, "attr", "")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(params=SOURCES, ids=named, scope="module")
def source(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module")
def tree(source: Path) -> ast.Module:
    return ast.parse(source.read_text(encoding="utf-8"))


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 30


def test_no_top_level_package_is_there_that_was_not_foreseen() -> None:
    assert packages() <= FORESEEN


@pytest.mark.parametrize("room", ROOMS)
def test_every_folder_with_code_is_a_package(room: str) -> None:
    folders = {path.parent for path in (ROOT / room).rglob("*.py")}
    assert [named(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_every_test_folder_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [named(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_nobody_imports_main(tree: ast.Module) -> None:
    assert "main" not in {name.split(".")[0] for name in imported(tree)}


def test_only_its_own_room_imports_a_package(source: Path, tree: ast.Module) -> None:
    room = source.relative_to(ROOT).parts[0]
    foreign = {name for name in imported(tree) if OWNED.get(name.split(".")[0], room) != room}
    assert foreign == set()


def test_only_the_candidates_own_process_executes_code(source: Path, tree: ast.Module) -> None:
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & {"exec", "eval"}
    assert bool(used) == (source.relative_to(ROOT) in INSIDE), used


def test_relative_imports_do_not_hide_a_room(tree: ast.Module) -> None:
    assert [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level] == []


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import torch.nn as nn", {"torch.nn"}),
        ("from main import app", {"main"}),
        ("def f():\n    import sqlite3", {"sqlite3"}),
        ("importlib.import_module('peft')", {"peft"}),
        ("from . import sibling", set()),
    ],
)
def test_the_scan_sees_every_way_to_import(code: str, names: set[str]) -> None:
    assert set(imported(ast.parse(code))) == names
