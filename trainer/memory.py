# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch carries no complete types)
"""How large a micro-batch the free memory takes, and what running out of it looks like.

What one token keeps until the backward pass is measured, not reckoned from the model's kind: the tensors that autograd
saves for one short row are counted. On Linux a process that takes too much is killed, so nothing is tried out there; on
a GPU the estimate may be wrong, and the step is then done again with less (`trainer.step`). Not covered: memory that
others take during the job.
"""

from pathlib import Path
from typing import Any

import torch

from protocols.ports import TrainingRecipe
from trainer.base_model import BaseModel
from trainer.gradient_checkpointing import bytes_with_checkpointing
from trainer.packing import make_micro_batch
from trainer.rendering import Rendered

SHARE = 0.5
"""Of the free memory that micro-batches may take: the rest is for gradients, the optimiser and what passes need."""
KEPT_ON_CPU = 256 << 20
"""Bytes that the tokens of a lane keep on a CPU at most, where more would hardly save time, unless a micro-batch had
fewer than `ENOUGH_TOKENS` then."""
ENOUGH_TOKENS = 512
PROBE_TOKENS = 256
_ENDLESS = 1 << 62
_GROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"))
"""Where a container sees its own control group: version 2, version 1."""


def affordable_tokens(base: BaseModel, recipe: TrainingRecipe, lanes: int) -> int:
    """Return how many tokens a micro-batch may have; at least 1.

    As many as the recipe says; on a CPU only so many as are worth their memory, and anywhere only so many as the free
    memory takes.

    Args:
        base: the model, with what is trained on it attached.
        recipe: of the job.
        lanes: micro-batches at a time.
    """
    each = base.bytes_per_token.get(recipe)
    if each is None:  # a pass through the model: half of what a warm worker's job would need before its first step
        each = base.bytes_per_token[recipe] = bytes_per_token(base)
    if recipe.gradient_checkpointing:
        each = bytes_with_checkpointing(base.model, each)
    most = recipe.micro_batch_tokens
    if base.device.type == "cpu":
        most = min(most, max(ENOUGH_TOKENS, int(KEPT_ON_CPU / each)))
    share = SHARE * free_bytes(base.device) / (each * most * lanes)
    return max(1, int(most * min(1.0, share)))


def bytes_per_token(base: BaseModel) -> float:
    """Return the bytes that autograd keeps for each token of a row, measured on one that is the same for every job."""
    ids = tuple(at % base.head.out_features for at in range(PROBE_TOKENS + 1))
    batch = make_micro_batch([Rendered(ids, (*(False for _ in ids[1:]), True))], base.device)
    model_storages = {parameter.untyped_storage().data_ptr() for parameter in base.model.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage: Any = tensor.untyped_storage()
        if storage.data_ptr() not in model_storages:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    saving = torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor)
    with torch.random.fork_rng(), saving:  # dropout's draws here are not the job's
        hidden = base.packed_hidden_states(batch.input_ids, batch.position_ids, batch.segments)
    del hidden
    return sum(kept.values()) / batch.tokens


def free_bytes(device: torch.device) -> int:
    """Return the bytes that can still be had: of the GPU, or of the machine and the control group on a CPU."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(_free_of_machine(Path("/proc/meminfo")), *map(_free_of_group, _GROUPS))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether `error` says that memory ran out, on a GPU or a CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _free_of_machine(meminfo: Path) -> int:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return _ENDLESS
    available = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return int(available.split()[1]) << 10 if available else _ENDLESS


def _free_of_group(folder: Path) -> int:
    """Return what a control group of either version leaves; its file caches count as free. Endless without a limit."""
    limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
    if limit is None or used is None:
        return _ENDLESS
    return max(0, limit - used + _file_cache(folder / "memory.stat"))


def _number(path: Path) -> int | None:
    """Return what a file of a control group says; None where there is no such file, or no limit."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _file_cache(statistics: Path) -> int:
    try:
        lines = statistics.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
