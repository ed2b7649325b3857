# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch carries no complete types)
"""Where a job got to, on disk, so that it goes on after a kill as if nothing had been.

Invariants: a checkpoint is whole or not there; it is taken up only by the very same job, computed in the same way
(type, device, threads), so that on a CPU the outcome is the same to the bit; there is at most one for each output
folder, that of the last job. Not covered: a base model that changed under the same name.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch

from protocols.ports import TrainingJob
from trainer.base_model import BaseModel
from trainer.random_state import random_state, set_random_state
from trainer.unpacked_folder import sync

FOLDER = ".checkpoints"
"""Beside the versions' folders."""
_FILE = "state.pt"


@dataclass
class Done:
    """What a job has done so far."""

    losses: list[float] = field(default_factory=list[float])
    """Mean per loss-carrying token, one for each step."""
    tokens: int = 0
    loss_tokens: int = 0
    earlier_s: float = 0.0
    """Spent on it, up to the checkpoint that it went on from."""
    began_at: float = field(default_factory=time.perf_counter)
    """When this worker's first step could begin, on its own clock."""


class Checkpoints:
    """The checkpoints of one job.

    Args:
        folder: the job's own, below `FOLDER`.
        every: steps between two checkpoints; 0: none are written, and none is taken up.
        device: that the job computes on.
    """

    def __init__(self, folder: Path, every: int, device: torch.device) -> None:
        self._folder = folder
        self._every = every
        self._device = device

    def restore(self, parameters: Sequence[torch.nn.Parameter], optimiser: torch.optim.Optimizer) -> Done:
        """Put everything as it was at the last checkpoint and return what was done until then; without one, nothing.

        A checkpoint that cannot be read counts as none.
        """
        path = self._folder / _FILE
        if not self._every or not path.is_file():
            return Done()
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError):
            return Done()
        with torch.no_grad():
            for parameter, kept in zip(parameters, state["parameters"], strict=True):
                parameter.copy_(kept)
        optimiser.load_state_dict(state["optimiser"])
        set_random_state(state["random"], self._device)
        return Done(**state["done"], began_at=time.perf_counter())

    def keep(
        self, parameters: Sequence[torch.nn.Parameter], optimiser: torch.optim.Optimizer, done: Done, last: int
    ) -> None:
        """Write a checkpoint, if one is due after as many steps as `done` has; the last step needs none.

        Raises:
            OSError: it could not be written; the one before it is still there.
        """
        step = len(done.losses)
        if not self._every or step % self._every or step == last:
            return
        state = {
            "parameters": [parameter.detach() for parameter in parameters],
            "optimiser": optimiser.state_dict(),
            "random": random_state(self._device),
            "done": _as_of_now(done),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{_FILE}"
        try:
            with temporary.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._folder / _FILE)
        finally:
            temporary.unlink(missing_ok=True)
        sync(self._folder)


def checkpoints_of(base: BaseModel, job: TrainingJob) -> Checkpoints:
    """Return the checkpoints of `job`; those of any other job in its output folder are removed."""
    folder = Path(job.output_folder, FOLDER, _key(base, job))
    others = folder.parent.iterdir() if folder.parent.is_dir() else ()
    for other in [path for path in others if path != folder]:
        shutil.rmtree(other, ignore_errors=True)
    return Checkpoints(folder, job.recipe.checkpoint_steps, base.device)


def remove_checkpoints(job: TrainingJob) -> None:
    """Leave no checkpoint in the job's output folder."""
    shutil.rmtree(Path(job.output_folder, FOLDER), ignore_errors=True)


def _key(base: BaseModel, job: TrainingJob) -> str:
    """Return a name for everything that decides what the job computes."""
    recipe = msgspec.structs.replace(job.recipe, checkpoint_steps=0)
    what = msgspec.structs.replace(job, output_folder="", recipe=recipe)
    how = (base.device.type, str(base.dtype), torch.get_num_threads(), str(torch.__version__))
    return hashlib.sha256(msgspec.json.encode((what, how))).hexdigest()[:16]


def _as_of_now(done: Done) -> dict[str, Any]:
    kept = asdict(done)
    return kept | {"earlier_s": done.earlier_s + time.perf_counter() - kept.pop("began_at")}
