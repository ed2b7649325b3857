# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (transformers carries no complete types)
"""Memory for time: layers of which only the input is kept, and which are computed again in the backward pass.

Done by transformers and `torch.utils.checkpoint`. The numbers are those of a job without it.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from protocols.errors import ModelError
from protocols.ports import TrainingRecipe


@contextmanager
def checkpointed_layers(model: Any, recipe: TrainingRecipe) -> Generator[None]:
    """Compute the layers of `model`, which must be in training mode, again in the backward pass if the recipe says so.

    Raises:
        ModelError: its kind cannot.
    """
    if not recipe.gradient_checkpointing:
        yield
        return
    try:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError as error:
        raise ModelError(f"train.gradient_checkpointing cannot be used with this model: {error}") from error
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()


def bytes_with_checkpointing(model: Any, each: float) -> float:
    """Return what a token keeps in the worst moment: the input of each layer, and all of the one computed again.

    Args:
        model: any causal language model of transformers.
        each: bytes that a token keeps without.
    """
    layers = model.config.num_hidden_layers
    return each / layers + layers * model.config.hidden_size * model.dtype.itemsize
