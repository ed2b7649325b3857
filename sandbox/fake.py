"""A `Sandbox` that runs nothing: a script says what each job shows. Keeps the contract of the real one, for tests."""

from collections.abc import Callable

import trio

from protocols.ports import Job, JobResult


class FakeSandbox:
    """Answers each job with what `script` returns; what `script` raises, `run` raises.

    Args:
        script: called once for each job, in order of arrival.
    """

    def __init__(self, script: Callable[[Job], JobResult]) -> None:
        self._script = script
        self.jobs: list[Job] = []
        """Every job that was run, in order."""

    async def run(self, job: Job) -> JobResult:
        """Return the script's result for `job`. A checkpoint, as the real one is; a cancelled job is not recorded."""
        await trio.lowlevel.checkpoint()
        self.jobs.append(job)
        return self._script(job)
