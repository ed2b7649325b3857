from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.trainer import tiny
from trainer.base_model import BaseModel, load_base_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> BaseModel:
    return load_base_model(str(tiny_model), torch.device("cpu"), torch.float32)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread, so that sums are made in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
