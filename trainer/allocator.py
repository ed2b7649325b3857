"""The environment that a training process needs on a CPU: threads, an allocator that keeps its memory, bounded caches.

glibc's malloc gives large blocks back to the kernel at once and faults them in again on the next step; that cost up to
half of a training step. Told to keep them it is as fast as mimalloc, but what it keeps is soon in pieces: every
micro-batch has a length of its own, and a long job came to half as much memory again.

oneDNN compiles every product for its shape, and keeps 1,024 of them: 0.5 to 0.9 MB each. What one layer does to the
micro-batches of a moment must fit, or everything is compiled again in every layer (four times the time): about 30
products, and five for each shape of a block of attention.
"""

import sysconfig
from collections.abc import Mapping
from pathlib import Path

_MIMALLOC = Path("cmeel.prefix", "lib", "libmimalloc.so")
"""Where the package `cmeel-mimalloc` has it, within a folder of packages."""
_KEEP_FREE_MEMORY = {"MIMALLOC_PURGE_DELAY": "-1"}
"""Of mimalloc. It would give free memory back after a moment: on a small model a step takes 7 % longer then."""
_COMPILED_PRODUCTS = 256
"""Enough for two micro-batches at a time with 32 shapes of blocks between them."""
_GLIBC = {
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


def worker_environment(inherited: Mapping[str, str], threads: int, mimalloc: Path | None) -> dict[str, str]:
    """Return the worker's environment.

    Args:
        inherited: the environment to start from; a preload in it is kept.
        threads: cores to compute on.
        mimalloc: library to preload; None: glibc's allocator, told to keep its memory.
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
    if mimalloc is None:
        return {**environment, **_GLIBC}
    preloads = [str(mimalloc), *filter(None, [inherited.get("LD_PRELOAD")])]
    return {**environment, **_KEEP_FREE_MEMORY, "LD_PRELOAD": ":".join(preloads)}


def find_mimalloc() -> Path | None:
    """Return the installed package's library; None where there is none, as on a machine with a GPU."""
    path = Path(sysconfig.get_path("purelib")) / _MIMALLOC
    return path if path.is_file() else None
