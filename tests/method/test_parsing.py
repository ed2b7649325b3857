"""Parsing what small models write: it neither raises nor warns."""

import warnings

import pytest

from method.parsing import error_line, parse

SUSPICIOUS = ["x = 1or 2\n", 'pattern = "\\d"\n', "x = 1\nassert (x, 'always true')\n", "x is 1\n"]


@pytest.mark.parametrize("code", SUSPICIOUS)
def test_code_that_makes_python_warn_parses_without_a_word(code: str) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert parse(code) is not None
        assert error_line(code) is None
    assert said == []


@pytest.mark.parametrize("code", SUSPICIOUS[:2])
def test_warnings_that_are_made_errors_do_not_hide_the_code(code: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse(code) is not None
