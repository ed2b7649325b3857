"""A test in one slot talks with the candidate in another: both runs, and the messages carried between them.

Messages are carried, not read: what they mean is `sandbox.inside.proxy`'s affair, on either side. The test asks, the
candidate answers, one message each at a time; a message over the result limit ends the candidate. The run that ends
first ends the other.
"""

from dataclasses import dataclass, field

import trio

from protocols.errors import SandboxError
from sandbox.slot import Answer, RunAnswer, RunRequest, SetUpFailed, Slot, SlotDied

_MOST_QUESTION = 16 << 20


@dataclass(frozen=True)
class Conversation:
    """What came of the two runs."""

    candidate: RunAnswer
    tests: RunAnswer
    candidate_ended: bool
    """Whether the candidate's process ended before the test was done: the report is then its own."""
    out_of_turn: bool
    """Whether the turn was over before either ended."""


@dataclass
class _Side:
    slot: Slot
    request: RunRequest
    answer: RunAnswer | None = None
    error: SlotDied | SetUpFailed | SandboxError | None = None
    over: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        try:
            self.answer = await self.slot.run(self.request)
        except (SlotDied, SetUpFailed, SandboxError) as error:
            self.slot.spent = True
            self.error = error
        self.over.set()


async def converse(slot: Slot, serving: RunRequest, tests_slot: Slot, testing: RunRequest) -> Conversation:
    """Run the candidate on `slot` and the test on `tests_slot` until both have ended.

    Raises:
        SlotDied: the candidate's slot ended.
        SetUpFailed, SandboxError: as `Slot.run`, of either.
    """
    candidate, tests = _Side(slot, serving), _Side(tests_slot, testing)
    stop = _Stop()
    # Before anything is awaited: else what the run before left might be heard as the first message of this one.
    slot.forget()
    tests_slot.forget()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(candidate.run)
        nursery.start_soon(tests.run)
        nursery.start_soon(_end_tests, candidate, tests, stop)
        nursery.start_soon(_end_candidate, candidate, tests, stop)
        with trio.CancelScope() as scope:
            stop.carrying = scope
            await _carry(candidate, tests, stop)
        await candidate.over.wait()
        await tests.over.wait()
        nursery.cancel_scope.cancel()
    return _result(candidate, tests, stop)


@dataclass
class _Stop:
    carrying: trio.CancelScope | None = None
    tests_first: bool = False
    flooded: bool = False

    def now(self) -> None:
        if self.carrying is not None:
            self.carrying.cancel()


async def _end_tests(candidate: _Side, tests: _Side, stop: _Stop) -> None:
    """When the candidate has ended, tell the test that nobody answers any more."""
    await candidate.over.wait()
    stop.now()
    if not tests.over.is_set():
        try:
            await tests.slot.stop()
        except SlotDied:
            tests.slot.spent = True


async def _end_candidate(candidate: _Side, tests: _Side, stop: _Stop) -> None:
    """When the test has ended, end the candidate."""
    await tests.over.wait()
    stop.now()
    if not candidate.over.is_set():
        stop.tests_first = True
        try:
            await candidate.slot.stop()
        except SlotDied:
            candidate.slot.spent = True


async def _carry(candidate: _Side, tests: _Side, stop: _Stop) -> None:
    most = candidate.request.result_bytes + 4096
    try:
        # Its greeting: what is said to it before it listens is thrown away with what a run before left unread.
        await tests.slot.listen(_MOST_QUESTION)
        while (answer := await candidate.slot.listen(most)) is not None:
            await tests.slot.speak(answer)
            question = await tests.slot.listen(_MOST_QUESTION)
            if question is None:
                break
            await candidate.slot.speak(question)
        else:
            stop.flooded = True
        await candidate.slot.stop()
    except SlotDied:
        return  # whoever runs the side that died finds out as well


def _result(candidate: _Side, tests: _Side, stop: _Stop) -> Conversation:
    for side in (candidate, tests):
        if side.error is not None:
            if side is tests and isinstance(side.error, SlotDied):
                raise SandboxError("the slot for tests ended while a test ran")
            raise side.error
    assert candidate.answer is not None
    assert tests.answer is not None
    end = candidate.answer.over.end
    answer = candidate.answer
    if stop.flooded and end == "turn":
        over = answer.over
        flooded = Answer("output_limit", 0, over.cpu_s, over.wall_s, over.peak_bytes, over.out, over.err, b"")
        answer = RunAnswer(answer.tests, flooded)
    out_of_turn = not stop.flooded and not stop.tests_first and end == "turn"
    out_of_turn = out_of_turn or (stop.tests_first and tests.answer.over.end == "turn" and not tests.answer.tests)
    return Conversation(answer, tests.answer, not stop.tests_first, out_of_turn)
