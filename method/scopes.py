"""Which binding each name in a syntax tree means: Python's scope rules, for renaming.

Covers functions, lambdas, comprehensions, classes, `global`, `nonlocal`, walrus, `except ... as` and `match`.
Invariant: the places come in one fixed order that depends on the tree's structure alone, not on its names. Not
covered: name mangling (`__x` in classes) and names that are made at run time.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True, slots=True)
class Binding:
    """One variable: its name within one scope."""

    name: str
    scope: int
    """Number of the scope that owns it."""
    is_global: bool
    fixed: bool
    """Whether it must keep its name: an import, an attribute of a class, or a parameter that is passed by keyword."""


@dataclass(frozen=True, slots=True)
class Place:
    """One spot where a name is written."""

    node: ast.AST
    attribute: str
    index: int | None
    """Position in the attribute's list (`global a, b`); None when the attribute is the name itself."""
    name: str
    binding: Binding | None
    """None for a name that the module does not bind: a builtin or an error."""

    def rename(self, name: str) -> None:
        """Write `name` at this spot."""
        if self.index is None:
            setattr(self.node, self.attribute, name)
        else:
            getattr(self.node, self.attribute)[self.index] = name


@dataclass(slots=True)
class _Scope:
    number: int
    kind: str
    parent: "_Scope | None"
    bound: set[str] = field(default_factory=set[str])
    fixed: set[str] = field(default_factory=set[str])
    globals: set[str] = field(default_factory=set[str])
    nonlocals: set[str] = field(default_factory=set[str])

    def binding(self, name: str) -> Binding | None:
        if name in self.globals:
            return self._root()._own(name)
        if name in self.bound and name not in self.nonlocals:
            return self._own(name)
        scope = self.parent
        while scope is not None:
            # A class's names are not seen from the functions in it.
            if scope.kind != "class" and name in scope.bound - scope.nonlocals - scope.globals:
                return scope._own(name)
            if name in scope.globals:
                return self._root()._own(name)
            scope = scope.parent
        return None

    def _own(self, name: str) -> Binding | None:
        if name not in self.bound and name not in self.fixed and self.kind != "module":
            return None
        fixed = self.kind == "class" or name in self.fixed
        return Binding(name, self.number, self.kind == "module", fixed)

    def _root(self) -> "_Scope":
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope


def resolve(tree: ast.Module) -> tuple[Place, ...]:
    """Return every place of `tree` at which a variable's name is written, with the variable that it means."""
    keywords = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg is not None}
    resolver = _Resolver(keywords)
    resolver.enter("module", (), tree.body)
    return tuple(resolver.places)


class _Resolver:
    def __init__(self, keywords: set[str]) -> None:
        self.places: list[Place] = []
        self._keywords = keywords
        self._scopes = 0
        self._scope: _Scope | None = None

    def enter(self, kind: str, parameters: Sequence[ast.arg], inside: Sequence[ast.AST]) -> None:
        """Visit the nodes `inside` a new scope."""
        scope = _Scope(self._scopes, kind, self._scope)
        self._scopes += 1
        scope.bound = {parameter.arg for parameter in parameters}
        scope.fixed = scope.bound & self._keywords
        for node in inside:
            _collect(node, scope)
        outer, self._scope = self._scope, scope
        for parameter in parameters:
            self._place(parameter, "arg")
        for node in inside:
            self.visit(node)
        self._scope = outer

    def visit(self, node: ast.AST) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node)
            case ast.Lambda():
                self._defaults(node.args)
                self.enter("function", _parameters(node.args), [node.body])
            case ast.ClassDef():
                self._place(node, "name")
                self._visit_all([*node.decorator_list, *node.bases, *node.keywords])
                self.enter("class", (), node.body)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._comprehension(node)
            case _:
                self._leaf(node)
                self._visit_all(ast.iter_child_nodes(node))

    def _visit_all(self, nodes: Sequence[ast.AST] | Iterator[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _leaf(self, node: ast.AST) -> None:
        match node:
            case ast.Name():
                self._place(node, "id")
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar():
                self._place(node, "name")
            case ast.MatchMapping():
                self._place(node, "rest")
            case ast.Global() | ast.Nonlocal():
                for index, name in enumerate(node.names):
                    self._record(node, "names", index, name)
            case _:
                pass

    def _place(self, node: ast.AST, attribute: str) -> None:
        name: str | None = getattr(node, attribute)
        if name is not None:
            self._record(node, attribute, None, name)

    def _record(self, node: ast.AST, attribute: str, index: int | None, name: str) -> None:
        binding = self._scope.binding(name) if self._scope else None
        self.places.append(Place(node, attribute, index, name, binding))

    def _function(self, node: _Function) -> None:
        self._place(node, "name")
        self._visit_all(node.decorator_list)
        self._defaults(node.args)
        annotations = [parameter.annotation for parameter in _parameters(node.args)]
        self._visit_all([annotation for annotation in [*annotations, node.returns] if annotation is not None])
        self.enter("function", _parameters(node.args), node.body)

    def _defaults(self, arguments: ast.arguments) -> None:
        self._visit_all([*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)])

    def _comprehension(self, node: _Comprehension) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self.enter("comprehension", (), [first.target, *first.ifs, *others, *results])


def _parameters(arguments: ast.arguments) -> list[ast.arg]:
    optional = [arguments.vararg, arguments.kwarg]
    plain = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [*plain, *(parameter for parameter in optional if parameter is not None)]


def _collect(node: ast.AST, scope: _Scope) -> None:
    """Add to `scope` what `node` binds in it, without what it binds in scopes of its own."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            scope.bound.add(node.name)
            return
        case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            scope.bound.update(_walrus_targets(node) if scope.kind != "comprehension" else ())
            return
        case ast.NamedExpr() if scope.kind == "comprehension":
            _collect(node.value, scope)
            return
        case _:
            _collect_leaf(node, scope)
    for child in ast.iter_child_nodes(node):
        _collect(child, scope)


def _collect_leaf(node: ast.AST, scope: _Scope) -> None:
    match node:
        case ast.Name(ctx=ast.Store() | ast.Del()):
            scope.bound.add(node.id)
        case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() if node.name is not None:
            scope.bound.add(node.name)
        case ast.MatchMapping() if node.rest is not None:
            scope.bound.add(node.rest)
        case ast.alias():
            name = (node.asname or node.name).partition(".")[0]
            scope.bound.add(name)
            scope.fixed.add(name)
        case ast.Global():
            scope.globals.update(node.names)
        case ast.Nonlocal():
            scope.nonlocals.update(node.names)
        case _:
            pass


def _walrus_targets(node: ast.AST) -> set[str]:
    """Return what walrus expressions in a comprehension bind in the function around it."""
    if isinstance(node, ast.Lambda):
        return set()
    inner = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.Lambda)]
    found = {node.target.id} if isinstance(node, ast.NamedExpr) else set[str]()
    return found.union(*map(_walrus_targets, inner))
