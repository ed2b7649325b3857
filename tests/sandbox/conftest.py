import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from sandbox.process import ProcessSandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[ProcessSandbox]:
    """One for the whole suite: its canaries run once, at the first job, and its slots stay warm."""
    sandbox = ProcessSandbox(workers=2)
    yield sandbox
    trio.run(sandbox.aclose)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that every user can get to.

    Not below pytest's own: each pytest that starts closes that to others, also while this one is running.
    """
    with tempfile.TemporaryDirectory(prefix="sandbox-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
