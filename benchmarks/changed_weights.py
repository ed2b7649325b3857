"""Weights to publish in benchmarks and trials without training: a LoRA adapter of noise, and a changed base model.

Neither is a better model; they have the shapes, sizes and formats of real ones, and other log-probabilities. Written
byte by byte, so that nothing here needs torch.
"""

import json
import random
import shutil
import struct
from array import array
from pathlib import Path
from typing import Any

_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_SCALE = 0.02


def write_adapter(model: Path, folder: Path, *, rank: int = 16, seed: int = 0) -> Path:
    """Write a LoRA adapter on every linear layer of the model in folder `model`, of noise; return `folder`."""
    noise = random.Random(seed)
    shapes = _linear_shapes(model)
    tensors: dict[str, tuple[list[int], bytes]] = {}
    for name, (rows, columns) in shapes.items():
        prefix = "base_model.model." + name.removesuffix(".weight")
        tensors[f"{prefix}.lora_A.weight"] = ([rank, columns], _noise(rank * columns, noise))
        tensors[f"{prefix}.lora_B.weight"] = ([rows, rank], _noise(rows * rank, noise))
    folder.mkdir(parents=True)
    _write_safetensors(folder / "adapter_model.safetensors", tensors)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(model),
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(_LINEAR),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def write_changed_model(model: Path, folder: Path) -> Path:
    """Write a copy of the model in folder `model` with half of its final norm's weights zeroed; return `folder`."""
    shutil.copytree(model, folder)
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    header, start = _header(data)
    begin, end = header["model.norm.weight"]["data_offsets"]
    data[start + begin : start + (begin + end) // 2] = bytes((end - begin) // 2)
    path.write_bytes(data)
    return folder


def _linear_shapes(model: Path) -> dict[str, tuple[int, int]]:
    with (model / "model.safetensors").open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    return {
        name: tuple(entry["shape"])
        for name, entry in header.items()
        if name.endswith(".weight") and name.split(".")[-2] in _LINEAR
    }


def _noise(count: int, noise: random.Random) -> bytes:
    return array("f", (noise.gauss(0.0, _SCALE) for _ in range(count))).tobytes()


def _header(data: bytes | bytearray) -> tuple[dict[str, Any], int]:
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), 8 + size


def _write_safetensors(path: Path, tensors: dict[str, tuple[list[int], bytes]]) -> None:
    header: dict[str, Any] = {}
    offset = 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.writelines(data for _, data in tensors.values())
