"""The ways of putting a policy version on one replica (architecture.md, "Publishing").

`AdapterWay` loads an adapter under a name of its own, beside those that are served; `InPlaceWay` reloads the weights
of the whole server, so everything else it serves must wait meanwhile, and `RestartWay` starts the server again for
that. None knows of other replicas or of the pointer to the current version: see `policy`.

Contract of all: any call may fail at any point, with an `EndpointError`, and may be made again; `take_off` brings the
replica back whatever `put` had done. A hold that `put` or `take_off` laid on the gate is lifted by the caller.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import msgspec
import trio

from endpoints.client import Endpoint
from protocols.errors import EndpointBroken, EndpointRefused, ServerError
from protocols.records import PolicyVersion

HOLD = "publishing"
"""Name of the hold on a replica's gate while its weights are on trial."""
_LOAD_S = 120.0
"""For one control call that loads weights."""
_CALL_S = 30.0
"""For any other control call."""


class Way(Protocol):
    """How one replica takes versions on and off."""

    @property
    def keeps_others(self) -> bool:
        """Whether versions that are there stay served when another one is put on."""
        ...

    def model_name(self, version: PolicyVersion) -> str:
        """Return the name by which requests ask for `version`."""
        ...

    async def put(self, endpoint: Endpoint, version: PolicyVersion) -> None:
        """Make the replica able to answer staged requests for `version`; the current one stays what others get."""
        ...

    async def take_off(self, endpoint: Endpoint, version: PolicyVersion, current: PolicyVersion) -> None:
        """Make the replica serve `current`, and no longer `version`."""
        ...

    async def retire(self, endpoint: Endpoint, version: PolicyVersion) -> None:
        """Free what `version` still takes; no request asks for it any more."""
        ...


class AdapterWay:
    """A LoRA adapter per version, several at once.

    Args:
        served_name: name of the base model, which is version 0.
    """

    keeps_others = True

    def __init__(self, served_name: str) -> None:
        self._served_name = served_name

    def model_name(self, version: PolicyVersion) -> str:
        """Return the adapter's name; the base model's for version 0."""
        return self._served_name if version.adapter is None else version.name

    async def put(self, endpoint: Endpoint, version: PolicyVersion) -> None:
        """Load the adapter; one of that name that is there already gives way."""
        if version.adapter is None:
            if version.number > 0:
                raise EndpointBroken(f"version {version.name} is no adapter, and cannot be published as one")
            return
        if version.name in await endpoint.check():
            await self.retire(endpoint, version)
        body = {"lora_name": version.name, "lora_path": version.adapter}
        await endpoint.control("/load_lora_adapter", body, timeout_s=_LOAD_S)

    async def take_off(self, endpoint: Endpoint, version: PolicyVersion, current: PolicyVersion) -> None:
        """Unload the adapter; the current one was there all the time."""
        await self.retire(endpoint, version)

    async def retire(self, endpoint: Endpoint, version: PolicyVersion) -> None:
        """Unload the adapter; it is no error when it is not there."""
        if version.adapter is None:
            return
        with suppress(EndpointRefused):
            await endpoint.control("/unload_lora_adapter", {"lora_name": version.name}, timeout_s=_CALL_S)


class InPlaceWay:
    """Whole weights, reloaded into the running server.

    Args:
        served_name: name by which the server is asked, whatever it has loaded.
        base_weights: folder of the base model, which is version 0.
        drain_s: how long requests in flight may take to end before they are taken back and asked again.
    """

    keeps_others = False

    def __init__(self, served_name: str, *, base_weights: str, drain_s: float) -> None:
        self._served_name = served_name
        self._base_weights = base_weights
        self._drain_s = drain_s

    def model_name(self, version: PolicyVersion) -> str:
        """Return the one name that there is."""
        return self._served_name

    async def put(self, endpoint: Endpoint, version: PolicyVersion) -> None:
        """Hold all but staged requests, let those in flight end, and reload."""
        endpoint.gate.hold(HOLD)
        with trio.move_on_after(self._drain_s):
            await endpoint.gate.drained()
        endpoint.gate.interrupt(staged_too=True)
        await endpoint.gate.drained(staged_too=True)
        await self._load(endpoint, version)
        endpoint.gate.hold(HOLD, staged_pass=True)

    async def take_off(self, endpoint: Endpoint, version: PolicyVersion, current: PolicyVersion) -> None:
        """Take back staged requests, and reload the current version's weights."""
        endpoint.gate.hold(HOLD)
        endpoint.gate.interrupt(staged_too=True)
        await endpoint.gate.drained(staged_too=True)
        await self._load(endpoint, current)

    async def retire(self, endpoint: Endpoint, version: PolicyVersion) -> None:
        """Do nothing: the weights that were there are overwritten."""

    async def _load(self, endpoint: Endpoint, version: PolicyVersion) -> None:
        """Reload while the engine is paused; what strangers ask of it meanwhile is aborted, never half answered."""
        await endpoint.control("//pause?mode=abort", timeout_s=_CALL_S)
        reload = {"method": "reload_weights", "kwargs": {"weights_path": self._weights(version)}}
        await endpoint.control("//collective_rpc", reload, timeout_s=_LOAD_S)
        await self._forget_prefixes(endpoint)
        await endpoint.control("//update_weight_version", {"new_version": version.name}, timeout_s=_CALL_S)
        await endpoint.control("//resume", timeout_s=_CALL_S)

    async def _forget_prefixes(self, endpoint: Endpoint) -> None:
        """Cached keys and values are of the old weights: an answer from them would mix two versions."""
        data = await endpoint.control("//reset_prefix_cache", timeout_s=_CALL_S)
        if data and not msgspec.json.decode(data, type=_Reset).success:
            raise EndpointBroken(f"{endpoint.url} kept its prefix cache of the old weights")

    def _weights(self, version: PolicyVersion) -> str:
        if version.number == 0:
            return self._base_weights
        if version.merged is None:
            raise EndpointBroken(f"version {version.name} has no merged weights, which `in_place` publishing needs")
        return version.merged


class _Reset(msgspec.Struct, frozen=True):
    success: bool = True


class RestartWay(InPlaceWay):
    """Whole weights, for which the server is ended and started again; for models that cannot be reloaded in place.

    Args:
        served_name: as `InPlaceWay`.
        base_weights: as `InPlaceWay`.
        drain_s: as `InPlaceWay`.
        restart: starts the server on the weights in a folder and returns once it is healthy (`ManagedServer.restart`).
    """

    def __init__(
        self, served_name: str, *, base_weights: str, drain_s: float, restart: Callable[[str], Awaitable[None]]
    ) -> None:
        super().__init__(served_name, base_weights=base_weights, drain_s=drain_s)
        self._restart = restart

    async def _load(self, endpoint: Endpoint, version: PolicyVersion) -> None:
        try:
            await self._restart(self._weights(version))
        except ServerError as error:
            raise EndpointBroken(str(error)) from error
