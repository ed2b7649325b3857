"""The environment that a training process needs on a CPU: threads, an allocator that keeps its memory, bounded caches.

glibc's malloc gives large blocks back to the kernel at once and faults them in again on the next step; that cost up to
half of a training step. tcmalloc does not, nor does glibc once told so.

oneDNN compiles every product for its shape, and keeps 1,024 of them: 0.5 to 0.9 MB each, and each micro-batch has a
length of its own. What one layer does to the micro-batches of a moment must fit, or everything is compiled again in
every layer (four times the time): about 30 products, and five for each shape of a block of attention.
"""

from collections.abc import Mapping
from pathlib import Path

_TCMALLOC_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
_TCMALLOC_NAMES = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")
_COMPILED_PRODUCTS = 384
"""Enough for two micro-batches at a time, each with 32 shapes of blocks."""
_GLIBC = {
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


def worker_environment(inherited: Mapping[str, str], threads: int, tcmalloc: Path | None) -> dict[str, str]:
    """Return the worker's environment.

    Args:
        inherited: the environment to start from; a preload in it is kept.
        threads: cores to compute on.
        tcmalloc: library to preload; None: glibc's allocator, told to keep its memory.
    """
    count = str(threads)
    environment = {
        **inherited,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": str(_COMPILED_PRODUCTS),
        "TOKENIZERS_PARALLELISM": "false",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTHONUNBUFFERED": "1",
    }
    if tcmalloc is None:
        return {**environment, **_GLIBC}
    preloads = [str(tcmalloc), *filter(None, [inherited.get("LD_PRELOAD")])]
    return {**environment, "LD_PRELOAD": ":".join(preloads)}


def find_tcmalloc() -> Path | None:
    """Return the installed tcmalloc; None when there is none."""
    candidates = (Path(folder, name) for folder in _TCMALLOC_FOLDERS for name in _TCMALLOC_NAMES)
    return next((path for path in candidates if path.is_file()), None)
