"""An adapter that was trained before, merged into a whole model; inside the worker."""

from pathlib import Path

from trainer.adapter import write_whole_model
from trainer.base_model import BaseModel
from trainer.low_rank import exchanged, merged_weights, put_on


def write_merged_model(base: BaseModel, adapter: Path, folder: Path) -> None:
    """Write into `folder` the model that `base` and the adapter are together: the very weights that a job writes.

    The base model is as before afterwards.

    Raises:
        TrainingError: the adapter does not exist, or does not fit the model.
        OSError: the model could not be written; what was written of it is left to the caller to remove.
    """
    with put_on(base, adapter) as model:
        merged = merged_weights(model)
    with exchanged(base, merged):
        write_whole_model(base, folder)
