import ast
import inspect
import textwrap
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from method import decision, overlap, scopes
from method.normal_form import group_equal, normal_form, shape


def source(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


PLAIN = source("""
    def total(numbers, start=0):
        result = start
        for number in numbers:
            result += number
        return result
""")
RENAMED = source('''
    def total( xs , s = 0 ):  # adds
        """Return the sum."""
        acc = s
        for x in xs :
            acc += x

        return (acc)
''')


def test_formatting_comments_docstrings_and_local_names_do_not_matter() -> None:
    assert normal_form(PLAIN) == normal_form(RENAMED)


def test_locals_are_numbered_in_order_of_first_use() -> None:
    assert normal_form("def add(b, a):\n    c = a + b\n    return c") == (
        "def add(v0, v1):\n    v2 = v1 + v0\n    return v2"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [("+=", "-="), ("start=0", "start=1"), ("in numbers", "in reversed(numbers)"), ("def total", "def sum_up")],
)
def test_another_operator_constant_call_or_entry_point_is_another_form(old: str, new: str) -> None:
    assert normal_form(PLAIN) != normal_form(PLAIN.replace(old, new))


def test_swapped_parameters_are_another_form() -> None:
    assert normal_form("def f(a, b): return a - b") != normal_form("def f(b, a): return a - b")


@pytest.mark.parametrize(
    ("code", "form"),
    [
        ("def f(a): return g(key=a).key", "def f(v0):\n    return g(key=v0).key"),
        ("def f(v0, a): return v0 + v1 + a", "def f(v0, v2):\n    return v0 + v1 + v2"),
        ("def f(xs): return [x for x in xs]", "def f(v0):\n    return [v1 for v1 in v0]"),
        ("def f(x): return [x for x in x]", "def f(v0):\n    return [v1 for v1 in v0]"),
        ("def f(a):\n    global b\n    b = a", "def f(v0):\n    global b\n    b = v0"),
        (
            "def f(a):\n    import math as m\n    return m.pi * a",
            "def f(v0):\n    import math as m\n    return m.pi * v0",
        ),
        ("def f(a):\n    return (lambda b: a + b)(1)", "def f(v0):\n    return (lambda v1: v0 + v1)(1)"),
        ("class C:\n    x = 1\n    def m(self): return x", "class C:\n    x = 1\n\n    def m(v0):\n        return x"),
        (
            "def f(x):\n    class C:\n        x = 1\n\n        def m(self):\n            return x\n    return C",
            "def f(v0):\n\n    class v1:\n        x = 1\n\n        def m(v2):\n            return v0\n    return v1",
        ),
        (
            "def f(a):\n    n = 0\n    def g():\n        nonlocal n\n        n += a\n    g()\n    return n",
            "def f(v0):\n    v1 = 0\n\n    def v2():\n        nonlocal v1\n        v1 += v0\n    v2()\n    return v1",
        ),
        (
            "def f(a):\n    try:\n        pass\n    except E as e:\n        print(e)",
            "def f(v0):\n    try:\n        pass\n    except E as v1:\n        print(v1)",
        ),
        (
            "def f(a):\n    match a:\n        case [b, *c]:\n            return b\n"
            "        case {'k': d, **e}:\n            return d",
            "def f(v0):\n    match v0:\n        case [v1, *v2]:\n            return v1\n"
            "        case {'k': v4, **v3}:\n            return v4",
        ),
        ("def f(a):\n    if any((b := x) for x in a):\n        return b", None),
    ],
)
def test_names_follow_the_rules_of_scope(code: str, form: str | None) -> None:
    expected = form or "def f(v0):\n    if any(((v2 := v1) for v1 in v0)):\n        return v2"
    assert normal_form(code) == expected


def test_parameters_that_are_passed_by_keyword_keep_their_names() -> None:
    one = "def h(a, b): return a - b\ndef f(): return h(a=1, b=2)"
    other = "def h(b, a): return b - a\ndef f(): return h(a=1, b=2)"
    assert normal_form(one) != normal_form(other)


def test_code_that_reads_its_own_names_keeps_them() -> None:
    assert normal_form("def f(a): return locals()") != normal_form("def f(b): return locals()")


def test_a_body_that_was_only_a_docstring_stays_valid() -> None:
    assert normal_form('def f():\n    """Nothing."""') == normal_form("def f():\n    pass")


def test_code_that_does_not_parse_is_compared_by_its_words() -> None:
    assert normal_form("def  f(:\n  x") == normal_form("def f(:  x") != normal_form("def f(: y")


def test_code_that_does_not_parse_never_equals_code_that_does() -> None:
    assert normal_form("  x = 1\n y = 2") != normal_form("x = 1")
    assert normal_form("  x = 1") != normal_form("x = 1")


@pytest.mark.parametrize(
    "odd", ["", "\0", "x = '\ud800'", "-" * 20000 + "1", "(" * 3000, "x = 0x" + "f" * 9000, "# only a comment"]
)
def test_odd_code_has_a_form_too(odd: str) -> None:
    assert normal_form(normal_form(odd)) == normal_form(odd)
    assert shape(shape(odd)) == shape(odd)


def test_the_shape_forgets_the_names_of_the_modules_own_functions_and_variables() -> None:
    one = "LIMIT = 3\ndef clip(a): return min(a, LIMIT)\nprint(clip(5))"
    other = "TOP = 3\ndef cut(value): return min(value, TOP)\nprint(cut(5))"
    assert shape(one) == shape(other)
    assert normal_form(one) != normal_form(other)


@pytest.mark.parametrize(("old", "new"), [("3", "4"), ("min", "max"), (".strip", ".lstrip"), ("math", "cmath")])
def test_the_shape_keeps_constants_builtins_attributes_and_imports(old: str, new: str) -> None:
    code = "import math\ndef f(a): return min(math.sqrt(3), a.strip())"
    assert shape(code) != shape(code.replace(old, new))


def test_equal_candidates_are_grouped_in_order_of_first_occurrence() -> None:
    codes = [
        "def f(a): return a",
        None,
        "def f(b):\n    return b",
        "def f(a): return -a",
        None,
        "def f(: a",
        "def f(:  a",
    ]
    assert group_equal(codes) == ((0, 2), (1, 4), (3,), (5, 6))


def test_nothing_groups_into_nothing() -> None:
    assert group_equal([]) == ()


@pytest.mark.parametrize("module", [scopes, decision, overlap, textwrap, ast])
def test_real_modules_have_idempotent_forms_that_compile(module: ModuleType) -> None:
    for form_of in (normal_form, shape):
        form = form_of(inspect.getsource(module))
        assert form_of(form) == form
        compile(form, module.__name__, "exec")


NAMES = ("alpha", "beta", "gamma", "delta")


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0:
        return draw(st.sampled_from([*NAMES[:2], "1", "2", "G"]))
    left, right = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    template = draw(
        st.sampled_from(
            [
                "({l} + {r})",
                "({l} - {r})",
                "sum([{l} for gamma in range(3)])",
                "(lambda beta: {l})({r})",
                "max({l}, {r})",
                "(delta := {l}) * {r}",
                "{l}",
            ]
        )
    )
    return template.format(l=left, r=right)


@st.composite
def functions(draw: st.DrawFn) -> str:
    lines = ["def f(alpha, beta):", "    gamma = delta = 0"]
    for _ in range(draw(st.integers(0, 3))):
        target = draw(st.sampled_from(NAMES))
        body = draw(expressions())
        lines += draw(
            st.sampled_from(
                [
                    [f"    {target} = {body}"],
                    [f"    if {body}:", f"        {target} = {body}"],
                    [f"    for {target} in range(2):", f"        gamma += {body}"],
                    ["    def inner(beta):", "        nonlocal gamma", f"        gamma = {body}", "    inner(3)"],
                ]
            )
        )
    return "\n".join(["G = 7", *lines, f"    return {draw(expressions())}"])


def run(code: str) -> object:
    scope: dict[str, object] = {}
    exec(code, scope)  # generated above from a closed set of expressions
    try:
        return scope["f"](2, 3)  # pyright: ignore[reportCallIssue, reportUnknownVariableType]
    except Exception as error:
        return type(error)


def renamed(code: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        code = code.replace(old, new)
    return code


@given(functions())
def test_the_form_is_idempotent(code: str) -> None:
    assert normal_form(normal_form(code)) == normal_form(code)
    assert shape(shape(code)) == shape(code)


@given(functions(), st.permutations(["zeta", "v0", "v1", "eta"]))
def test_the_form_does_not_change_with_the_names_of_locals(code: str, new: list[str]) -> None:
    assert normal_form(renamed(code, dict(zip(NAMES, new, strict=True)))) == normal_form(code)


@given(functions())
def test_the_form_behaves_like_the_code(code: str) -> None:
    assert run(normal_form(code)) == run(code)


@given(functions(), st.sampled_from([("+", "-"), ("1", "9"), ("max", "min"), ("G = 7", "G = 8")]))
def test_the_form_changes_with_operators_constants_and_calls(code: str, change: tuple[str, str]) -> None:
    changed = code.replace(*change)
    assert (normal_form(changed) == normal_form(code)) == (changed == code)


@given(st.lists(st.one_of(st.none(), st.sampled_from(["x = 1", "x=1", "x = 2", "x =", " x"])), max_size=8))
def test_groups_partition_the_indices(codes: list[str | None]) -> None:
    groups = group_equal(codes)
    assert sorted(index for group in groups for index in group) == list(range(len(codes)))
    assert [group[0] for group in groups] == sorted(group[0] for group in groups)


@settings(max_examples=200)
@given(st.text(alphabet=st.sampled_from("xy=1+() \n:'\"def#!"), max_size=40))
def test_any_text_has_an_idempotent_form(text: str) -> None:
    assert normal_form(normal_form(text)) == normal_form(text)
