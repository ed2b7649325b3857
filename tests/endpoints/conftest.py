from collections.abc import Awaitable, Callable
from typing import Any

import openai._base_client
import pytest
from trio.testing import MockClock


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """Jumps over waits, but not while bytes are still on their way over the loopback.

    A thread would look like idleness to it; `openai` asks one for the platform's name, once for each client.
    """
    monkeypatch.setattr(openai._base_client, "asyncify", _at_once)
    return MockClock(autojump_threshold=0.03)


def _at_once(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call
