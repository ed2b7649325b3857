"""What is trained on: examples, what curation refused, and batches."""

from typing import Literal

from protocols.records.decisions import Origin
from protocols.records.record import Record

ExampleKind = Literal["answer", "critique"]


class Message(Record, frozen=True, kw_only=True):
    """One chat turn."""

    role: Literal["system", "user", "assistant"]
    content: str
    loss: bool = False
    """In an example: whether the trainer puts loss on this turn. Always False in a prompt."""


class Example(Record, frozen=True, kw_only=True):
    """One training record. Made by the Curator, consumed by the trainer."""

    id: str
    task_id: str
    round: int
    version: int
    kind: ExampleKind
    origin: Origin
    """Who wrote the turn that carries loss."""
    pattern: str
    """Error pattern of the criticised candidate; empty for `answer`."""
    messages: tuple[Message, ...]
    code: str
    """The code that the example teaches, for duplicate and overlap filters."""


class FilterCount(Record, frozen=True, kw_only=True):
    """One example that curation refused, and why. Made by the Curator."""

    id: str
    task_id: str
    round: int
    reason: str
    kind: ExampleKind | None = None
    """None, and the next two empty, in runs of earlier versions."""
    code: str = ""
    """What it would have taught, clipped."""
    resembles: str = ""
    """The evaluation task or the example that it was too much like."""


class Batch(Record, frozen=True, kw_only=True):
    """The examples of one training job. Made by the Curator."""

    id: str
    number: int
    """1-based; also the number of the policy version that it is to make."""
    round: int
    version: int
    """Policy version that was current when the batch was cut."""
    example_ids: tuple[str, ...]
    """New examples and replayed ones."""
    replayed: int
    """How many of them are replay."""
