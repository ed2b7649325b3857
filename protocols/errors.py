"""The error tree of the project, named by whose fault a failure is.

::

    RefineError
    ├── UsageError               the user gave something that cannot be used: exit code 2, nothing half-made
    │   ├── SettingsError        a settings file, key or override
    │   ├── TasksError           a tasks file or data set
    │   ├── TestsFileError       a program's tests, given to `sandbox run`
    │   ├── ModelError           a model folder or hub name
    │   └── RunFolderError       a run folder of another configuration, or of another version of this project
    ├── EndpointError            an OpenAI-compatible endpoint
    │   ├── EndpointUnreachable  no connection, or none in time (worth trying again)
    │   ├── EndpointOverloaded   429 or 503 (worth trying again, after `retry_after_s`)
    │   ├── EndpointRefused      any other 4xx: the request itself is wrong (never tried again)
    │   └── EndpointBroken       5xx, or an answer that is not of the agreed form (worth trying again)
    ├── ServerError              the managed vLLM server
    │   ├── PortTaken            its port is in use
    │   ├── ModelDoesNotFit      not enough memory for weights and key-value cache
    │   ├── ServerNotReady       it never became healthy in time
    │   └── ServerDied           it ended by itself
    ├── SandboxError             the sandbox's infrastructure (a candidate that fails is a record, never an exception)
    │   └── SandboxUnavailable   no isolation to be had on this machine: nothing is executed
    ├── TrainingError            the trainer worker: crash, out of memory, hang, loss that is not a number
    ├── PublishError             a version could not be put on every replica, or the canary did not match
    ├── LedgerError              the run's journal
    │   └── NoSpaceLeft          the disk is full
    └── RunPaused                the run stopped itself, resumably, and says why
"""


class RefineError(Exception):
    """Base of every error this project raises on purpose. Its text is one paragraph, meant for the user."""


class UsageError(RefineError):
    """What the user gave cannot be used. The command line ends with exit code 2 and leaves nothing half-made."""


class SettingsError(UsageError):
    """A settings file is missing, or a key, value or override in it is wrong."""


class TasksError(UsageError):
    """A tasks file or data set cannot be used; the text names file, line and field."""


class TestsFileError(UsageError):
    """A program's tests cannot be used; the text names the field and what was expected."""

    __test__ = False  # not a pytest class


class ModelError(UsageError):
    """A model folder or name cannot be used."""


class RunFolderError(UsageError):
    """A run folder belongs to another configuration or to another version of this project."""


class EndpointError(RefineError):
    """An OpenAI-compatible endpoint failed."""


class EndpointUnreachable(EndpointError):
    """No connection to the endpoint, or no answer in time."""


class EndpointOverloaded(EndpointError):
    """The endpoint answered 429 or 503.

    Args:
        message: what happened.
        retry_after_s: seconds that the endpoint asked to wait; None when it did not say.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EndpointRefused(EndpointError):
    """The endpoint refused the request as wrong (4xx other than 408, 409 and 429)."""


class EndpointBroken(EndpointError):
    """The endpoint failed by itself (5xx), or answered something that is not of the agreed form."""


class ServerError(RefineError):
    """The managed vLLM server failed; the text ends with the tail of its log."""


class PortTaken(ServerError, UsageError):
    """The port that the managed server should listen on is in use."""


class ModelDoesNotFit(ServerError, UsageError):
    """The model's weights and key-value cache do not fit into the memory there is."""


class ServerNotReady(ServerError):
    """The managed server was not healthy before its deadline."""


class ServerDied(ServerError):
    """The managed server ended by itself, more often than it may be restarted."""


class SandboxError(RefineError):
    """The sandbox's own machinery failed. Never raised for what a candidate does."""


class SandboxUnavailable(SandboxError, UsageError):
    """No isolation can be had here; the text names the failed probe and its remedy."""


class TrainingError(RefineError):
    """A training job failed; no adapter of it may be used."""


class PublishError(RefineError):
    """A policy version could not be published; the version before it is still the one served."""


class LedgerError(RefineError):
    """The run's journal could not be read or written."""


class NoSpaceLeft(LedgerError, UsageError):
    """The disk is full; what was acknowledged before is safe."""


class RunPaused(RefineError):
    """The run stopped itself and can be continued by the same command; the text says why."""
