"""Ports: the narrow interfaces through which actors reach sandbox, trainer, endpoints and ledger.

`main.py` hands the concrete parts in. Beside each part lives a fake that keeps the same contract, tested by the same
suite. Every method is a Trio checkpoint, may be cancelled at any of its awaits, and leaves nothing half-done behind
that a later call would trip over.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from protocols.records import (
    ErrorClass,
    Evaluation,
    EvaluationPurpose,
    Evidence,
    Example,
    LedgerRecord,
    Message,
    OutcomeKind,
    PolicyVersion,
    Probe,
    TaskResult,
    Test,
    TestOutcome,
    TrainingReport,
)

RecordType = TypeVar("RecordType", bound=LedgerRecord)


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One chat completion to ask for."""

    messages: tuple[Message, ...]
    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    """Most likely tokens to draw from, which vLLM knows and OpenAI's interface does not; None leaves it out."""
    max_tokens: int = 512
    seed: int | None = None
    stop: tuple[str, ...] = ()
    """Texts that end an answer, and are not part of it."""
    schema: Mapping[str, Any] | None = None
    """JSON schema that the answer must follow (structured output); None for free text."""


class ChatChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One of the answer's `n` texts."""

    text: str
    finish_reason: str


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint answered."""

    choices: tuple[ChatChoice, ...]
    endpoint: str
    """Name of the endpoint that answered."""
    version: int | None
    """Policy version that answered; None for an endpoint that does not serve the policy."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class Chat(Protocol):
    """One role's model or models: a judge, a critic."""

    @property
    def name(self) -> str:
        """Name in records and logs."""
        ...

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """Ask, with retries; wait for a free endpoint of the role.

        Raises:
            EndpointError: it could not be answered within the configured tries.
        """
        ...


class Answering(Protocol):
    """Whatever answers in the policy's place: the policy itself, or answers that were kept."""

    async def chat(self, request: ChatRequest, *, staged: PolicyVersion | None = None) -> ChatAnswer:
        """Return the answer to `request`, as `Policy.chat`.

        Raises:
            EndpointError: as `Chat.chat`.
        """
        ...


class Policy(Protocol):
    """The model being refined, behind its pointer to the current version."""

    @property
    def current(self) -> PolicyVersion:
        """Version that new requests use."""
        ...

    async def chat(self, request: ChatRequest, *, staged: PolicyVersion | None = None) -> ChatAnswer:
        """Ask the current version, or `staged` while it is on trial. No answer mixes two versions.

        Raises:
            EndpointError: as `Chat.chat`.
        """
        ...

    async def log_probabilities(
        self, token_ids: Sequence[Sequence[int]], *, staged: PolicyVersion | None = None
    ) -> tuple[tuple[float, ...], ...]:
        """Return, for each prompt, the served log-probability of token i + 1 given tokens 0..i.

        Raises:
            EndpointError: as `Chat.chat`.
        """
        ...

    async def stage(self, version: PolicyVersion) -> None:
        """Put `version` on every replica or on none, without moving the pointer.

        With `in_place` publishing, other requests wait from here until `promote` or `roll_back`.

        Raises:
            PublishError: some replica did not take it; all are back on the current version.
        """
        ...

    async def promote(self, version: PolicyVersion) -> None:
        """Move the pointer to the staged `version`; unload the one before when its last request is done."""
        ...

    async def roll_back(self, version: PolicyVersion) -> None:
        """Take the staged `version` off every replica again; the current version is served as before.

        Raises:
            PublishError: the current version could not be put back.
        """
        ...


class GateVerdict(Protocol):
    """What the gate says about a staged version."""

    @property
    def promote(self) -> bool:
        """Whether it may become the current version."""
        ...

    @property
    def reason(self) -> str:
        """Why, in one sentence with the figures."""
        ...


class Gate(Protocol):
    """Compares a staged version's evaluation with those of the first version and of the one before it, on one set."""

    def __call__(self, first: Evaluation, old: Evaluation, new: Evaluation) -> GateVerdict:
        """Return the verdict. Pure: the same evaluations give the same verdict."""
        ...


class Assessor(Protocol):
    """Turns counted answers into an evaluation with its intervals."""

    def __call__(
        self,
        *,
        purpose: EvaluationPurpose,
        version: int,
        round: int,
        results: Sequence[TaskResult],
        executable_share: float,
        prompt_tokens: int,
        completion_tokens: int,
        seconds: float,
    ) -> Evaluation:
        """Return the evaluation. Pure."""
        ...


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one execution may use."""

    cpu_s: float = 4.0
    """Per test."""
    wall_s: float = 8.0
    """Per test."""
    memory_bytes: int = 512 << 20
    output_bytes: int = 64 << 10
    file_bytes: int = 1 << 20
    processes: int = 8
    """Threads of one test's process, the first included. It can never start another process."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of untrusted code and the tests to run it against."""

    code: str
    tests: tuple[Test, ...]
    entry_point: str | None = None
    setup: str = ""
    limits: Limits = Limits()


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a job showed."""

    outcomes: tuple[TestOutcome, ...]
    """One per test, in order. A candidate that cannot be executed fails each of them with its class."""
    error_class: ErrorClass | None
    """Of the first failure; None when everything passed."""
    tier: str
    evidence: Evidence
    cpu_s: float
    wall_s: float
    peak_bytes: int
    outcome: OutcomeKind | None = None
    """Of the first failure, or `pass`; None where the sandbox does not tell."""
    flaky: bool = False
    """Whether some test's verdict changed when it was run again."""


class Sandbox(Protocol):
    """Runs untrusted code and tells what happened. Bounded concurrency of its own; fair in order of arrival."""

    async def run(self, job: Job) -> JobResult:
        """Run `job` in a process of its own. Everything the code does is in the result; cancelling kills it.

        Raises:
            SandboxError: the sandbox's own machinery failed (never the candidate's doing).
        """
        ...


class Ledger(Protocol):
    """The durable journal of one run."""

    async def append(self, *records: LedgerRecord) -> None:
        """Return once `records` are on disk, all of them or none; an id that is there already is left as it is.

        Raises:
            NoSpaceLeft: the disk is full.
            LedgerError: anything else that keeps them from being written.
        """
        ...

    async def get(self, kind: type[RecordType], id: str) -> RecordType | None:
        """Return one record, or None."""
        ...

    async def find(
        self,
        kind: type[RecordType],
        *,
        task_id: str | None = None,
        round: int | None = None,
        version: int | None = None,
    ) -> tuple[RecordType, ...]:
        """Return the records of `kind` that have the given fields, in the order in which they were appended."""
        ...


class TrainingProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a training job is."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    tokens_per_s: float
    peak_bytes: int = 0
    """Most memory that the job has held so far."""


class TrainingRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """How a job trains; its fields are those of `protocols.settings.TrainSettings` of the same names."""

    rank: int
    alpha: float
    dropout: float
    learning_rate: float
    warmup_share: float
    """Share of the steps over which the learning rate rises."""
    epochs: int
    batch_examples: int
    """Examples per optimiser step."""
    micro_batch_tokens: int
    """Tokens of a packed forward pass, at most; fewer where memory is short or not worth it. A longer example goes
    alone."""
    max_tokens: int
    """Longest example that is trained on; longer ones are dropped and counted."""
    weight_decay: float
    max_gradient_norm: float
    seed: int
    layers: int | None = None
    """How many of the last layers get an adapter; None: all. Fewer are faster: nothing is sent back below them."""
    targets: tuple[str, ...] | None = None
    """Names of the linear layers that get an adapter, or ends of their names; None: all but the projection."""
    dora: bool = False
    rslora: bool = False
    weights: Literal["adapter", "full"] = "adapter"
    """What is trained: low-rank adapters, or all of the model's weights."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the base model; `auto`: bfloat16 where the hardware multiplies in it."""
    gradient_checkpointing: bool = False
    """Keep the input of each layer only, and compute the layer again in the backward pass."""
    checkpoint_steps: int = 0
    """Steps between two checkpoints, from which the same job goes on after a kill; 0: none."""


class TrainingJob(msgspec.Struct, frozen=True, kw_only=True):
    """One training job, complete in itself: it can be done by another process, or again."""

    id: str
    """The batch's id."""
    round: int
    version: int
    examples: tuple[Example, ...]
    model: str
    """Local folder or hub name of the base model."""
    start_adapter: str | None
    """Adapter folder to go on from (`continue` mode); None starts from the base model (`restart`)."""
    start_weights: str | None = None
    """The same where all weights are trained: folder of the whole model to go on from."""
    output_folder: str
    """Folder under which the version's own folder (`vNNNN-<hash>`) appears, whole or not at all."""
    write_merged: bool
    probe_texts: tuple[str, ...]
    recipe: TrainingRecipe


class AdapterTrainer(Protocol):
    """Examples in, proven adapter out. One job at a time."""

    async def train(self, job: TrainingJob, progress: Callable[[TrainingProgress], None]) -> TrainingReport:
        """Train and return what came out. Cancelling stops the job; a later call starts afresh.

        Raises:
            TrainingError: crash, out of memory, no step within the deadline, a loss that is not a number, a full disk.
        """
        ...

    async def probe(self, model: str, texts: Sequence[str]) -> tuple[Probe, ...]:
        """Return the base model's own numbers on the canary's prompts.

        Raises:
            TrainingError: as `train`.
        """
        ...
