"""Consensus: executes tasks without tests against tests that the policy wrote, and finds out who agrees with whom.

It stands in the Executor's place in the pipeline, and uses it. On tasks that have tests it may try the same for the
report's sake alone: what it finds there decides nothing.
"""

import msgspec
import trio

from actors.examiner import Examiner
from actors.executor import Executor
from actors.messages import Executed, Generated
from method.consensus import agreement, compare_choices
from protocols.identity import derive
from protocols.ports import Ledger
from protocols.records import ConsensusTrial, TestOutcome, WrittenTests


class Consensus:
    """Step 2 of the method for tasks without tests.

    Args:
        measured: whether consensus is tried on tasks that have tests as well.
    """

    def __init__(self, executor: Executor, examiner: Examiner, ledger: Ledger, *, measured: bool) -> None:
        self._executor = executor
        self._examiner = examiner
        self._ledger = ledger
        self._measured = measured

    async def execute(self, item: Generated) -> Executed:
        """Return what execution showed, with E by agreement for a task without tests.

        Raises:
            EndpointError: the policy could not be asked for tests.
            SandboxError: the sandbox's own machinery failed.
        """
        if not item.task.tests:
            await self._examiner.examine(item.task, item.round)
            return _agreed(await self._executor.execute(item))
        executed = await self._executor.execute(item)
        if self._measured:
            await self._try(executed)
        return executed

    async def _try(self, item: Executed) -> None:
        trial_id = derive("consensus_trial", item.task.id, item.round)
        if not item.candidates or await self._ledger.get(ConsensusTrial, trial_id) is not None:
            return
        written = await self._examiner.examine(item.task, item.round)
        outcomes = await self._outcomes(item, written)
        choices = compare_choices(
            outcomes,
            {candidate.id: candidate.count for candidate in item.candidates},
            [candidate.id for candidate in item.candidates if item.executions[candidate.id].solved],
        )
        trial = ConsensusTrial(
            id=trial_id,
            task_id=item.task.id,
            round=item.round,
            version=max(candidate.version for candidate in item.candidates),
            tests=len(written.tests),
            right_tests=await self._right_tests(item, written),
            groups=choices.groups,
            decided=choices.decided,
            consensus=choices.consensus,
            random=choices.random,
            majority=choices.majority,
        )
        await self._ledger.append(trial)

    async def _outcomes(self, item: Executed, written: WrittenTests) -> dict[str, tuple[TestOutcome, ...]]:
        """Return what the written tests show of each candidate: one call of the sandbox for each."""
        outcomes: dict[str, tuple[TestOutcome, ...]] = {}

        async def run(subject_id: str, code: str | None) -> None:
            result = await self._executor.measure_against(item.task, code, written.tests)
            outcomes[subject_id] = result.outcomes

        async with trio.open_nursery() as nursery:
            for candidate in item.candidates:
                nursery.start_soon(run, candidate.id, candidate.code)
        return {candidate.id: outcomes[candidate.id] for candidate in item.candidates}

    async def _right_tests(self, item: Executed, written: WrittenTests) -> int | None:
        if item.task.reference is None:
            return None
        result = await self._executor.measure_against(item.task, item.task.reference, written.tests)
        return sum(outcome.passed for outcome in result.outcomes)


def _agreed(item: Executed) -> Executed:
    """Return a task without tests with E by agreement; the incumbent counts as one candidate more."""
    matrix = {
        subject: [outcome.passed for outcome in execution.outcomes] for subject, execution in item.executions.items()
    }
    shares = agreement(matrix, {candidate.id: candidate.count for candidate in item.candidates})
    return msgspec.structs.replace(item, shares=shares, undecided=not any(shares.values()))
