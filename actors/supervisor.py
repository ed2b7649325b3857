"""One-for-one supervision: an actor that failed is started again, ever later, and not without end."""

from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
import structlog
import trio

from actors.failures import fatal, first
from protocols.errors import RunPaused

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class RestartRule(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how soon."""

    limit: int = 5
    """Restarts within `window_s`; one more failure stops the run."""
    window_s: float = 600.0
    first_delay_s: float = 0.5
    """Doubled with each restart within the window."""
    longest_delay_s: float = 30.0


async def supervise(name: str, run: Callable[[], Awaitable[None]], rule: RestartRule | None = None) -> None:
    """Run an actor until it returns; start it again when it raises.

    The actor keeps what it had in hand and goes on with it (see `actors.stage`).

    Raises:
        RunPaused: it failed more often than `rule` allows; the cause is its last exception.
        UsageError: raised by the actor; not restarted, since no restart mends it.
    """
    rule = rule or RestartRule()
    failures: deque[float] = deque()
    while True:
        try:
            await run()
        except Exception as error:
            cause = fatal(error)
            if cause is not None:
                raise cause from error
            now = trio.current_time()
            failures.append(now)
            while now - failures[0] > rule.window_s:
                failures.popleft()
            shown = first(error)
            if len(failures) > rule.limit:
                raise RunPaused(
                    f"the {name} failed {len(failures)} times within {rule.window_s:.0f} s, last with "
                    f"{type(shown).__name__}: {shown}. Mend the cause and run the same command again to go on"
                ) from error
            delay = min(rule.longest_delay_s, rule.first_delay_s * 2 ** (len(failures) - 1))
            log.warning("actor_failed", actor=name, error=f"{type(shown).__name__}: {shown}", restart_in_s=delay)
            await trio.sleep(delay)
        else:
            return
