"""The sandbox that the settings name, opened and closed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from endpoints.machine import this_machine
from protocols.ports import Limits, Sandbox
from protocols.settings import SandboxSettings
from sandbox.canaries import Tell
from sandbox.http import HttpSandbox
from sandbox.process import ProcessSandbox
from sandbox.repetition import RepeatingSandbox


class CheckedSandbox(Sandbox, Protocol):
    """A sandbox that can prove itself."""

    async def check(self, tell: Tell = ...) -> str:
        """Probe it, telling of each probe, and return its tier.

        Raises:
            SandboxUnavailable: nothing can be executed; the text says why and what helps.
        """
        ...


@asynccontextmanager
async def open_sandbox(settings: SandboxSettings) -> AsyncGenerator[CheckedSandbox]:
    """Yield the sandbox that `settings` name, not checked yet; everything it holds is gone afterwards."""
    if settings.backend == "http":
        async with HttpSandbox(settings.urls, at_once=workers_of(settings)) as sandbox:
            yield sandbox
    else:
        async with ProcessSandbox(
            workers=workers_of(settings),
            interpreter=settings.interpreter,
            tier=settings.tier,
            packages=settings.packages,
            preload=settings.preload,
            scratch_bytes=settings.scratch_bytes,
            scratch_files=settings.scratch_files,
        ) as sandbox:
            yield sandbox


def workers_of(settings: SandboxSettings) -> int:
    """Return how many jobs run at the same time."""
    return settings.workers or len(this_machine().cores)


def repeating(sandbox: Sandbox, settings: SandboxSettings) -> Sandbox:
    """Return `sandbox`, over which failures are repeated if `settings` say so."""
    return RepeatingSandbox(sandbox) if settings.repeat_failures else sandbox


def limits_of(settings: SandboxSettings) -> Limits:
    """Return the limits that the settings give."""
    return Limits(
        cpu_s=settings.cpu_s,
        wall_s=settings.wall_s,
        memory_bytes=settings.memory_bytes,
        output_bytes=settings.output_bytes,
        file_bytes=settings.file_bytes,
        processes=settings.threads,
    )
