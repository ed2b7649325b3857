# pyright: reportUnknownMemberType=false
# (torch carries no complete types)
"""The trainer worker: `python -m trainer.worker`, a process of its own that stays warm between jobs.

It speaks the lines of `trainer.messages` on stdin and stdout; whatever a library prints goes to stderr. It ends when
its stdin does, or when nobody reads its lines any more. The base model stays loaded until another one is asked for.
Under `torchrun` several of them do each job together, and rank 0 speaks for all.
"""

import gc
import os
import sys
import traceback
from pathlib import Path
from typing import BinaryIO

import torch

from protocols.errors import TrainingError, UsageError
from protocols.ports import TrainingJob, TrainingProgress
from trainer.base_model import BaseModel, choose_dtype, load_base_model
from trainer.failure import kind_of
from trainer.job import run_job
from trainer.merging import write_merged_model
from trainer.messages import (
    PROTOCOL_VERSION,
    Answer,
    Failed,
    Hello,
    Merged,
    MergeRequest,
    Note,
    Probed,
    ProbeRequest,
    Progress,
    Request,
    Trained,
    TrainRequest,
    decode_request,
    encode_line,
)
from trainer.probing import probe_texts
from trainer.process_group import ProcessGroup
from trainer.shared_job import train_together, write_alone


class Worker:
    """Answers requests, one at a time.

    Args:
        output: where answers go.
        group: this process among those that do its jobs together.
    """

    def __init__(self, output: BinaryIO, group: ProcessGroup) -> None:
        self._output = output
        self._group = group
        self._speaks = group.rank == 0
        self._together = False
        """Whether other ranks wait for this one."""
        self._base: BaseModel | None = None
        self._device = group.device

    def serve(self, requests: BinaryIO) -> None:
        """Greet, then answer every line of `requests`."""
        dtype = str(choose_dtype(self._device)).removeprefix("torch.")
        self._say(Hello(protocol=PROTOCOL_VERSION, device=self._device.type, dtype=dtype))
        for line in self._group.requests(iter(requests)):
            self._say(self._answer(decode_request(line)))
            _settle()

    def _answer(self, request: Request) -> Answer | None:
        try:
            match request:
                case TrainRequest(job=job):
                    return self._train(job)
                case _ if not self._speaks:
                    return None
                case ProbeRequest(model=model, texts=texts):
                    return Probed(probes=probe_texts(self._load(model), texts))
                case MergeRequest(model=model, adapter=adapter, folder=folder):
                    write_merged_model(self._load(model), Path(adapter), Path(folder))
                    return Merged()
        except BrokenPipeError:
            raise
        except Exception as error:
            if self._together and not isinstance(error, TrainingError | UsageError):
                raise  # the other ranks may wait for this one: they all end, and the next request starts them anew
            self._together = False
            traceback.print_exc()
            return Failed(kind=kind_of(error), message=f"{type(error).__name__}: {error}"[:2000])

    def _train(self, job: TrainingJob) -> Answer | None:
        def tell(done: TrainingProgress) -> None:
            self._say(Progress(progress=done))

        dtype = choose_dtype(self._device, job.recipe.dtype)
        if self._group.size == 1:
            return Trained(report=run_job(self._load(job.model, dtype), job, tell, self._note))
        self._drop()
        self._together = True
        trained = train_together(self._load_anew(job.model, dtype), job, tell, self._group)
        self._together = False
        if not self._speaks:
            return None
        return Trained(report=write_alone(self._load(job.model, dtype), job, trained, self._note))

    def _load_anew(self, name: str, dtype: torch.dtype) -> BaseModel:
        self._note(f"loading {name}")
        return load_base_model(name, self._device, dtype)

    def _load(self, name: str, dtype: torch.dtype | None = None) -> BaseModel:
        """Return the base model, in `dtype` or in whatever it was loaded in last."""
        if self._base is None or self._base.name != name or dtype not in (None, self._base.dtype):
            self._drop()
            self._base = self._load_anew(name, dtype or choose_dtype(self._device))
        return self._base

    def _drop(self) -> None:
        """Let go of the base model, also of what of it is in cycles."""
        self._base = None
        gc.unfreeze()

    def _note(self, text: str) -> None:
        self._say(Note(text=text))

    def _say(self, line: Answer | None) -> None:
        if line is not None and self._speaks:
            self._output.write(encode_line(line))
            self._output.flush()


def _settle() -> None:
    """Collect what a request left behind, and leave what stays out of later collections.

    Walking through all objects of the libraries and the model takes a second, and a job's beginning would set it off.
    """
    gc.collect()
    gc.freeze()


def main() -> None:
    """Serve stdin until it ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a module's property
    Worker(answers, ProcessGroup()).serve(sys.stdin.buffer)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(1)
