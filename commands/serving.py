"""Everything that answers, built from the settings: the managed server or external ones, the policy, judges, critic."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import msgspec
import trio

from endpoints.attempts import Seat
from endpoints.client import Endpoint, fixed
from endpoints.machine import this_machine
from endpoints.model_size import model_size
from endpoints.policy import ServedPolicy
from endpoints.pool import RolePool
from endpoints.server import ManagedServer, check_port, free_port
from endpoints.server_plan import Dtype, ServerWish, Way, choose_device, choose_dtype, choose_way, plan_server
from endpoints.ways import AdapterWay, InPlaceWay, RestartWay
from endpoints.ways import Way as PublishingWay
from protocols.errors import EndpointError, ModelError, SettingsError
from protocols.records import PolicyVersion
from protocols.settings import MANAGED, EndpointSettings, Settings

SERVED_NAME = "policy"
"""Name under which the managed server serves the base model."""


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What a run asks."""

    policy: ServedPolicy
    judges: tuple[RolePool, ...]
    critic: RolePool
    endpoints: tuple[Endpoint, ...]
    managed: Endpoint | None
    """That of the server that the run started itself."""

    async def aclose(self) -> None:
        """Close every connection."""
        for endpoint in self.endpoints:
            await endpoint.aclose()


def is_managed(settings: Settings) -> bool:
    """Whether the run starts a server itself."""
    return any(endpoint.url == MANAGED for endpoint in settings.endpoints)


def chosen_way(settings: Settings) -> Way:
    """Return the way of publishing; on a server that the run does not start itself `auto` is `adapter`."""
    if settings.publish.way == "auto" and settings.train.weights == "full" and is_managed(settings):
        return "restart" if shares_cores(settings) else "in_place"
    device = choose_device(settings.server.device, this_machine())
    return choose_way(settings.publish.way, device if is_managed(settings) else "gpu")


def check_servable(settings: Settings) -> None:
    """Return when vLLM can serve what is to be trained in the way in which it is to be published.

    Raises:
        SettingsError: the adapters would be of a kind that vLLM does not serve, or there would be none.
    """
    if settings.train.weights == "full" and chosen_way(settings) == "adapter":
        raise SettingsError(
            'train.weights = "full" makes whole models, which cannot be published as adapters: set '
            'publish.way = "in_place" (a server that the run does not start itself needs VLLM_SERVER_DEV_MODE=1 for '
            'it), or train.weights = "adapter"'
        )
    if settings.train.weights == "full" and settings.publish.way == "in_place" and shares_cores(settings):
        raise SettingsError(
            'train.weights = "full" cannot be published with publish.way = "in_place" on a CPU: vLLM would keep the '
            'old projection to the vocabulary of models that share it with the embedding. Set publish.way = "restart"'
        )
    if settings.train.colocated and (not is_managed(settings) or shares_cores(settings)):
        raise SettingsError(
            "train.colocated = true needs a managed server on a GPU: only such a one can sleep while a job runs"
        )
    if settings.publish.way == "restart" and not is_managed(settings):
        raise SettingsError(
            'publish.way = "restart" needs a server that the run starts itself (an endpoint with url = "managed"); an '
            "external one is published to in place or by adapters"
        )
    if settings.train.dora and chosen_way(settings) == "adapter":
        chosen = "" if settings.publish.way == "adapter" else f" (what {settings.publish.way!r} comes to here)"
        raise SettingsError(
            f'train.dora = true cannot be published with publish.way = "adapter"{chosen}: vLLM serves no DoRA adapters '
            'as such, only merged. Set publish.way = "in_place", or train.dora = false'
        )


def shares_cores(settings: Settings) -> bool:
    """Whether the managed server computes on the very cores that the trainer needs."""
    return is_managed(settings) and choose_device(settings.server.device, this_machine()) == "cpu"


def chosen_dtype(settings: Settings) -> Dtype:
    """Return the dtype of serving."""
    machine = this_machine()
    return choose_dtype(settings.model.dtype, choose_device(settings.server.device, machine), machine)


def check_managed_port(settings: Settings) -> None:
    """Return when the managed server's port, if one is set, is free.

    Raises:
        PortTaken: it is in use.
    """
    if settings.server.port is not None and is_managed(settings):
        check_port(settings.server.port)


async def open_serving(
    settings: Settings,
    model: str,
    prepare: Callable[[], Awaitable[PolicyVersion]],
    server_log: Path,
    nursery: trio.Nursery,
) -> Serving:
    """Start or reach every endpoint, and serve the version that `prepare` returns.

    Args:
        settings: of the run.
        model: folder or hub name of the base model.
        prepare: done while the server starts, which takes as long.
        server_log: where the managed server's output goes.
        nursery: where the managed server lives.

    Raises:
        UsageError: an endpoint is unreachable or lacks its key, the port is taken, the model does not fit.
        ServerError: the managed server did not become healthy; the text ends with its log's tail.
        PublishError: the current version could not be put on every replica.
    """
    random = Random(settings.run.seed)
    port = settings.server.port or free_port()
    on_cpu = choose_device(settings.server.device, this_machine()) == "cpu"
    endpoints = {wish.name: _endpoint(wish, port, on_cpu) for wish in settings.endpoints}
    try:
        names = {wish.name: await _model_name(wish, endpoints[wish.name]) for wish in settings.endpoints}
        await _check_reloading(settings, endpoints)
        server = _server(settings, model, port, server_log) if is_managed(settings) else None
        current, served = await _start(settings, server, prepare, endpoints, nursery)
        policy = _policy(settings, model, current, endpoints, names, random, server)
        served.append(policy)
        if policy.current.number > 0:
            await policy.restore()
    except BaseException:
        with trio.CancelScope(shield=True):
            for endpoint in endpoints.values():
                await endpoint.aclose()
        raise
    return Serving(
        policy=policy,
        judges=_judges(settings, endpoints, names, random),
        critic=_critic(settings, endpoints, names, random),
        endpoints=tuple(endpoints.values()),
        managed=_managed(settings, endpoints),
    )


async def _start(
    settings: Settings,
    server: ManagedServer | None,
    prepare: Callable[[], Awaitable[PolicyVersion]],
    endpoints: dict[str, Endpoint],
    nursery: trio.Nursery,
) -> tuple[PolicyVersion, list[ServedPolicy]]:
    """Start the managed server, if there is one, while `prepare` is done.

    Returns:
        What `prepare` returned, and a list in which to put the policy that a restarted server is given back.
    """
    managed = _managed(settings, endpoints)
    served: list[ServedPolicy] = []
    prepared: list[PolicyVersion] = []

    async def restore() -> None:
        for policy in served:
            await policy.restore(managed)

    async def prepare_version() -> None:
        prepared.append(await prepare())

    async with trio.open_nursery() as starting:
        starting.start_soon(prepare_version)
        if managed is not None and server is not None:
            await nursery.start(server.serve, managed, restore)
    return prepared[0], served


def _managed(settings: Settings, endpoints: dict[str, Endpoint]) -> Endpoint | None:
    return next((endpoints[wish.name] for wish in settings.endpoints if wish.url == MANAGED), None)


def _judges(
    settings: Settings, endpoints: dict[str, Endpoint], names: dict[str, str], random: Random
) -> tuple[RolePool, ...]:
    return tuple(
        RolePool.of(wish.name, endpoints[wish.name], names[wish.name], random=random)
        for wish in settings.endpoints
        if "judge" in wish.roles
    )


def _critic(settings: Settings, endpoints: dict[str, Endpoint], names: dict[str, str], random: Random) -> RolePool:
    seats = [
        Seat(endpoints[wish.name], fixed(names[wish.name])) for wish in settings.endpoints if "critic" in wish.roles
    ]
    return RolePool("critic", seats, random=random)


def _endpoint(wish: EndpointSettings, port: int, on_cpu: bool) -> Endpoint:
    return Endpoint(
        name=wish.name,
        url=f"http://127.0.0.1:{port}/v1" if wish.url == MANAGED else wish.url,
        key_variable=wish.key_variable,
        connections=wish.connections,
        timeout_s=wish.timeout_s,
        connect_timeout_s=wish.connect_timeout_s,
        tries=wish.tries,
        sends_seeds=wish.url != MANAGED or not on_cpu,
    )


async def _model_name(wish: EndpointSettings, endpoint: Endpoint) -> str:
    """Return the model to ask for; an external endpoint is asked for what it serves, and so proven reachable."""
    if wish.url == MANAGED:
        return SERVED_NAME
    try:
        served = await endpoint.check(timeout_s=wish.connect_timeout_s)
    except EndpointError as error:
        raise SettingsError(f"endpoint {wish.name} cannot be used: {error}") from error
    if wish.model is not None:
        if served and wish.model not in served and wish.key_variable is None:
            raise SettingsError(
                f"endpoint {wish.name} at {wish.url} does not serve model {wish.model!r}; it serves {', '.join(served)}"
            )
        return wish.model
    if not served:
        raise SettingsError(f"endpoint {wish.name} at {wish.url} lists no model; set its model")
    return served[0]


def _policy(
    settings: Settings,
    model: str,
    current: PolicyVersion,
    endpoints: dict[str, Endpoint],
    names: dict[str, str],
    random: Random,
    server: ManagedServer | None,
) -> ServedPolicy:
    replicas = [
        (endpoints[wish.name], _way(settings, model, names[wish.name], server))
        for wish in settings.endpoints
        if "policy" in wish.roles
    ]
    return ServedPolicy(current, replicas, random=random, drain_s=settings.publish.drain_s)


def _way(settings: Settings, model: str, name: str, server: ManagedServer | None) -> PublishingWay:
    way, drain_s = chosen_way(settings), settings.publish.drain_s
    if way == "adapter":
        return AdapterWay(name)
    if way == "restart" and server is not None:
        return RestartWay(name, base_weights=model, drain_s=drain_s, restart=server.restart)
    return InPlaceWay(name, base_weights=model, drain_s=drain_s)


async def _check_reloading(settings: Settings, endpoints: dict[str, Endpoint]) -> None:
    """Return when every external server of the policy can be published to in place, if that is the way."""
    if chosen_way(settings) != "in_place":
        return
    for wish in settings.endpoints:
        if "policy" not in wish.roles or wish.url == MANAGED:
            continue
        if not await endpoints[wish.name].can_reload(timeout_s=wish.connect_timeout_s):
            raise SettingsError(
                f"endpoint {wish.name} at {wish.url} cannot take weights in place, as publish.way and train.weights "
                "want it: start that vLLM with VLLM_SERVER_DEV_MODE=1 in its environment, or publish adapters"
            )


def _server(settings: Settings, model: str, port: int, log: Path) -> ManagedServer:
    machine, wish = this_machine(), settings.server
    device = choose_device(wish.device, machine)
    local = Path(model).is_dir()
    size = model_size(model, chosen_dtype(settings)) if local else None
    if local and size is None:
        raise ModelError(f"model folder {model} holds no weights or no configuration of a decoder-only transformer")
    plan = plan_server(
        ServerWish(
            model=model,
            local=local,
            served_name=SERVED_NAME,
            dtype=chosen_dtype(settings),
            way=chosen_way(settings),
            port=port,
            device=device,
            adapter_rank=settings.train.rank,
            max_model_tokens=wish.max_model_tokens,
            max_sequences=wish.max_sequences,
            threads=wish.threads,
            cache_bytes=wish.kv_cache_bytes,
            gpu_memory_share=wish.gpu_memory_share,
            tuned=wish.tuned,
            compiled=wish.compiled,
            sleeps=settings.train.colocated,
            gpus=wish.gpus,
            arguments=("--seed", str(settings.run.seed), *wish.arguments),
        ),
        machine,
        size,
    )
    return ManagedServer(
        command=plan.command,
        environment=plan.environment,
        port=port,
        log=log,
        ready_s=wish.ready_s,
        restarts=wish.restarts,
        model=model,
    )
