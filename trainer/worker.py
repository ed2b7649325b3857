# pyright: reportUnknownMemberType=false
# (torch carries no complete types)
"""The trainer worker: `python -m trainer.worker`, a process of its own that stays warm between jobs.

It speaks the lines of `trainer.messages` on stdin and stdout; whatever a library prints goes to stderr. It ends when
its stdin does, or when nobody reads its lines any more. The base model stays loaded until another one is asked for.
"""

import os
import sys
import traceback
from pathlib import Path
from typing import BinaryIO

import torch

from trainer.base_model import BaseModel, choose_device, choose_dtype, load_base_model
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


class Worker:
    """Answers requests, one at a time.

    Args:
        output: where answers go.
    """

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._base: BaseModel | None = None
        self._device = choose_device()
        self._dtype = choose_dtype(self._device)

    def serve(self, requests: BinaryIO) -> None:
        """Greet, then answer every line of `requests`."""
        self._say(
            Hello(protocol=PROTOCOL_VERSION, device=self._device.type, dtype=str(self._dtype).removeprefix("torch."))
        )
        for line in requests:
            self._say(self._answer(decode_request(line)))

    def _answer(self, request: Request) -> Answer:
        try:
            match request:
                case TrainRequest(job=job):
                    report = run_job(
                        self._load(job.model), job, lambda done: self._say(Progress(progress=done)), self._note
                    )
                    return Trained(report=report)
                case ProbeRequest(model=model, texts=texts):
                    return Probed(probes=probe_texts(self._load(model), texts))
                case MergeRequest(model=model, adapter=adapter, folder=folder):
                    write_merged_model(self._load(model), Path(adapter), Path(folder))
                    return Merged()
        except BrokenPipeError:
            raise
        except Exception as error:
            traceback.print_exc()
            return Failed(kind=kind_of(error), message=f"{type(error).__name__}: {error}"[:2000])

    def _load(self, name: str) -> BaseModel:
        if self._base is None or self._base.name != name:
            self._base = None
            self._note(f"loading {name}")
            self._base = load_base_model(name, self._device, self._dtype)
        return self._base

    def _note(self, text: str) -> None:
        self._say(Note(text=text))

    def _say(self, line: Answer) -> None:
        self._output.write(encode_line(line))
        self._output.flush()


def main() -> None:
    """Serve stdin until it ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a module's property
    Worker(answers).serve(sys.stdin.buffer)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(1)
