"""Which kind of failure an exception in the worker is, for the record of it."""

import errno
import re

from protocols.errors import ModelError, SettingsError, TrainingError
from trainer.memory import is_out_of_memory
from trainer.messages import FailureKind
from trainer.rendering import RenderingError
from trainer.step import LossError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_IN_WORDS = re.compile(rf"os error ({'|'.join(map(str, _FULL))})\)|PytorchStreamWriter failed writing file")
"""Libraries that write by themselves (safetensors, torch) tell of a full disk in their own errors' text."""


def kind_of(error: Exception) -> FailureKind:
    """Return the kind of `error`."""
    match error:
        case LossError():
            return "loss"
        case RenderingError():
            return "examples"
        case ModelError() | SettingsError() | TrainingError():
            return "model"
        case _ if is_out_of_memory(error):
            return "memory"
        case OSError() if error.errno in _FULL:
            return "disk"
        case _ if _FULL_IN_WORDS.search(str(error)):
            return "disk"
        case _:
            return "other"
