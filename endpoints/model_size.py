"""How many bytes a model folder's weights and its key-value cache take, read from the folder's own files.

Not covered: models by hub name, whose files are not here; they are `None`, and the server itself finds out.
"""

from pathlib import Path

import msgspec

_WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
_WEIGHTS = ("*.safetensors", "*.bin")


class ModelSize(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of one model at one dtype, in bytes."""

    weights_bytes: int
    cache_bytes_per_token: int


class _Config(msgspec.Struct, frozen=True):
    """What of `config.json` is used here."""

    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    dtype: str | None = None
    torch_dtype: str | None = None


def model_size(model: str, dtype: str) -> ModelSize | None:
    """Return the sizes of the model in folder `model` when served as `dtype`.

    None when it is not a folder with weights and a configuration of a decoder-only transformer.
    """
    folder = Path(model)
    stored = sum(path.stat().st_size for path in _weight_files(folder))
    config = _config(folder)
    if not stored or config is None:
        return None
    stored_width = _WIDTH.get(config.dtype or config.torch_dtype or dtype, _WIDTH[dtype])
    return ModelSize(
        weights_bytes=stored * _WIDTH[dtype] // stored_width,
        cache_bytes_per_token=_values_per_token(config) * _WIDTH[dtype],
    )


def _weight_files(folder: Path) -> list[Path]:
    for pattern in _WEIGHTS:
        if files := sorted(folder.glob(pattern)):
            return files
    return []


def _config(folder: Path) -> _Config | None:
    try:
        return msgspec.json.decode((folder / "config.json").read_bytes(), type=_Config)
    except (OSError, msgspec.MsgspecError):
        return None


def _values_per_token(config: _Config) -> int:
    """Keys and values of every layer."""
    width = config.head_dim or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * (config.num_key_value_heads or config.num_attention_heads) * width
