import os
import subprocess
import sys
from pathlib import Path

from trainer.allocator import find_mimalloc, worker_environment

LIBRARY = Path("/packages/libmimalloc.so")


def test_mimalloc_stands_before_what_was_preloaded_and_keeps_free_memory() -> None:
    environment = worker_environment({"LD_PRELOAD": "/lib/other.so"}, 2, LIBRARY)
    assert environment["LD_PRELOAD"] == "/packages/libmimalloc.so:/lib/other.so"
    assert environment["MIMALLOC_PURGE_DELAY"] == "-1"
    assert not [name for name in environment if name.startswith("MALLOC_")]


def test_without_it_the_c_library_keeps_free_memory_and_the_preload_stays() -> None:
    environment = worker_environment({"LD_PRELOAD": "/lib/other.so"}, 2, None)
    assert environment["LD_PRELOAD"] == "/lib/other.so"
    assert {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} <= environment.keys()


def test_a_process_started_so_really_has_the_locked_packages_allocator() -> None:
    environment = worker_environment(os.environ, 1, find_mimalloc())
    show = "print(open('/proc/self/maps').read())"
    mapped = subprocess.run((sys.executable, "-c", show), env=environment, capture_output=True, text=True, check=True)
    assert "libmimalloc" in mapped.stdout
    assert not mapped.stderr
