"""Supervision: an actor that failed is started again, ever later, and not without end."""

import pytest
import trio
import trio.testing

from actors.supervisor import RestartRule, supervise
from protocols.errors import EndpointBroken, NoSpaceLeft, RunPaused, SettingsError

RULE = RestartRule(limit=5, window_s=100.0, first_delay_s=1.0, longest_delay_s=4.0)


class Actor:
    """Fails as it is told, then returns."""

    def __init__(self, *failures: Exception, each_takes_s: float = 0.0) -> None:
        self._failures = list(failures)
        self._each_takes_s = each_takes_s
        self.starts: list[float] = []

    async def run(self) -> None:
        self.starts.append(trio.current_time())
        await trio.sleep(self._each_takes_s)
        if self._failures:
            raise self._failures.pop(0)

    def pauses(self) -> list[float]:
        return [round(late - early, 6) for early, late in zip(self.starts, self.starts[1:], strict=False)]


async def test_an_actor_that_returns_is_not_started_again(autojump_clock: trio.testing.MockClock) -> None:
    actor = Actor()
    await supervise("tested", actor.run, RULE)
    assert len(actor.starts) == 1


async def test_the_pause_doubles_and_is_capped(autojump_clock: trio.testing.MockClock) -> None:
    actor = Actor(*[EndpointBroken("down")] * 5)
    await supervise("tested", actor.run, RULE)
    assert actor.pauses() == [1.0, 2.0, 4.0, 4.0, 4.0]


async def test_failures_that_lie_far_apart_are_not_added_up(autojump_clock: trio.testing.MockClock) -> None:
    actor = Actor(*[EndpointBroken("down")] * 20, each_takes_s=101.0)
    await supervise("tested", actor.run, RULE)
    assert actor.pauses() == [102.0] * 20


async def test_beyond_the_limit_the_run_pauses_and_says_why(autojump_clock: trio.testing.MockClock) -> None:
    actor = Actor(*[ExceptionGroup("", [EndpointBroken("no answer from judge")])] * 6)
    with pytest.raises(RunPaused, match=r"the tested failed 6 times.*EndpointBroken: no answer from judge") as caught:
        await supervise("tested", actor.run, RULE)
    assert len(actor.starts) == 6
    assert isinstance(caught.value.__cause__, ExceptionGroup)


@pytest.mark.parametrize("error", [SettingsError("bad key"), NoSpaceLeft("disk full"), RunPaused("budget spent")])
@pytest.mark.parametrize("wrapped", [False, True])
async def test_what_no_restart_mends_passes_at_once(
    error: Exception, wrapped: bool, autojump_clock: trio.testing.MockClock
) -> None:
    actor = Actor(ExceptionGroup("", [EndpointBroken("down"), error]) if wrapped else error)
    with pytest.raises(type(error)) as caught:
        await supervise("tested", actor.run, RULE)
    assert caught.value is error
    assert len(actor.starts) == 1


async def test_cancellation_passes(autojump_clock: trio.testing.MockClock) -> None:
    actor = Actor(each_takes_s=1000.0)
    with trio.move_on_after(5) as scope:
        await supervise("tested", actor.run, RULE)
    assert scope.cancelled_caught
    assert len(actor.starts) == 1
    assert trio.current_time() - actor.starts[0] == pytest.approx(5)


async def test_cancellation_passes_during_a_pause(autojump_clock: trio.testing.MockClock) -> None:
    actor = Actor(EndpointBroken("down"))
    with trio.move_on_after(0.5) as scope:
        await supervise("tested", actor.run, RULE)
    assert scope.cancelled_caught
    assert len(actor.starts) == 1
