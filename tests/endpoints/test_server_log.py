from pathlib import Path

import pytest

from endpoints.server_log import classify, read_tail
from protocols.errors import ModelDoesNotFit, PortTaken, ServerDied, ServerError


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("OSError: [Errno 98] Address already in use", PortTaken),
        ("error while attempting to bind on address ('127.0.0.1', 8000): address already in use", PortTaken),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", ModelDoesNotFit),
        ("RuntimeError: [enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory", ModelDoesNotFit),
        ("ValueError: No available memory for the cache blocks.", ModelDoesNotFit),
        ("ValueError: Available memory on node 0 is less than desired CPU memory utilization (0.92)", ModelDoesNotFit),
        ("ValueError: Free memory on device cuda:0 (3/24 GiB) is less than desired GPU memory", ModelDoesNotFit),
        (
            "ValueError: 4 GiB KV cache is needed, which is larger than the available KV cache memory",
            ModelDoesNotFit,
        ),
        ("terminate called after throwing an instance of 'std::bad_alloc'", ModelDoesNotFit),
        ("MemoryError", ModelDoesNotFit),
        ("KeyError: 'lm_head.weight'", ServerDied),
        ("INFO available memory: 12 GiB", ServerDied),
        ("", ServerDied),
    ],
)
def test_the_last_words_tell_why_it_ended(tail: str, expected: type[ServerError]) -> None:
    assert classify(tail) is expected


def test_killed_without_a_word_is_the_kernels_memory_killer() -> None:
    assert classify("INFO all is well", 137) is ModelDoesNotFit
    assert classify("INFO all is well", 1) is ServerDied


def test_the_tail_is_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {i}\n" for i in range(100)))
    assert read_tail(log, 2) == "line 98\nline 99"


def test_nothing_of_an_earlier_start_is_in_the_tail(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("out of memory\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.write("second life\n")
    assert read_tail(log, start=start) == "second life"


def test_a_log_that_is_huge_or_not_text_is_read_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\xff" * 10_000_000 + b"\nlast")
    assert read_tail(log, 1) == "last"


def test_no_log_is_no_tail(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "none") == ""
