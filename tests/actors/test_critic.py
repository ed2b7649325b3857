"""The Critic: few low-quality candidates, rare patterns first, each revision run."""

from contextlib import suppress

import pytest

from actors.critic import Critic, split_critique
from actors.executor import Executor
from actors.fake import ScriptedChat
from actors.messages import Criticised, Judged
from ledger.memory import MemoryLedger
from protocols.errors import RefineError
from protocols.ports import ChatRequest
from protocols.records import Critique, Execution, Incumbent
from sandbox.fake import FakeSandbox
from tests.actors.parts import (
    LIMITS,
    BrittleLedger,
    Fault,
    fenced,
    good,
    half,
    honest_sandbox,
    make_candidate,
    make_decision,
    make_execution,
    make_task,
    raise_error,
    reference_of,
)

TASK = make_task(2)
NEVER = raise_error(AssertionError("asked"))


def judged(*passed: tuple[bool, bool], round: int = 0, incumbent: Incumbent | None = None, number: int = 2) -> Judged:
    """A task whose candidates passed these tests, all of them of low quality."""
    task = make_task(number)
    candidates = tuple(
        make_candidate(task, index, f"def f{number}(x): return {index}", round=round) for index in range(len(passed))
    )
    executions = {one.id: make_execution(task, one.id, row) for one, row in zip(candidates, passed, strict=True)}
    executions["reference"] = make_execution(task, "reference", (True, True))
    decision = make_decision(
        task, ("critique",), incumbent=incumbent, critique_ids=tuple(one.id for one in candidates), round=round
    )
    return Judged(task=task, round=round, candidates=candidates, executions=executions, decision=decision)


def make_critic(
    ledger: MemoryLedger,
    chat: ScriptedChat | None = None,
    *,
    sandbox: FakeSandbox | None = None,
    per_task: int = 2,
    per_round: int | None = None,
) -> Critic:
    executor = Executor(sandbox or honest_sandbox(), ledger, limits=LIMITS, references="anchor")
    return Critic(
        chat or saying(good(2)),
        executor,
        ledger,
        per_task=per_task,
        per_round=per_round,
        temperature=0.2,
        max_tokens=99,
        stop=("\n```\n",),
    )


def saying(revision: str | None, *, finish_reason: str = "stop") -> ScriptedChat:
    code = f"\n```python\n{revision}\n```" if revision is not None else ""
    return ScriptedChat("critic", lambda request: f"It is wrong.{code}", finish_reason=finish_reason)


def patterns(done: Criticised) -> set[str]:
    return {critique.pattern for critique in done.critiques}


async def test_one_candidate_for_each_error_pattern() -> None:
    chat = saying(good(2))
    item = judged((True, False), (True, False), (False, True))
    done = await make_critic(MemoryLedger(), chat).criticise(item)
    assert patterns(done) == {"wrong_answer@1", "wrong_answer@0"}
    assert {critique.candidate_id for critique in done.critiques} == {item.candidates[0].id, item.candidates[2].id}
    assert len(chat.requests) == 2


@pytest.mark.parametrize("per_task", [0, 1, 2])
async def test_no_more_than_allowed(per_task: int) -> None:
    chat = saying(good(2))
    done = await make_critic(MemoryLedger(), chat, per_task=per_task).criticise(
        judged((True, False), (False, True), (False, False))
    )
    assert len(done.critiques) == len(chat.requests) == per_task


async def test_no_more_in_one_round_than_allowed_and_as_many_in_the_next() -> None:
    critic = make_critic(MemoryLedger(), per_round=3)
    wanted = ((True, False), (False, True))
    made = [
        len((await critic.criticise(judged(*wanted, round=round, number=number))).critiques)
        for round in range(2)
        for number in (2, 3, 4)
    ]
    assert made == [2, 1, 0] * 2


async def test_what_the_round_has_had_is_known_after_a_restart() -> None:
    ledger = MemoryLedger()
    await make_critic(ledger, per_round=2).criticise(judged((True, False), number=3))
    critic = make_critic(ledger, per_round=2)
    await critic.restore()
    done = await critic.criticise(judged((True, False), (False, True)))
    assert len(done.critiques) == 1


async def test_patterns_that_the_run_has_seen_least_often_come_first() -> None:
    ledger = MemoryLedger()
    critic = make_critic(ledger, per_task=1)
    seen = [
        patterns(await critic.criticise(judged((True, False), (False, True), round=round))).pop() for round in range(4)
    ]
    assert seen == ["wrong_answer@1", "wrong_answer@0"] * 2


async def test_what_was_seen_is_known_after_a_restart() -> None:
    ledger = MemoryLedger()
    await make_critic(ledger, per_task=1).criticise(judged((True, False), round=0))
    critic = make_critic(ledger, per_task=1)
    await critic.restore()
    assert patterns(await critic.criticise(judged((True, False), (False, True), round=1))) == {"wrong_answer@0"}


@pytest.mark.parametrize(
    ("revision", "verified"), [(good(2), True), (half(2), False), ("def f2(:", False), (None, False)]
)
@pytest.mark.parametrize("with_incumbent", [True, False])
async def test_a_revision_is_verified_when_it_passes_what_the_incumbent_passes(
    revision: str | None, verified: bool, with_incumbent: bool
) -> None:
    incumbent = reference_of(TASK) if with_incumbent else None
    done = await make_critic(MemoryLedger(), saying(revision)).criticise(judged((False, False), incumbent=incumbent))
    (critique,) = done.critiques
    assert (critique.verified, critique.text) == (verified, "It is wrong.")
    assert (critique.revision is None) == (revision is None)


async def test_a_half_right_incumbent_is_standard_enough() -> None:
    item = judged((True, False), (False, False))
    incumbent = Incumbent(subject_id=item.candidates[0].id, origin="self", code=half(2))
    decision = make_decision(TASK, ("critique",), incumbent=incumbent, critique_ids=(item.candidates[1].id,))
    item = Judged(task=item.task, round=0, candidates=item.candidates, executions=item.executions, decision=decision)
    (critique,) = (await make_critic(MemoryLedger(), saying(half(2))).criticise(item)).critiques
    assert critique.verified


async def test_the_critic_sees_candidate_execution_and_incumbent_and_stops_after_its_code() -> None:
    chat = saying(good(2))
    item = judged((True, False), incumbent=reference_of(TASK))
    await make_critic(MemoryLedger(), chat).criticise(item)
    assert chat.requests[0].stop == ("\n```\n",)
    content = chat.requests[0].messages[0].content
    for part in (item.candidates[0].code, "1 of 2 tests passed", good(2), TASK.instruction):
        assert part is not None
        assert part in content


async def test_a_revisions_execution_is_on_record_with_its_critique() -> None:
    ledger = MemoryLedger()
    (critique,) = (await make_critic(ledger, saying(half(2))).criticise(judged((False, False)))).critiques
    (execution,) = await ledger.find(Execution)
    assert (execution.subject_id, execution.share) == (critique.id, 0.5)


async def test_after_a_restart_nothing_on_record_is_asked_for_again() -> None:
    ledger = MemoryLedger()
    item = judged((True, False), (False, True), (False, False))
    first = await make_critic(ledger).criticise(item)
    again = make_critic(ledger, ScriptedChat("critic", NEVER), sandbox=FakeSandbox(NEVER))
    await again.restore()
    assert await again.criticise(item) == first


async def test_after_a_crash_between_two_critiques_only_the_other_is_asked_for() -> None:
    ledger = MemoryLedger()
    item = judged((True, False), (False, True), (False, False))
    (kept,) = (await make_critic(ledger, per_task=1).criticise(item)).critiques
    chat = saying(good(2))
    again = make_critic(ledger, chat)
    await again.restore()
    done = await again.criticise(item)
    assert kept in done.critiques
    assert len(chat.requests) == 1
    assert patterns(done) == {"wrong_answer@1", "wrong_answer@0"}


@pytest.mark.parametrize("at", [1, 2])
async def test_a_crash_never_leaves_the_execution_of_a_revision_without_its_critique(at: int) -> None:
    """What is asked for again may be another revision: the execution on record would not be its own."""
    ledger = BrittleLedger(at=at, act=raise_error(Fault("disk")))
    with suppress(ExceptionGroup):
        await make_critic(ledger, saying(half(2))).criticise(judged((False, False)))
    subjects = {execution.subject_id for execution in await ledger.find(Execution)}
    assert subjects == {critique.id for critique in await ledger.find(Critique)}


async def test_handled_again_after_a_failure_the_choice_stands() -> None:
    ledger = MemoryLedger()
    failing = [True]

    def answer(request: ChatRequest) -> str:
        if failing and failing.pop():
            raise Fault("down")
        return f"It is wrong.\n{fenced(good(2))}"

    critic = make_critic(ledger, ScriptedChat("critic", answer), per_task=1)
    item = judged((True, False), (False, True))
    with pytest.raises(ExceptionGroup) as caught:
        await critic.criticise(item)
    assert caught.group_contains(RefineError)
    assert patterns(await critic.criticise(item)) == {"wrong_answer@1"}
    assert patterns(await critic.criticise(judged((True, False), (False, True), round=1))) == {"wrong_answer@0"}


async def test_a_critique_that_the_endpoint_cut_off_says_so() -> None:
    chat = ScriptedChat("critic", lambda request: "It is wrong because", finish_reason="length")
    (critique,) = (await make_critic(MemoryLedger(), chat).criticise(judged((False, False)))).critiques
    assert critique.truncated
    whole = saying(good(2), finish_reason="length")
    (critique,) = (await make_critic(MemoryLedger(), whole).criticise(judged((False, False)))).critiques
    assert not critique.truncated


def test_a_critique_is_split_before_its_first_code_block() -> None:
    assert split_critique(f"Wrong.\n\n```python\n{good(2)}\n```\nDone.", "f2") == ("Wrong.", good(2))
    assert split_critique("Only words.", "f2") == ("Only words.", None)
    assert split_critique("def f2(x): return 1", "f2") == ("def f2(x): return 1", None)
