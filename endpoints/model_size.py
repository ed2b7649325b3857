"""How many bytes a model folder's weights and its key-value cache take, read from the folder's own files.

Not covered: models by hub name, whose files are not here; they are `None`, and the server itself finds out.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

_WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
_WEIGHTS = ("*.safetensors", "*.bin")


class ModelSize(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of one model at one dtype, in bytes."""

    weights_bytes: int
    cache_bytes_per_token: int


def model_size(model: str, dtype: str) -> ModelSize | None:
    """Return the sizes of the model in folder `model` when served as `dtype`.

    None when it is not a folder with weights and a configuration of a decoder-only transformer.
    """
    folder = Path(model)
    stored = sum(path.stat().st_size for path in _weight_files(folder))
    config = _config(folder)
    if not stored or config is None:
        return None
    stored_width = _WIDTH.get(str(config.get("dtype") or config.get("torch_dtype")), _WIDTH[dtype])
    try:
        per_token = _values_per_token(config) * _WIDTH[dtype]
    except (KeyError, TypeError, ZeroDivisionError):
        return None
    return ModelSize(weights_bytes=stored * _WIDTH[dtype] // stored_width, cache_bytes_per_token=per_token)


def _weight_files(folder: Path) -> list[Path]:
    for pattern in _WEIGHTS:
        if files := sorted(folder.glob(pattern)):
            return files
    return []


def _config(folder: Path) -> dict[str, Any] | None:
    try:
        data = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _values_per_token(config: dict[str, Any]) -> int:
    """Keys and values of every layer."""
    heads = int(config["num_attention_heads"])
    key_value_heads = int(config.get("num_key_value_heads") or heads)
    width = int(config.get("head_dim") or config["hidden_size"] // heads)
    return 2 * int(config["num_hidden_layers"]) * key_value_heads * width
