"""What tests of several rooms share."""

from functools import partial
from pathlib import Path

import pytest
import trio

from commands.model_cache import CACHE
from trainer.model_folder import resolve_model


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """Folder of the embedded default model, unpacked once into the user's cache."""
    return Path(trio.run(partial(resolve_model, "embedded", CACHE)))
