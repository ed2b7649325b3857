import importlib

import pytest

from benchmarks.__main__ import known_benchmarks, main


@pytest.mark.parametrize("name", known_benchmarks())
def test_whatever_is_listed_as_a_benchmark_can_be_run(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").main)


def test_a_name_that_is_not_there_is_told_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "no benchmark is called trian; there are: endurance, learn, sandbox" in capsys.readouterr().err
