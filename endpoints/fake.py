"""A fake OpenAI-compatible server with vLLM's additions, on a loopback port, inside the test's own Trio run.

It keeps the rules that matter here as the real one does: an unknown model is 404, several greedy choices are 400, an
adapter name is loaded once, a paused engine answers nobody, reloaded weights change the answers. It tells what it was
asked, and it notices an answer that began under one set of weights and ended under another (`torn`). Scripted replies
go before the rules. Not covered: streaming, authentication, sampling.
"""

import hashlib
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h11
import msgspec
import trio

BASE = "base"
"""What `FakeServer.weights` is until weights are reloaded."""
_CHUNK = 65536
_DEVELOPMENT = {
    *("/pause", "/resume", "/collective_rpc", "/reset_prefix_cache", "/update_weight_version"),
    *("/weight_info", "/sleep", "/wake_up"),
}
"""Paths that there are with `VLLM_SERVER_DEV_MODE=1` alone."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """How one request is answered, instead of by the rules."""

    texts: tuple[str, ...] = ()
    """Of the choices, over and over; empty leaves them to the rules."""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    """The whole body, as it is."""
    delay_s: float = 0.0
    hang: bool = False
    """Never answer."""
    drop: bool = False
    """Close the connection instead of answering."""


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came."""

    path: str
    """With its query."""
    headers: dict[str, str]
    body: Any


Responder = Callable[[Received], Reply | None]


class FakeServer:
    """The fake and what it has seen.

    Args:
        model: name of the base model.
        latency_s: of every chat completion that is not scripted.
        respond: decides how a request is answered; None from it leaves it to the rules.
    """

    def __init__(self, *, model: str = "model", latency_s: float = 0.0, respond: Responder | None = None) -> None:
        self.model = model
        self.latency_s = latency_s
        self.respond = respond
        self.port = 0
        self.requests: list[Received] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.connections = 0
        self.weights = BASE
        self.weight_version = "default"
        self.adapters: dict[str, str] = {}
        self.paused = False
        self.asleep = False
        self.development = True
        """Whether it was started with `VLLM_SERVER_DEV_MODE=1`."""
        self.torn = 0
        self.healthy = True
        self._script: dict[str, deque[Reply]] = defaultdict(deque)
        self._changed = trio.Event()

    @property
    def url(self) -> str:
        """Base URL, which ends in /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, path: str, *replies: Reply) -> None:
        """Answer the next requests to `path` (without query, as `/v1/chat/completions`) by `replies`, one each."""
        self._script[path].extend(replies)

    def asked(self, path: str) -> list[Received]:
        """Return the requests to `path` (without query) so far."""
        return [request for request in self.requests if request.path.partition("?")[0] == path]

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._one(stream, connection):
                connection.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _one(self, stream: trio.SocketStream, connection: h11.Connection) -> bool:
        """Answer one request; whether the connection stays open."""
        request = await _receive(stream, connection)
        if request is None:
            return False
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = await self._cancelled_by_client(stream, request)
        finally:
            self.in_flight -= 1
        if answer is None:
            return False
        await _send(stream, connection, *answer)
        return connection.our_state is not h11.MUST_CLOSE

    async def _cancelled_by_client(self, stream: trio.SocketStream, request: Received) -> "_Answer | None":
        """Work on the request as long as the client stays; None when it left or is to be dropped."""
        answer: _Answer | None = None

        async def watch(scope: trio.CancelScope) -> None:
            await stream.receive_some(1)
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
            answer = await self._answer(request)
            nursery.cancel_scope.cancel()
        return answer

    async def _answer(self, request: Received) -> "_Answer | None":
        path = request.path.partition("?")[0]
        reply = self._script[path].popleft() if self._script[path] else None
        if reply is None and self.respond is not None:
            reply = self.respond(request)
        reply = reply or Reply(delay_s=self.latency_s if path == "/v1/chat/completions" else 0.0)
        if reply.hang:
            await trio.sleep_forever()
        if reply.drop:
            return None
        if reply.status != 200 or reply.body is not None:
            await trio.sleep(reply.delay_s)
            body = reply.body if reply.body is not None else _error(f"scripted {reply.status}")
            return reply.status, reply.headers, body
        status, value = await self._by_the_rules(path, request, reply)
        return status, reply.headers, value if isinstance(value, bytes) else msgspec.json.encode(value)

    async def _by_the_rules(self, path: str, request: Received, reply: Reply) -> tuple[int, Any]:
        if path in ("/v1/chat/completions", "/v1/completions"):
            return await self._generate(path, request.body, reply)
        await trio.sleep(reply.delay_s)
        handler = self._handlers().get(path)
        if handler is None or (path in _DEVELOPMENT and not self.development):
            return 404, _error(f"no such path: {path}")
        return handler(request)

    def _handlers(self) -> dict[str, Callable[[Received], tuple[int, Any]]]:
        return {
            "/health": lambda _: (200 if self.healthy else 503, b""),
            "/v1/models": lambda _: (200, {"data": [{"id": name} for name in (self.model, *self.adapters)]}),
            "/v1/load_lora_adapter": self._load_adapter,
            "/v1/unload_lora_adapter": self._unload_adapter,
            "/pause": partial(self._pause, True),
            "/resume": partial(self._pause, False),
            "/collective_rpc": self._collective_rpc,
            "/reset_prefix_cache": lambda _: (200, {"success": True}),
            "/update_weight_version": self._update_weight_version,
            "/weight_info": lambda _: (200, {"weight_version": self.weight_version}),
            "/sleep": partial(self._sleep, True),
            "/wake_up": partial(self._sleep, False),
        }

    async def _generate(self, path: str, body: dict[str, Any], reply: Reply) -> tuple[int, Any]:
        if self.asleep:
            return 500, _error("the engine is asleep")
        while self.paused:
            await self._changed.wait()
        model = body["model"]
        if model != self.model and model not in self.adapters:
            return 404, _error(f"The model `{model}` does not exist.")
        if body.get("n", 1) > 1 and body["temperature"] == 0:
            return 400, _error("n must be 1 when using greedy sampling")
        weights = self._weights_of(model)
        await trio.sleep(reply.delay_s)
        self.torn += self._weights_of(model) != weights
        if path == "/v1/completions":
            return 200, self._completion(body, weights)
        return 200, self._chat(body, weights, reply.texts)

    def _weights_of(self, model: str) -> str:
        return self.adapters.get(model, self.weights)

    def _chat(self, body: dict[str, Any], weights: str, texts: tuple[str, ...]) -> dict[str, Any]:
        texts = texts or (f"answer of {weights}",)
        count = body.get("n", 1)
        choices = [
            {"index": i, "message": {"role": "assistant", "content": texts[i % len(texts)]}, "finish_reason": "stop"}
            for i in range(count)
        ]
        prompt = sum(len(message["content"].split()) for message in body["messages"])
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": sum(len(texts[i % len(texts)].split()) for i in range(count)),
        }
        return {"id": "fake", "model": body["model"], "choices": choices, "usage": usage}

    def _completion(self, body: dict[str, Any], weights: str) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "text": "",
                "finish_reason": "length",
                "prompt_logprobs": [
                    None
                    if i == 0
                    else {str(token): {"logprob": log_probability(weights, prompt[:i], token), "rank": 1}}
                    for i, token in enumerate(prompt)
                ],
            }
            for index, prompt in enumerate(body["prompt"])
        ]
        return {"id": "fake", "model": body["model"], "choices": choices}

    def _load_adapter(self, request: Received) -> tuple[int, Any]:
        name = request.body["lora_name"]
        if name in self.adapters:
            return 400, _error(f"The lora adapter '{name}' has already been loaded.")
        self.adapters[name] = request.body["lora_path"]
        return 200, b"Success"

    def _unload_adapter(self, request: Received) -> tuple[int, Any]:
        if self.adapters.pop(request.body["lora_name"], None) is None:
            return 404, _error("The lora adapter cannot be found.")
        return 200, b"Success"

    def _pause(self, paused: bool, _: Received) -> tuple[int, Any]:
        self.paused = paused
        self._changed.set()
        self._changed = trio.Event()
        return 200, {"status": "paused" if paused else "resumed"}

    def _sleep(self, asleep: bool, _: Received) -> tuple[int, Any]:
        self.asleep = asleep
        return 200, {"status": "sleeping" if asleep else "awake"}

    def _collective_rpc(self, request: Received) -> tuple[int, Any]:
        if request.body["method"] == "reload_weights":
            self.weights = request.body["kwargs"]["weights_path"]
        return 200, {"results": [None]}

    def _update_weight_version(self, request: Received) -> tuple[int, Any]:
        self.weight_version = request.body["new_version"]
        return 200, {"success": True, "new_version": self.weight_version}


_Answer = tuple[int, tuple[tuple[str, str], ...], bytes]


def log_probability(weights: str, before: list[int], token: int) -> float:
    """Return what the fake says of `token` after `before`: between -5 and 0, fixed, and other for other weights."""
    digest = hashlib.sha256(f"{weights} {before} {token}".encode()).digest()
    return -5.0 * digest[0] / 255


@asynccontextmanager
async def open_fake_server(
    *, model: str = "model", latency_s: float = 0.0, respond: Responder | None = None, port: int = 0
) -> AsyncGenerator[FakeServer]:
    """Run a fake server while the block lasts.

    Args:
        model: as `FakeServer`.
        latency_s: as `FakeServer`.
        respond: as `FakeServer`.
        port: on 127.0.0.1; 0 takes a free one.
    """
    server = FakeServer(model=model, latency_s=latency_s, respond=respond)
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    server.port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, server.serve, listeners)
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()


async def _receive(stream: trio.SocketStream, connection: h11.Connection) -> Received | None:
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_CHUNK))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Received(
                path=head.target.decode(), headers=headers, body=msgspec.json.decode(body) if body else None
            )
        else:
            return None


async def _send(
    stream: trio.SocketStream,
    connection: h11.Connection,
    status: int,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
) -> None:
    fields = [("content-type", "application/json"), ("content-length", str(len(body))), *headers]
    for event in (h11.Response(status_code=status, headers=fields), h11.Data(data=body), h11.EndOfMessage()):
        data = connection.send(event)
        if data:
            await stream.send_all(data)


def _error(message: str) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": "fake"}})
