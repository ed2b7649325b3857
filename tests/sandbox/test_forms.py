"""Test code in other people's forms, taken apart into tests that can be judged outside."""

import pytest

from sandbox.check_form import asserts_of_check
from sandbox.judging import call_form
from sandbox.unittest_form import methods_of_unittest

CHECK = """
METADATA = {}

def check(candidate):
    assert candidate(1) == 2
    assert True, 'always'
    assert 3 in candidate(2)
"""
CASE = "import unittest\n\nclass TestF(unittest.TestCase):\n"


class TestCheck:
    def test_each_assert_becomes_one_on_the_entry_point(self):
        assert asserts_of_check(CHECK, "f") == ("assert f(1) == 2", "assert 3 in f(2)")

    def test_the_entry_point_may_be_named_by_the_call_alone(self):
        assert asserts_of_check(CHECK + "check(g)", None) == ("assert g(1) == 2", "assert 3 in g(2)")
        assert asserts_of_check(CHECK, None) is None

    def test_a_whole_check_is_judged_outside_like_its_asserts(self):
        form = call_form(CHECK + "check(f)", "f")
        assert form is not None
        assert form.calls == ("f(1)", "f(2)")

    @pytest.mark.parametrize(
        "code",
        [
            "def check(candidate):\n    for i in range(3):\n        assert candidate(i) == i",
            "def check(candidate):\n    x = candidate(1)\n    assert x == 1",
            "def check(candidate):\n    assert [candidate for candidate in (1, 2)] == candidate(1)",
            "def check(candidate):\n    assert candidate(lambda candidate: 1) == 1",
            "def check(candidate, more=1):\n    assert candidate(1) == more",
            "def helper(x):\n    return x\n\ndef check(candidate):\n    assert candidate(1) == helper(1)",
            "LIMIT = 3\n\ndef check(candidate):\n    assert candidate(1) == LIMIT",
            "def check(candidate):\n    assert True",
            "def check(candidate):\n    pass",
            "def other(candidate):\n    assert candidate(1) == 1",
            "def check(candidate:",
            "(" * 500,
        ],
    )
    def test_a_check_that_does_more_stays_whole(self, code: str):
        assert asserts_of_check(code, "f") is None

    def test_an_assert_that_never_holds_stays(self):
        assert asserts_of_check("def check(candidate):\n    assert False", "f") == ("assert False",)


class TestUnittest:
    @pytest.mark.parametrize(
        ("assertion", "plain"),
        [
            ("self.assertEqual(f(1), 2)", "(f(1)) == (2)"),
            ("self.assertEqual(f(1), 2, 'message')", "(f(1)) == (2)"),
            ("self.assertEqual(f(1), 2, msg='message')", "(f(1)) == (2)"),
            ("self.assertNotEqual(f(1), 2)", "(f(1)) != (2)"),
            ("self.assertTrue(f(1))", "(f(1))"),
            ("self.assertFalse(f(1))", "not (f(1))"),
            ("self.assertIsNone(f(1))", "(f(1)) is None"),
            ("self.assertIn(f(1), [1, 2])", "(f(1)) in ([1, 2])"),
            ("self.assertLess(f(1), 2)", "(f(1)) < (2)"),
            ("self.assertIsInstance(f(1), int)", "isinstance((f(1)), (int))"),
            ("self.assertAlmostEqual(f(1), 0.5)", "round(abs((f(1)) - (0.5)), 7) == 0"),
            ("self.assertAlmostEqual(f(1), 0.5, 2)", "round(abs((f(1)) - (0.5)), (2)) == 0"),
            ("self.assertAlmostEqual(f(1), 0.5, places=2)", "round(abs((f(1)) - (0.5)), 2) == 0"),
            ("self.assertAlmostEqual(f(1), 0.5, delta=0.1)", "abs((f(1)) - (0.5)) <= (0.1)"),
        ],
    )
    def test_a_simple_assertion_becomes_an_assert(self, assertion: str, plain: str):
        code = f"{CASE}    def test_it(self):\n        '''Say what.'''\n        {assertion}\n"
        assert methods_of_unittest(code, "f") == (f"assert {plain}",)

    @pytest.mark.parametrize(
        "body",
        [
            "    def test_it(self):\n        x = f(1)\n        self.assertEqual(x, 2)\n",
            "    def test_it(self):\n        with self.assertRaises(ValueError):\n            f(1)\n",
            "    def test_it(self):\n        self.assertEqual(f(1), self.wanted)\n",
            "    def test_it(self):\n        self.assertEqual(f(1), helper(1))\n",
            "    def test_it(self):\n        self.assertCountEqual(f(1), [1])\n",
            "    def test_it(self):\n        self.assertEqual(f(1), 2, second=3)\n",
            "    def setUp(self):\n        self.x = 1\n\n    def test_it(self):\n        self.assertEqual(f(1), 2)\n",
        ],
    )
    def test_any_other_method_is_run_as_code(self, body: str):
        (test,) = methods_of_unittest(CASE + body, "f")
        assert "TestF('test_it').debug()" in test
        assert call_form(test, "f") is None

    def test_there_is_one_test_per_method_in_the_order_of_unittest(self):
        methods = "".join(f"    def test_{name}(self):\n        self.assertEqual(f({name!r}), 1)\n" for name in "cab")
        assert [test[11] for test in methods_of_unittest(CASE + methods, "f")] == ["a", "b", "c"]

    def test_inherited_methods_are_tests_of_each_class(self):
        code = CASE + "    def test_it(self):\n        self.assertEqual(f(1), 2)\n\nclass More(TestF):\n    pass\n"
        assert methods_of_unittest(code, "f") == ("assert (f(1)) == (2)",) * 2

    def test_skipped_methods_and_helpers_are_no_tests(self):
        code = (
            CASE + "    @unittest.skip('later')\n    def test_it(self):\n        self.assertEqual(f(1), 2)\n"
            "    def helper(self):\n        pass\n"
        )
        assert methods_of_unittest(code, "f") == ()

    def test_starting_the_tests_is_left_out(self):
        body = "    def test_it(self):\n        f(1)\n"
        (test,) = methods_of_unittest(
            f"{CASE}{body}if __name__ == '__main__':\n    unittest.main()\nunittest.main()", "f"
        )
        assert "unittest.main" not in test
