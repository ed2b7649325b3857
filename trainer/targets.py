"""Which linear layers get an adapter: the names that settings give, held against those that a model has.

A name means every linear layer whose own name is it or ends in it after a dot, as in PEFT. Not covered before the
worker has loaded the model: models by hub name and weights in other files than safetensors, whose names are not seen.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from protocols.errors import SettingsError

_HEADER_BYTES_MAX = 100 << 20
_IN_A_LAYER = re.compile(r"\.\d+\.")
"""Linear layers stand in the numbered layers; embeddings and the projection do not."""


class _Tensor(msgspec.Struct):
    """What of one entry of a safetensors header is used here; `__metadata__` has no shape."""

    shape: tuple[int, ...] = ()


def check_targets(targets: Sequence[str], linear: Iterable[str], model: str) -> None:
    """Return when every one of `targets` means some of the layers named `linear`.

    Raises:
        SettingsError: one means none; the text names it and those there are.
    """
    names = tuple(linear)
    strange = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in names)]
    if strange:
        there = ", ".join(sorted({name.rpartition(".")[2] for name in names}))
        raise SettingsError(
            f"train.targets: model {model} has no linear layer {' or '.join(map(repr, strange))} that an adapter can "
            f"sit on; it has {there or 'none'}"
        )


def check_stored_targets(model: str, targets: Sequence[str] | None) -> None:
    """Return when every one of `targets` means a layer of the model in folder `model`, as far as its files tell.

    Raises:
        SettingsError: as `check_targets`.
    """
    linear = stored_layers(Path(model)) if targets is not None else ()
    if targets is not None and linear:
        check_targets(targets, linear, model)


def stored_layers(folder: Path) -> tuple[str, ...]:
    """Return the names of the linear layers in a model folder's safetensors files; none where there are no such files.

    Files that cannot be read tell nothing: whoever loads the model will say what is wrong with them.
    """
    return tuple(name for path in sorted(folder.glob("*.safetensors")) for name in _layers_of(path))


def _layers_of(path: Path) -> list[str]:
    try:
        tensors = msgspec.json.decode(_header(path), type=dict[str, _Tensor])
    except (OSError, msgspec.MsgspecError):
        return []
    return [
        name.removesuffix(".weight")
        for name, tensor in tensors.items()
        if name.endswith(".weight") and len(tensor.shape) == 2 and _IN_A_LAYER.search(name)
    ]


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return file.read(min(length, _HEADER_BYTES_MAX))
