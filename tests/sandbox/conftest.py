from collections.abc import Iterator

import pytest
import trio

from sandbox.process import ProcessSandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[ProcessSandbox]:
    """One for the whole suite: its canaries run once, at the first job, and its slots stay warm."""
    sandbox = ProcessSandbox(workers=2)
    yield sandbox
    trio.run(sandbox.aclose)
