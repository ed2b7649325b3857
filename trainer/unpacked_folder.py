"""A folder that appears whole or not at all, with a manifest of what was written into it.

Invariants: the folder is renamed into place after its last byte is on disk; whoever holds its lock is the only one
that makes it; the manifest is written last. It is no defence against somebody who edits the folder on purpose:
a later run compares sizes, not contents (`verify_contents` does).
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

MANIFEST = "unpacked.json"
_CHUNK_BYTES = 1 << 20


class WrittenFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the folder."""

    name: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the folder was made from, and what it holds."""

    recipe: int
    """Version of the program's way of unpacking; a folder of another recipe is made again."""
    source: str
    """Whatever identifies the source: a hash, or a file's name, size and time."""
    files: tuple[WrittenFile, ...]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's contents, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def is_whole(folder: Path, recipe: int, source: str) -> bool:
    """Tell, without reading any weights, whether `folder` was made from `source` and has every file in its size."""
    manifest = read_manifest(folder)
    if manifest is None or (manifest.recipe, manifest.source) != (recipe, source):
        return False
    return all(_size(folder / file.name) == file.size_bytes for file in manifest.files)


def verify_contents(folder: Path) -> tuple[str, ...]:
    """Return the names of files that are missing or whose contents are not those of the manifest."""
    manifest = read_manifest(folder)
    if manifest is None:
        return (MANIFEST,)
    return tuple(file.name for file in manifest.files if not _matches(folder / file.name, file))


def read_manifest(folder: Path) -> Manifest | None:
    """Return the folder's manifest; None when there is none that can be read."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the folder's lock. Blocks while another process holds it; the lock dies with its holder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_folder(folder: Path, recipe: int, source: str, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a temporary folder beside `folder`, add the manifest, and rename it into place.

    The caller holds the lock. Something that stands at `folder` already is replaced. When `fill` raises, nothing of it
    is left.
    """
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fill(temporary)
        _finish(temporary, recipe, source)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync(path: Path) -> None:
    """Return when a file's contents, or a folder's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Return when every file and folder below `folder`, and `folder` itself, is on disk."""
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)


def _finish(folder: Path, recipe: int, source: str) -> None:
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    for path in paths:
        path.chmod(0o644)
    files = tuple(WrittenFile(name=path.name, size_bytes=_size(path), sha256=sha256_of(path)) for path in paths)
    manifest = Manifest(recipe=recipe, source=source, files=files)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    folder.chmod(0o755)
    sync_tree(folder)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _matches(path: Path, file: WrittenFile) -> bool:
    return _size(path) == file.size_bytes and sha256_of(path) == file.sha256
