import pytest

from sandbox.process import ProcessSandbox


@pytest.fixture(scope="session")
def sandbox() -> ProcessSandbox:
    """One for the whole suite: its canaries run once, at the first job."""
    return ProcessSandbox(workers=2)
