# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (transformers and PEFT carry no complete types)
"""Writes an adapter, and the merged weights if they are wanted, as one folder that appears whole or not at all.

Invariants: the folder's name is the version and the content hash of the adapter's weights, so it is never reused for
other weights; nothing is at that name before everything in it is on disk.
"""

import copy
import hashlib
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from trainer.base_model import BaseModel
from trainer.unpacked_folder import sha256_of, sync, sync_tree

WEIGHTS = "adapter_model.safetensors"
MERGED = "merged"


@contextmanager
def staging_folder(output_folder: Path, version: int) -> Generator[Path]:
    """Yield a new hidden folder below `output_folder`; unless it was published, nothing of it is left.

    What a worker that was killed left of such a folder is removed.
    """
    output_folder.mkdir(parents=True, exist_ok=True)
    for left in output_folder.glob(".v[0-9]*.*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".v{version:04d}.", dir=output_folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_adapter(model: Any, folder: Path) -> str:
    """Write a PEFT model's adapter into `folder`; return the SHA-256 of its weights, hexadecimal."""
    model.save_pretrained(folder)
    return sha256_of(folder / WEIGHTS)


def hash_of_weights(folder: Path) -> str:
    """Return one SHA-256, hexadecimal, of a whole model's weights: of its file's, or of its files' together."""
    digests = [sha256_of(path) for path in sorted(folder.glob("*.safetensors"))]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def write_whole_model(base: BaseModel, folder: Path) -> None:
    """Write the base model's current weights in bfloat16, with config and tokenizer."""
    base.model.save_pretrained(folder, state_dict=_bfloat16_state(base.model))
    config = copy.deepcopy(base.model.config)
    config.dtype = torch.bfloat16  # what was saved just now names the type that the base computes in
    config.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)


def publish_folder(staged: Path, version: int, content_hash: str) -> Path:
    """Give a staged folder its name once everything in it is on disk; return its new path."""
    for path in staged.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    staged.chmod(0o755)
    sync_tree(staged)
    folder = staged.with_name(f"v{version:04d}-{content_hash[:8]}")
    if folder.exists():  # the same job, done again: the same weights
        shutil.rmtree(folder)
    staged.rename(folder)
    sync(folder.parent)
    return folder


def _bfloat16_state(model: Any) -> dict[str, torch.Tensor]:
    """Return all weights in bfloat16; tied ones stay one tensor, so that they are written once."""
    cast: dict[int, torch.Tensor] = {}
    state: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in cast:
            cast[tensor.data_ptr()] = tensor.to(device="cpu", dtype=torch.bfloat16)
        state[name] = cast[tensor.data_ptr()]
    return state
