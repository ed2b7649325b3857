# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (transformers carries no complete types)
"""Full fine-tuning: all of the base model's weights, as float32 masters for one job.

Invariants: optimiser and gradients are float32, whatever the base computes in, so that no step is lost to rounding;
the base model's own tensors are put aside and come back the very same. Memory: sixteen bytes a weight besides the base
model itself (masters, gradients, two moments of AdamW).
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch

from protocols.errors import TrainingError
from trainer.base_model import BaseModel, load_base_model

Masters = dict[str, torch.nn.Parameter]
"""All weights by their names; tied ones once."""


@contextmanager
def whole_weights(base: BaseModel, start: Path | None) -> Generator[Masters]:
    """Let the base model compute with trainable float32 copies of its weights for a while.

    Args:
        base: the model.
        start: folder of a whole model whose weights to begin with; None: the base model's own.

    Raises:
        TrainingError: the folder holds no model of the base's form.
    """
    masters: Masters = dict(base.model.named_parameters())
    beginning = _beginning(base, masters, start)
    kept = {name: parameter.data for name, parameter in masters.items()}
    try:
        for name, parameter in masters.items():
            parameter.data = beginning[name].to(device=base.device, dtype=torch.float32, copy=True)
            parameter.requires_grad_(True)
        del beginning
        yield masters
    finally:
        for name, parameter in masters.items():
            parameter.requires_grad_(False)
            parameter.grad = None
            parameter.data = kept[name]
        base.model.eval()


def rounded(masters: Masters) -> dict[str, torch.Tensor]:
    """Return the masters as they are written and served: in bfloat16, rounded once."""
    return {name: parameter.detach().to(torch.bfloat16) for name, parameter in masters.items()}


def _beginning(base: BaseModel, masters: Masters, start: Path | None) -> dict[str, torch.Tensor]:
    if start is None:
        return {name: parameter.data for name, parameter in masters.items()}
    if not (start / "config.json").is_file():
        raise TrainingError(f"the whole model to go on from does not exist: {start}")
    other = load_base_model(str(start), torch.device("cpu"), torch.bfloat16)
    found = {name: parameter.data for name, parameter in other.model.named_parameters()}
    if {name: one.shape for name, one in found.items()} != {name: one.shape for name, one in masters.items()}:
        raise TrainingError(f"the model in {start} is not of the form of {base.name}")
    return found
