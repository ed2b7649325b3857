"""The fake keeps the rules of the real server that the rest of the tests lean on."""

import pytest
import trio
from trio.testing import MockClock

from endpoints.client import fixed
from endpoints.fake import Received, Reply, log_probability, open_fake_server
from protocols.errors import EndpointRefused
from tests.endpoints.support import asking, endpoint_of


async def test_an_unknown_model_is_refused() -> None:
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        with pytest.raises(EndpointRefused, match="does not exist"):
            await endpoint.chat(asking(), fixed("another"))


async def test_an_adapter_is_loaded_once_and_unloaded_once() -> None:
    body = {"lora_name": "v1", "lora_path": "adapters/v1"}
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        await endpoint.control("/load_lora_adapter", body)
        assert await endpoint.check() == ("model", "v1")
        with pytest.raises(EndpointRefused, match="already been loaded"):
            await endpoint.control("/load_lora_adapter", body)
        assert (await endpoint.chat(asking(), fixed("v1"))).choices[0].text == "answer of adapters/v1"
        await endpoint.control("/unload_lora_adapter", {"lora_name": "v1"})
        with pytest.raises(EndpointRefused):
            await endpoint.control("/unload_lora_adapter", {"lora_name": "v1"})


async def test_a_paused_engine_answers_nobody(virtual_time: MockClock) -> None:
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        await endpoint.control("//pause?mode=wait")
        with trio.move_on_after(30.0) as scope:
            await endpoint.chat(asking(), fixed("model"))
        assert scope.cancelled_caught
        await endpoint.control("//resume")
        await endpoint.chat(asking(), fixed("model"))


async def test_an_answer_over_a_reload_is_noticed_as_torn(virtual_time: MockClock) -> None:
    reload = {"method": "reload_weights", "kwargs": {"weights_path": "merged/v1"}}
    async with open_fake_server(latency_s=5.0) as server, endpoint_of(server) as endpoint:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.chat, asking(), fixed("model"))
            await trio.sleep(1.0)
            await endpoint.control("//collective_rpc", reload)
        assert server.torn == 1
        assert (await endpoint.chat(asking(), fixed("model"))).choices[0].text == "answer of merged/v1"


async def test_a_responder_decides_by_what_was_asked() -> None:
    def respond(request: Received) -> Reply | None:
        return Reply(texts=("B",)) if request.body and "which" in str(request.body) else None

    async with open_fake_server(respond=respond) as server, endpoint_of(server) as endpoint:
        assert (await endpoint.chat(asking("which?"), fixed("model"))).choices[0].text == "B"
        assert (await endpoint.chat(asking("hello"), fixed("model"))).choices[0].text == "answer of base"


async def test_a_path_that_is_not_there_is_refused() -> None:
    async with open_fake_server() as server, endpoint_of(server) as endpoint:
        with pytest.raises(EndpointRefused):
            await endpoint.control("/nonsense")


def test_other_weights_have_other_log_probabilities() -> None:
    base = [log_probability("base", [], token) for token in range(50)]
    other = [log_probability("merged/v1", [], token) for token in range(50)]
    assert all(-5.0 <= value <= 0.0 for value in base)
    assert sum(abs(a - b) for a, b in zip(base, other, strict=True)) / 50 > 0.5
