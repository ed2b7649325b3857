"""The trainer as the orchestrator sees it: a worker process that is started when it is needed and kept warm.

Invariants: one request at a time; after a crash, a cancellation or a failure that leaves the worker in doubt, it is
gone and the next request starts a fresh one; no torch in this process.
"""

import os
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from protocols.errors import TrainingError
from protocols.ports import TrainingJob, TrainingProgress
from protocols.records import Probe, TrainingReport
from trainer.allocator import find_mimalloc, worker_environment
from trainer.messages import (
    Answer,
    Failed,
    FailureKind,
    Merged,
    MergeRequest,
    Note,
    Probed,
    ProbeRequest,
    Progress,
    Request,
    Trained,
    TrainRequest,
)
from trainer.worker_process import WorkerProcess, as_error

PROJECT_FOLDER = Path(__file__).resolve().parent.parent
WORKER_COMMAND = (sys.executable, "-m", "trainer.worker")
_TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
_CLOSE_S = 5.0
_IN_DOUBT: tuple[FailureKind, ...] = ("memory", "other")
"""Failures after which libraries may not work any more: oneDNN was seen to compile nothing after memory had run out."""


class TrainerProcess:
    """An `AdapterTrainer` that trains in a worker process.

    Args:
        log_path: file that the worker's stderr is added to.
        threads: cores that the worker computes on.
        step_deadline_s: longest silence, between two steps and while loading, before the worker counts as hung.
        command: program and arguments of the worker; see `worker_command`.
        gpus: numbers of the GPUs that the worker may see; None: all.
    """

    def __init__(
        self,
        *,
        log_path: Path,
        threads: int,
        step_deadline_s: float,
        command: Sequence[str] = WORKER_COMMAND,
        gpus: Sequence[int] | None = None,
    ) -> None:
        self._log_path = log_path.absolute()
        self._threads = threads
        self.step_deadline_s = step_deadline_s
        self._command = tuple(command)
        self._gpus = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}
        self._worker: WorkerProcess | None = None
        self._turn = trio.Lock()

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker; None when there is none."""
        return None if self._worker is None else self._worker.pid

    async def train(self, job: TrainingJob, progress: Callable[[TrainingProgress], None]) -> TrainingReport:
        """Train and return what came out. Cancelling kills the worker; a later call starts afresh.

        Raises:
            TrainingError: crash, out of memory, no step within the deadline, a loss that is not a number, a full disk.
        """
        answer = await self._ask(TrainRequest(job=job), progress)
        if not isinstance(answer, Trained):
            raise TrainingError(f"the trainer worker answered a job with {type(answer).__name__}")
        return answer.report

    async def probe(self, model: str, texts: Sequence[str]) -> tuple[Probe, ...]:
        """Return the base model's own numbers on the canary's prompts.

        Raises:
            TrainingError: as `train`.
        """
        answer = await self._ask(ProbeRequest(model=model, texts=tuple(texts)), _ignore)
        if not isinstance(answer, Probed):
            raise TrainingError(f"the trainer worker answered a probe with {type(answer).__name__}")
        return answer.probes

    async def merge(self, model: str, adapter: Path, folder: Path) -> None:
        """Write into the existing `folder` the whole model that `model` and the adapter in folder `adapter` are.

        Both folders are absolute: the worker has a working directory of its own.

        Raises:
            TrainingError: as `train`; also when the adapter does not fit. What was written until then stays.
        """
        answer = await self._ask(MergeRequest(model=model, adapter=str(adapter), folder=str(folder)), _ignore)
        if not isinstance(answer, Merged):
            raise TrainingError(f"the trainer worker answered a merge with {type(answer).__name__}")

    async def aclose(self) -> None:
        """End the worker, if there is one; a later request would start another."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close(_CLOSE_S)

    async def _ask(self, request: Request, progress: Callable[[TrainingProgress], None]) -> Answer:
        async with self._turn:
            worker = await self._ready()
            try:
                await worker.send(request, self.step_deadline_s)
                answer = await self._final_answer(worker, progress)
            except BaseException:
                await self._discard(worker)
                raise
            if not isinstance(answer, Failed):
                return answer
            if answer.kind in _IN_DOUBT:
                await self._discard(worker)
        raise as_error(answer)

    async def _final_answer(self, worker: WorkerProcess, progress: Callable[[TrainingProgress], None]) -> Answer:
        while True:
            match await worker.receive(self.step_deadline_s):
                case Progress(progress=done):
                    progress(done)
                case Note():
                    pass
                case answer:
                    return answer

    async def _ready(self) -> WorkerProcess:
        if self._worker is not None and not self._worker.alive:
            await self._discard(self._worker)
        if self._worker is None:
            environment = worker_environment({**os.environ, **self._gpus}, self._threads, find_mimalloc())
            self._worker = await WorkerProcess.start(
                self._command, environment, PROJECT_FOLDER, self._log_path, self.step_deadline_s
            )
        return self._worker

    async def _discard(self, worker: WorkerProcess) -> None:
        self._worker = None
        await worker.kill()


def worker_command(processes: int) -> tuple[str, ...]:
    """Return the command of a worker of so many processes."""
    return WORKER_COMMAND if processes == 1 else (*_TORCHRUN, str(processes), "--module", "trainer.worker")


@asynccontextmanager
async def open_trainer(
    *, log_path: Path, threads: int, step_deadline_s: float, command: Sequence[str] = WORKER_COMMAND
) -> AsyncGenerator[TrainerProcess]:
    """Yield a trainer; its worker is gone when the block is left. Arguments as for `TrainerProcess`."""
    trainer = TrainerProcess(log_path=log_path, threads=threads, step_deadline_s=step_deadline_s, command=command)
    try:
        yield trainer
    finally:
        with trio.CancelScope(shield=True):
            await trainer.aclose()


def _ignore(_: TrainingProgress) -> None:
    """Probing and merging have no steps to tell of."""
