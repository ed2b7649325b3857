# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (transformers and tokenizers carry no complete types)
"""Unpacks a GGUF file into the folder form that transformers, PEFT and vLLM read.

Weights are dequantised to bfloat16; tokenizer, chat template and the ids that end an answer come from the file itself.
It needs torch, so it runs in a process of its own (`python -m trainer.embedded_model`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocols.errors import ModelError
from trainer.unpacked_folder import is_whole, locked, make_folder

RECIPE = 1
"""Raise it whenever the folder's contents would come out differently."""


def unpack_gguf(gguf_path: Path, folder: Path, progress: Callable[[str], None], source: str | None = None) -> None:
    """Unpack `gguf_path` into `folder`, unless it is there already.

    Args:
        gguf_path: the file.
        folder: where the model's folder is to appear, whole or not at all.
        progress: told in words what is being done.
        source: what identifies the file's contents; None: its name, size and time of change.

    Raises:
        ModelError: the file does not exist, or holds no chat template.
    """
    source = source or identity_of(gguf_path)
    with locked(folder):
        if is_whole(folder, RECIPE, source):
            return
        progress(f"unpacking {gguf_path.name}")
        make_folder(folder, RECIPE, source, lambda temporary: _convert(gguf_path, temporary, progress))


def identity_of(gguf_path: Path) -> str:
    """Return what identifies a file without reading it.

    Raises:
        ModelError: there is no such file.
    """
    try:
        status = gguf_path.stat()
    except OSError as error:
        raise ModelError(f"GGUF file {gguf_path} cannot be read: {error}") from error
    return f"{gguf_path.name}:{status.st_size}:{status.st_mtime_ns}"


def _convert(gguf_path: Path, folder: Path, progress: Callable[[str], None]) -> None:
    tokenizer = _read_tokenizer(gguf_path)
    ends = _end_ids(tokenizer)
    tokenizer.save_pretrained(folder)
    progress("unpacking weights to bfloat16")
    model = _read_model(gguf_path)
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)


def _read_model(gguf_path: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    model: Any = AutoModelForCausalLM.from_pretrained(
        str(gguf_path.parent),
        gguf_file=gguf_path.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.name_or_path = ""
    return model


def _read_tokenizer(gguf_path: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(gguf_path.parent), gguf_file=gguf_path.name)
    if not tokenizer.chat_template:
        raise ModelError(f"GGUF file {gguf_path} holds no chat template; only chat models can be refined")
    if _pre_tokenizer_name(gguf_path) == "smollm":
        _split_digits(tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.model_max_length = 1 << 20  # the model's own limit stands in its config; a huge float upsets JSON readers
    return tokenizer


def _pre_tokenizer_name(gguf_path: Path) -> str:
    from gguf import GGUFReader

    field = GGUFReader(gguf_path).fields.get("tokenizer.ggml.pre")
    return str(field.contents()) if field is not None else ""


def _split_digits(tokenizer: Any) -> None:
    """Cut digits off one by one, as the model was trained; the conversion of transformers forgets it."""
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _end_ids(tokenizer: Any) -> list[int]:
    """Return the ids at which an answer ends: the tokenizer's own, and what its chat template closes a turn with."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    text: str = tokenizer.apply_chat_template(turns, tokenize=False)
    ids: list[int] = tokenizer(text.rstrip(), add_special_tokens=False)["input_ids"]
    ends = [tokenizer.eos_token_id, ids[-1] if ids[-1] in tokenizer.all_special_ids else None]
    return sorted({int(end) for end in ends if end is not None})
