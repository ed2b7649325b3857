# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (PEFT carries no complete types)
"""Low-rank adapters on a base model: put on for one job, taken off after it.

Invariants: adapters are float32 and sit on linear layers, never on the projection: on every one, or on those that the
recipe names, of all layers or of the last ones; the base weights under them are the very same tensors before and after.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from protocols.errors import TrainingError
from protocols.ports import TrainingJob
from trainer.base_model import BaseModel
from trainer.targets import check_targets

ADAPTER = "default"


@contextmanager
def attached(base: BaseModel, job: TrainingJob) -> Generator[Any]:
    """Yield the base model with the job's adapter on it, as a PEFT model; take it off in the end.

    Raises:
        SettingsError: the model has no linear layer of a name that the recipe gives.
        TrainingError: the adapter to go on from does not exist or does not fit.
    """
    if job.start_adapter:
        with put_on(base, Path(job.start_adapter)) as model:
            yield model
        return
    with _taken_off_after(base, _fresh(base, job)) as model:
        yield model


@contextmanager
def put_on(base: BaseModel, folder: Path) -> Generator[Any]:
    """Yield the base model with the adapter in `folder` on it, as a PEFT model; take it off in the end.

    Raises:
        TrainingError: the adapter does not exist or does not fit.
    """
    with _taken_off_after(base, _stored(base, folder)) as model:
        yield model


def merged_weights(model: Any, dtype: torch.dtype = torch.bfloat16) -> dict[str, torch.Tensor]:
    """Return, by their names in the base model, the weights under adapters with these merged in; rounded once."""
    return {
        f"{name.removeprefix('base_model.model.')}.weight": _merged_weight(layer).to(dtype)
        for name, layer in model.named_modules()
        if hasattr(layer, "lora_A")
    }


@contextmanager
def exchanged(base: BaseModel, weights: dict[str, torch.Tensor]) -> Generator[None]:
    """Let the base model compute with other `weights` for a while; its own come back unchanged."""
    parameters = {name: base.model.get_parameter(name) for name in weights}
    kept = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = weights[name].to(device=parameter.device, dtype=parameter.dtype)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = kept[name]


@contextmanager
def _taken_off_after(base: BaseModel, model: Any) -> Generator[Any]:
    try:
        yield model
    finally:
        model.unload()
        base.model.eval().requires_grad_(False)


def _fresh(base: BaseModel, job: TrainingJob) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=job.recipe.rank,
        lora_alpha=job.recipe.alpha,  # type: ignore[arg-type]  # PEFT takes any number
        lora_dropout=job.recipe.dropout,
        target_modules=_targets(base, job.recipe.targets),
        use_dora=job.recipe.dora,
        use_rslora=job.recipe.rslora,
        layers_to_transform=_last_layers(base, job.recipe.layers),
    )
    return get_peft_model(base.model, config)


def _targets(base: BaseModel, names: Sequence[str] | None) -> list[str]:
    """Return the ends of the names of the linear layers that get an adapter; None means all but the projection."""
    linear = [
        name
        for name, layer in base.model.named_modules()
        if isinstance(layer, torch.nn.Linear) and layer is not base.head
    ]
    if names is None:
        return sorted({name.rpartition(".")[2] for name in linear})
    check_targets(names, linear, base.name)
    return list(names)


def _last_layers(base: BaseModel, layers: int | None) -> list[int] | None:
    total: int = base.model.config.num_hidden_layers
    return None if layers is None else list(range(max(0, total - layers), total))


def _stored(base: BaseModel, folder: Path) -> Any:
    from peft import PeftModel

    if not (folder / "adapter_config.json").is_file():
        raise TrainingError(f"adapter {folder} does not exist")
    try:
        return PeftModel.from_pretrained(base.model, str(folder), is_trainable=True)
    except BaseException as error:
        _take_off_leftovers(base)
        if isinstance(error, MemoryError) or not isinstance(error, Exception):
            raise
        raise TrainingError(f"adapter {folder} does not fit model {base.name}: {error}") from error


def _take_off_leftovers(base: BaseModel) -> None:
    """Take off the layers that PEFT had put on the model before it failed."""
    for name, layer in list(base.model.named_modules()):
        if hasattr(layer, "get_base_layer"):
            parent, _, own_name = name.rpartition(".")
            setattr(base.model.get_submodule(parent), own_name, layer.get_base_layer())
    if hasattr(base.model, "peft_config"):
        del base.model.peft_config
    base.model.eval().requires_grad_(False)


def _merged_weight(layer: Any) -> torch.Tensor:
    """Return the sum of base and low-rank product, in float32; under DoRA each row has its trained magnitude."""
    weight: torch.Tensor = layer.get_base_layer().weight.detach()
    delta: torch.Tensor = layer.get_delta_weight(ADAPTER).detach()
    merged = weight.float() + delta.float()
    if ADAPTER not in layer.lora_magnitude_vector:
        return merged
    magnitude: torch.Tensor = layer.lora_magnitude_vector[ADAPTER].weight.detach()
    return merged * (magnitude.float() / merged.norm(dim=1))[:, None]
