"""Whatever the worker does, the orchestrator gets an answer or a `TrainingError`, and the next job a fresh worker.

The workers here are small scripts that speak the protocol without torch.
"""

import os
import sys
from pathlib import Path

import pytest
import trio

from protocols.errors import TrainingError
from protocols.ports import TrainingProgress
from tests.trainer import tiny
from trainer.messages import PROTOCOL_VERSION, Failed, FailureKind, Hello, Probed, Progress, encode_line
from trainer.process import TrainerProcess, open_trainer

HELLO = encode_line(Hello(protocol=PROTOCOL_VERSION, device="cpu", dtype="float32"))
STEP = encode_line(Progress(progress=TrainingProgress(step=1, steps=2, loss=1.0, learning_rate=0.1, tokens_per_s=1.0)))
PROBED = encode_line(Probed(probes=()))
NAN = encode_line(Failed(kind="loss", message="LossError: loss is nan"))


def command(folder: Path, *script: str) -> tuple[str, ...]:
    """Return the command of a worker that notes its process id, then does `script`."""
    head = [
        "import os, signal, sys, time",
        "say = lambda line: (sys.stdout.buffer.write(line), sys.stdout.flush())",
        "hear = lambda: sys.stdin.buffer.readline() or sys.exit(0)",
        f"open({str(folder / 'pids')!r}, 'a').write(f'{{os.getpid()}}\\n')",
    ]
    return (sys.executable, "-S", "-c", "\n".join([*head, *script]))


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()]


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def trainer_of(folder: Path, *script: str, deadline_s: float = 60.0) -> TrainerProcess:
    return TrainerProcess(
        log_path=folder / "log", threads=1, step_deadline_s=deadline_s, command=command(folder, *script)
    )


async def fails(trainer: TrainerProcess, folder: Path, match: str) -> None:
    with trio.fail_after(60), pytest.raises(TrainingError, match=match):
        await trainer.train(tiny.job("model", folder), lambda _: None)


async def test_a_worker_stays_warm_between_requests(tmp_path: Path) -> None:
    async with open_trainer(
        log_path=tmp_path / "log",
        threads=1,
        step_deadline_s=60,
        command=command(tmp_path, f"say({HELLO!r})", "while True:", f"    hear(); say({PROBED!r})"),
    ) as trainer:
        for _ in range(3):
            assert await trainer.probe("model", ["a"]) == ()
    assert len(pids(tmp_path)) == 1
    assert is_gone(pids(tmp_path)[0])


async def test_requests_at_the_same_time_take_turns(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, f"say({HELLO!r})", "while True:", f"    hear(); say({PROBED!r})")
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(trainer.probe, "model", ["a"])
    await trainer.aclose()
    assert len(pids(tmp_path)) == 1


async def test_a_crash_tells_the_end_of_the_log(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, f"say({HELLO!r}); hear()", "raise RuntimeError('the disk is on fire')")
    await fails(trainer, tmp_path, r"exit code 1(.|\n)*the disk is on fire")


async def test_a_worker_that_cannot_start_tells_why(tmp_path: Path) -> None:
    await fails(trainer_of(tmp_path, "import no_such_module"), tmp_path, "no_such_module")


async def test_a_program_that_does_not_exist_is_a_training_error(tmp_path: Path) -> None:
    trainer = TrainerProcess(log_path=tmp_path / "log", threads=1, step_deadline_s=9, command=("/no/such/program",))
    await fails(trainer, tmp_path, "cannot be started")


async def test_a_kill_from_outside_is_named_as_lack_of_memory(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, f"say({HELLO!r}); hear()", "os.kill(os.getpid(), signal.SIGKILL)")
    await fails(trainer, tmp_path, "memory ran out")


async def test_silence_beyond_the_deadline_kills_the_worker(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, f"say({HELLO!r}); hear(); say({STEP!r})", "time.sleep(600)", deadline_s=1.0)
    await fails(trainer, tmp_path, "no sign of life for 1 s")
    assert is_gone(pids(tmp_path)[0])


async def test_a_failure_that_the_worker_reports_leaves_it_warm(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, f"say({HELLO!r})", "while True:", f"    hear(); say({NAN!r})")
    await fails(trainer, tmp_path, "the loss is not a number: LossError: loss is nan")
    await fails(trainer, tmp_path, "the loss is not a number")
    await trainer.aclose()
    assert len(pids(tmp_path)) == 1


@pytest.mark.parametrize("kind", ["memory", "other"])
async def test_a_failure_that_leaves_it_in_doubt_does_not(tmp_path: Path, kind: FailureKind) -> None:
    failed = encode_line(Failed(kind=kind, message="RuntimeError: could not create a primitive"))
    trainer = trainer_of(tmp_path, f"say({HELLO!r})", "while True:", f"    hear(); say({failed!r})")
    await fails(trainer, tmp_path, "could not create a primitive")
    assert is_gone(pids(tmp_path)[0])
    await fails(trainer, tmp_path, "could not create a primitive")
    await trainer.aclose()
    assert len(pids(tmp_path)) == 2


async def test_after_a_crash_the_next_request_gets_a_fresh_worker(tmp_path: Path) -> None:
    once = f"first = len(open({str(tmp_path / 'pids')!r}).readlines()) == 1"
    trainer = trainer_of(tmp_path, once, f"say({HELLO!r}); hear()", "first and os._exit(3)", f"say({PROBED!r}); hear()")
    await fails(trainer, tmp_path, "exit code 3")
    assert await trainer.probe("model", ["a"]) == ()
    await trainer.aclose()
    assert len(pids(tmp_path)) == 2


async def test_cancelling_a_job_kills_its_worker(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, f"say({HELLO!r}); hear(); say({STEP!r})", "time.sleep(600)")
    with trio.fail_after(60), trio.CancelScope() as scope:
        await trainer.train(tiny.job("model", tmp_path), lambda _: scope.cancel())
    assert scope.cancelled_caught
    assert is_gone(pids(tmp_path)[0])


async def test_a_worker_of_another_protocol_is_refused(tmp_path: Path) -> None:
    other = encode_line(Hello(protocol=99, device="cpu", dtype="float32"))
    await fails(trainer_of(tmp_path, f"say({other!r}); hear()"), tmp_path, "protocol 99")
    assert is_gone(pids(tmp_path)[0])


async def test_a_line_that_is_none_of_the_protocol_is_an_error(tmp_path: Path) -> None:
    await fails(trainer_of(tmp_path, f"say({HELLO!r}); hear(); say(b'Loading...\\n'); hear()"), tmp_path, "unreadable")


async def test_a_line_may_be_far_longer_than_a_pipe_holds(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, f"say({HELLO!r})", f"hear(); say({PROBED!r}); hear()")
    assert await trainer.probe("model", ["x" * (1 << 20)] * 3) == ()
    await trainer.aclose()


async def test_the_worker_gets_its_threads_an_allocator_that_keeps_memory_and_a_bounded_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    trainer = trainer_of(tmp_path, "print(os.environ['OMP_NUM_THREADS'], sorted(os.environ), file=sys.stderr)")
    await fails(
        trainer, tmp_path, r"1 \[(.|\n)*(MALLOC_TRIM_THRESHOLD_|LD_PRELOAD)(.|\n)*ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    )
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
