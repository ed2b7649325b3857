"""Packages that settings name can be imported; others cannot."""

import importlib.util
import sys
from pathlib import Path

import pytest

from protocols.errors import SandboxUnavailable, SettingsError
from protocols.settings import parse_settings
from sandbox.packages import find_packages
from sandbox.process import ProcessSandbox
from tests.sandbox.making import function_job, outcome_of, passed

needs_numpy = pytest.mark.skipif(importlib.util.find_spec("numpy") is None, reason="numpy is not installed")
SUM = "import numpy\ndef f(x):\n    return int(numpy.arange(x).sum())"


async def test_a_package_is_its_folder_and_its_libraries():
    found = await find_packages(sys.executable, ("pytest", "trio"))
    assert {Path(file).name for file in found.files} >= {"pytest", "trio"}
    assert len(found.path) == 1


async def test_a_package_that_is_not_there_is_named():
    with pytest.raises(SandboxUnavailable, match="no_such_package"):
        await find_packages(sys.executable, ("pytest", "no_such_package"))


@needs_numpy
@pytest.mark.parametrize("preload", [(), ("numpy",)])
async def test_a_named_package_can_be_imported(preload: tuple[str, ...]):
    async with ProcessSandbox(workers=1, packages=("numpy",), preload=preload) as sandbox:
        assert passed(await sandbox.run(function_job(SUM, "assert f(4) == 6"))) == (True,)
        other = await outcome_of(sandbox, function_job("import trio\ndef f(x):\n    return 6", "assert f(4) == 6"))
        assert other.error_class == "import"
        seeded = "import numpy\ndef f(x):\n    return float(numpy.random.random())"
        actual = [(await outcome_of(sandbox, function_job(seeded, "assert f(4) == 6"))).actual for _ in range(2)]
        if preload:
            assert actual[0] == actual[1]


async def test_without_a_name_nothing_but_the_standard_library_is_there(sandbox: ProcessSandbox):
    assert (await outcome_of(sandbox, function_job(SUM, "assert f(4) == 6"))).error_class == "import"


def test_preloading_what_is_not_there_is_refused():
    with pytest.raises(SettingsError, match="preload names numpy"):
        parse_settings({"run": {"name": "x"}, "sandbox": {"preload": ["numpy"]}}, "test")
