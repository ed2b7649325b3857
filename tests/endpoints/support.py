"""What the tests of this room share."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio

from endpoints.attempts import Seat
from endpoints.client import Endpoint, fixed
from endpoints.fake import FakeServer
from endpoints.pool import RolePool
from protocols.ports import ChatRequest
from protocols.records import Message, PolicyVersion

SECONDS = 600.0
"""Virtual or real, after which a test has hung."""


def asking(text: str = "hello", **fields: Any) -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", content=text),), **fields)


def endpoint_of(server: FakeServer, name: str = "local", **fields: Any) -> Endpoint:
    return Endpoint(name=name, url=server.url, **fields)


@asynccontextmanager
async def judge_on(*servers: FakeServer, **fields: Any) -> AsyncGenerator[RolePool]:
    endpoints = [endpoint_of(server, f"judge-{i}", **fields) for i, server in enumerate(servers)]
    try:
        with trio.fail_after(SECONDS):
            yield RolePool("judge", [Seat(endpoint, fixed("model")) for endpoint in endpoints], random=Random(0))
    finally:
        for endpoint in endpoints:
            with trio.CancelScope(shield=True):
                await endpoint.aclose()


def version(number: int) -> PolicyVersion:
    name = "base" if number == 0 else f"v{number:04d}-abc"
    return PolicyVersion(
        id=f"version-{number}",
        number=number,
        name=name,
        parent=None if number == 0 else number - 1,
        state="base" if number == 0 else "promoted",
        reason="",
        adapter=None if number == 0 else f"adapters/{name}",
        merged=None if number == 0 else f"merged/{name}",
        batch_id=None,
        content_hash=None,
        probes=(),
        canary=None,
    )
