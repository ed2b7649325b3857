"""Runs what failed a second time: a candidate that then passes disagrees with itself, and is marked as flaky.

Works over any `Sandbox`. The first run's verdict stands, so that repetition never turns a failure into a success. A
candidate that passed is believed, one that does not parse too, and of several tests that timed out only the first is
repeated: each costs its whole time limit.
"""

import msgspec

from protocols.ports import Job, JobResult, Sandbox
from protocols.records import TestOutcome


class RepeatingSandbox:
    """A `Sandbox` that repeats failures of another one.

    Args:
        sandbox: runs every job, and once more the tests that failed.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def run(self, job: Job) -> JobResult:
        """Run `job`, as `protocols.ports.Sandbox` promises; costs of the second run are added.

        Raises:
            SandboxError: as the inner sandbox's.
        """
        first = await self._sandbox.run(job)
        places = _worth_repeating(first.outcomes)
        if not places:
            return first
        again = msgspec.structs.replace(job, tests=tuple(job.tests[place] for place in places))
        second = await self._sandbox.run(again)
        return _merged(first, second, places)


def _worth_repeating(outcomes: tuple[TestOutcome, ...]) -> list[int]:
    places: list[int] = []
    timed_out = False
    for place, outcome in enumerate(outcomes):
        late = outcome.error_class == "timeout"
        if not outcome.passed and outcome.error_class != "syntax" and not (late and timed_out):
            places.append(place)
        timed_out = timed_out or late
    return places


def _merged(first: JobResult, second: JobResult, places: list[int]) -> JobResult:
    outcomes = list(first.outcomes)
    for place, repeated in zip(places, second.outcomes, strict=True):
        if repeated.passed:
            outcomes[place] = msgspec.structs.replace(outcomes[place], flaky=True)
    return msgspec.structs.replace(
        first,
        outcomes=tuple(outcomes),
        flaky=any(outcome.flaky for outcome in outcomes),
        cpu_s=first.cpu_s + second.cpu_s,
        wall_s=first.wall_s + second.wall_s,
        peak_bytes=max(first.peak_bytes, second.peak_bytes),
    )
