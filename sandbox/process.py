"""Runs jobs in warm, isolated slots: the pool of them, and the sandbox's own doings as a whole.

A slot (`sandbox.slot`) serves one job at a time; it is started when it is first needed, kept warm, and closed and
replaced after `RUNS_PER_SLOT` runs and at anything unexpected, a forbidden system call included. Who runs next is
`sandbox.turns`' rule, what happens to a job's tests `sandbox.execution`'s. Slots for candidates and slots for tests are
different ones, each started by this process: no expected value is ever in a candidate's slot, unless a test has to run
in the candidate's own process.

A sandbox owns processes from its first job until `aclose`, or until the process that holds it ends, however it ends.
"""

import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, Self

import trio

from protocols.errors import SandboxError, SandboxUnavailable
from protocols.ports import Job, JobResult
from sandbox.bundle import build
from sandbox.canaries import Tell, probe
from sandbox.execution import MAX_JOB_BYTES, OutOfTurn, Progress
from sandbox.groups import find_roots
from sandbox.packages import Packages, find_packages
from sandbox.plan import plan_of
from sandbox.slot import SetUpFailed, Slot, SlotDied, SlotSettings
from sandbox.turns import Turns

RUNS_PER_SLOT = 5_000
_FIRST_USER_ID = 60_800
_USER_IDS = 380

_Role = Literal["candidate", "tests"]
"""What a slot is for, all its life: one that has seen tests never runs a candidate that they are for."""


class ProcessSandbox:
    """A `Sandbox` on this machine.

    Args:
        workers: jobs that run at the same time (`sandbox.turns` allows one more, so that short ones are not starved).
        interpreter: Python that runs the candidates; None is the one that runs this.
        scratch_folder: where the slots' folders are made; None is the system's temporary folder.
        tier: `namespaces`, `landlock`, `unsafe`, or `auto` for the first of the first two that holds here.
        packages: what candidates may import besides the standard library (see `sandbox.packages`).
        preload: modules to import once for all runs.
        scratch_bytes: what all files of one run may take.
        scratch_files: how many files and folders one run may have.
    """

    def __init__(
        self,
        workers: int,
        interpreter: str | None = sys.executable,
        scratch_folder: Path | None = None,
        *,
        tier: Literal["auto", "namespaces", "landlock", "unsafe"] = "auto",
        packages: tuple[str, ...] = (),
        preload: tuple[str, ...] = (),
        scratch_bytes: int = 4 << 20,
        scratch_files: int = 512,
    ) -> None:
        self._turns = Turns(workers)
        # Another sandbox on this machine should have other users, for the kernel counts processes by user.
        self._user_ids = [_FIRST_USER_ID + (16 * os.getpid() + number) % _USER_IDS for number in range(2 * workers + 2)]
        self._interpreter = interpreter or sys.executable
        self._scratch_folder = scratch_folder
        self._tiers = ("namespaces", "landlock") if tier == "auto" else (tier,)
        self._names = packages
        self._preload = preload
        self._scratch = scratch_bytes, scratch_files
        self._settings: SlotSettings | None = None
        self._tier: str | None = None
        self._check = trio.Lock()
        self._idle: dict[_Role, list[tuple[Slot, int]]] = {"candidate": [], "tests": []}

    @property
    def tier(self) -> str:
        """The isolation that `check` found; empty before it."""
        return self._tier or ""

    async def __aenter__(self) -> Self:
        """Nothing is started yet."""
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End every slot that has nothing to do. A sandbox that is used again afterwards starts new ones."""
        for idle in self._idle.values():
            while idle:
                slot, user_id = idle.pop()
                self._user_ids.append(user_id)
                await slot.close()

    async def check(self, tell: Tell = lambda probed: None) -> str:
        """Run the canary programs, harmless and hostile, and return the tier that holds here.

        Args:
            tell: is told of each.

        Raises:
            SandboxUnavailable: a probe came out otherwise than it must; names it and what helps. Nothing is executed
                by `run` either then.
        """
        async with self._check:
            return await self._find_tier(tell)

    async def run(self, job: Job) -> JobResult:
        """Run `job`, as `protocols.ports.Sandbox` promises; the first call checks the sandbox if nobody has.

        Raises:
            SandboxUnavailable: as `check`.
            SandboxError: the sandbox's own machinery failed, twice in a row, before any of the job's code ran.
        """
        if self._tier is None:
            await self._check_once()
        result = await self._run_unchecked(job)
        if result.tier != self._tier:
            raise SandboxError(f"the sandbox ran a job as {result.tier!r} though {self._tier!r} was found at the start")
        return result

    async def _check_once(self) -> None:
        async with self._check:
            if self._tier is None:
                await self._find_tier()

    async def _find_tier(self, tell: Tell = lambda probed: None) -> str:
        self._tier = None
        if sys.platform != "linux":
            raise SandboxUnavailable(
                f"Candidates cannot be isolated on {sys.platform}, so nothing is executed. What helps: run in a Linux "
                "virtual machine or container, or name a remote sandbox."
            )
        bundle = await build(self._interpreter)
        packages = await find_packages(self._interpreter, self._names)
        refusals: list[str] = []
        for tier in self._tiers:
            await self.aclose()  # what is warm was started for another tier
            self._settings = self._settings_of(tier, bundle, packages)
            try:
                self._tier = await probe(self._run_unchecked, tell)
            except SandboxError as error:
                refusals.append(str(error))
                await self.aclose()
            else:
                return self._tier
        raise SandboxUnavailable(f"No isolation to be had here, so nothing is executed. {' '.join(refusals)}")

    def _settings_of(self, tier: str, bundle: bytes, packages: Packages) -> SlotSettings:
        return SlotSettings(
            interpreter=self._interpreter,
            bundle=bundle,
            tier=tier,
            user_id=0,
            scratch_folder=self._scratch_folder,
            scratch_bytes=self._scratch[0],
            scratch_files=self._scratch[1],
            packages=packages.files,
            path=packages.path,
            preload=self._preload,
            groups=find_roots(),
        )

    async def _run_unchecked(self, job: Job) -> JobResult:
        start = time.monotonic()
        plan = plan_of(job)
        if _size(job) > MAX_JOB_BYTES:
            await trio.lowlevel.checkpoint()
            return plan.refused(f"code and tests are over {MAX_JOB_BYTES} bytes: not run", tier=self.tier)
        progress = Progress(job, plan)
        tier = await self._complete(job, progress)
        return plan.result(progress.reports, tier=tier, wall_s=time.monotonic() - start)

    async def _complete(self, job: Job, progress: Progress) -> str:
        """Give the job turns until it is done, and return the tier that it ran under."""
        kind = self._turns.first(job.code)
        failures = 0
        while True:
            async with self._turns.turn(kind) as turn:
                try:
                    async with self._slot("candidate") as slot:
                        end = partial(self._turns.end_of, turn)
                        await progress.advance(slot, partial(self._slot, "tests"), end)
                        if progress.violated:
                            slot.spent = True
                        if progress.timed_out:
                            self._turns.remember_slow(job.code)
                        return slot.tier
                except OutOfTurn:
                    kind = "long"
                except SlotDied:
                    continue
                except SetUpFailed as error:
                    failures += 1
                    if failures > 1:
                        raise SandboxError(f"a test's process could not be set up: {error}") from error

    @asynccontextmanager
    async def _slot(self, role: _Role) -> AsyncGenerator[Slot]:
        slot, user_id = await self._take_slot(role)
        keep = False
        try:
            yield slot
            keep = not slot.spent and slot.runs < RUNS_PER_SLOT
        except OutOfTurn:
            keep = True
            raise
        finally:
            if keep:
                self._idle[role].append((slot, user_id))
            else:
                self._user_ids.append(user_id)
                await slot.close()

    async def _take_slot(self, role: _Role) -> tuple[Slot, int]:
        while self._idle[role]:
            slot, user_id = self._idle[role].pop()
            if slot.is_alive:
                return slot, user_id
            self._user_ids.append(user_id)
            await slot.close()
        assert self._settings is not None
        user_id = self._user_ids.pop()
        try:
            return await Slot.start(replace(self._settings, user_id=user_id)), user_id
        except BaseException:
            self._user_ids.append(user_id)
            raise


def _size(job: Job) -> int:
    return len(job.code) + len(job.setup) + sum(len(str(test)) for test in job.tests)
