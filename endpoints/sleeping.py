"""Training on the GPUs that vLLM serves from: the server sleeps while a job runs.

Order of calls: everybody is held, requests in flight end (or are taken back after `drain_s` and asked again),
`/sleep?level=1` moves the weights to main memory and drops the cache, the job runs, `/wake_up` brings the weights back,
`/reset_prefix_cache` forgets what the cache held, and everybody goes on. Whatever becomes of the job, the server is
woken; one that cannot be woken lets nobody in.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from endpoints.client import Endpoint
from protocols.errors import EndpointError, TrainingError
from protocols.ports import AdapterTrainer, TrainingJob, TrainingProgress
from protocols.records import Probe, TrainingReport

HOLD = "training"
"""Name of the hold on the endpoint's gate while the server sleeps."""
_CALL_S = 300.0


class TrainingWhileAsleep:
    """The port `AdapterTrainer`, whose jobs have the GPUs of a vLLM server to themselves.

    Args:
        trainer: does the jobs.
        endpoint: of a server started with `--enable-sleep-mode` and `VLLM_SERVER_DEV_MODE=1`.
        drain_s: how long requests in flight may take to end.
        untouched: while it is entered, nobody puts another version on the server (`ServedPolicy.untouched`).
    """

    def __init__(
        self,
        trainer: AdapterTrainer,
        endpoint: Endpoint,
        drain_s: float,
        untouched: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._trainer = trainer
        self._endpoint = endpoint
        self._drain_s = drain_s
        self._untouched = untouched

    async def train(self, job: TrainingJob, progress: Callable[[TrainingProgress], None]) -> TrainingReport:
        """Train while the server sleeps.

        Raises:
            TrainingError: as `AdapterTrainer.train`; also when the server could not be put to sleep or woken.
        """
        try:
            async with self._untouched(), _asleep(self._endpoint, self._drain_s):
                return await self._trainer.train(job, progress)
        except EndpointError as error:
            raise TrainingError(f"the server that shares its GPUs with the trainer failed: {error}") from error

    async def probe(self, model: str, texts: Sequence[str]) -> tuple[Probe, ...]:
        """Probe beside the server: it takes little memory. Errors as `AdapterTrainer.probe`."""
        return await self._trainer.probe(model, texts)


@asynccontextmanager
async def _asleep(endpoint: Endpoint, drain_s: float) -> AsyncGenerator[None]:
    endpoint.gate.hold(HOLD)
    try:
        with trio.move_on_after(drain_s):
            await endpoint.gate.drained(staged_too=True)
        endpoint.gate.interrupt(staged_too=True)
        await endpoint.gate.drained(staged_too=True)
        await endpoint.control("//sleep?level=1", timeout_s=_CALL_S)
        yield
    finally:
        with trio.CancelScope(shield=True):
            await _wake(endpoint)


async def _wake(endpoint: Endpoint) -> None:
    """Wake the server and let everybody in again; awake already, it is none the worse for it."""
    try:
        await endpoint.control("//wake_up", timeout_s=_CALL_S)
        await endpoint.control("//reset_prefix_cache", timeout_s=_CALL_S)
    except EndpointError as error:
        endpoint.gate.fail(HOLD, f"{endpoint.name} could not be woken after a training job: {error}")
        raise
    endpoint.gate.release(HOLD)
