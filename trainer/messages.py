"""What the orchestrator and the trainer worker say to each other: one JSON object a line, on its stdin and stdout.

The worker speaks first (`Hello`). Then each request is answered by any number of `Note` and `Progress` lines and
exactly one of `Trained`, `Probed`, `Merged` and `Failed`. There is one request at a time.
"""

from typing import Literal

import msgspec

from protocols.ports import TrainingJob, TrainingProgress
from protocols.records import Probe, TrainingReport

PROTOCOL_VERSION = 3

FailureKind = Literal["model", "examples", "memory", "disk", "loss", "other"]


class _Line(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    pass


class Hello(_Line, frozen=True, kw_only=True):
    """The worker's first line."""

    protocol: int
    device: str
    """`cpu` or `cuda`."""
    dtype: str
    """What it computes in where a job does not say."""


class TrainRequest(_Line, frozen=True, kw_only=True):
    """Do this job."""

    job: TrainingJob


class ProbeRequest(_Line, frozen=True, kw_only=True):
    """Compute the base model's numbers on these texts."""

    model: str
    texts: tuple[str, ...]


class MergeRequest(_Line, frozen=True, kw_only=True):
    """Write the whole model that a base model and an adapter are together."""

    model: str
    adapter: str
    """Folder of the adapter (PEFT form), absolute."""
    folder: str
    """Where the model's files go; an existing folder, absolute."""


class Note(_Line, frozen=True, kw_only=True):
    """A sign of life between steps, in words."""

    text: str


class Progress(_Line, frozen=True, kw_only=True):
    """One optimiser step is done."""

    progress: TrainingProgress


class Trained(_Line, frozen=True, kw_only=True):
    """The job is done and its adapter is on disk."""

    report: TrainingReport


class Probed(_Line, frozen=True, kw_only=True):
    """The numbers that were asked for."""

    probes: tuple[Probe, ...]


class Merged(_Line, frozen=True, kw_only=True):
    """The whole model is written, but not yet synced to disk."""


class Failed(_Line, frozen=True, kw_only=True):
    """The request failed and left nothing behind but a job's last checkpoint; the worker can take another one."""

    kind: FailureKind
    message: str


Request = TrainRequest | ProbeRequest | MergeRequest
Answer = Hello | Note | Progress | Trained | Probed | Merged | Failed

_request_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answer_decoder: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def decode_request(line: bytes) -> Request:
    """Return a request line; raises `msgspec.MsgspecError` on anything else."""
    return _request_decoder.decode(line)


def decode_answer(line: bytes) -> Answer:
    """Return a line of the worker; raises `msgspec.MsgspecError` on anything else."""
    return _answer_decoder.decode(line)


def encode_line(line: Request | Answer) -> bytes:
    """Return `line` as bytes that end in a newline."""
    return msgspec.json.encode(line) + b"\n"
