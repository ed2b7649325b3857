"""Tasks without tests: the policy writes some, agreement decides, and on tasks that have tests it can be tried."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import trio

from actors.consensus import Consensus
from actors.critic import Critic
from actors.examiner import Examiner
from actors.executor import Executor
from actors.fake import ScriptedChat, ScriptedPolicy
from actors.judge import Judge
from actors.messages import Executed, Generated
from actors.panel import Panel
from ledger.memory import MemoryLedger
from method.decision_rule import DecisionRule
from protocols.identity import REFERENCE
from protocols.ports import ChatRequest
from protocols.records import (
    AssertTest,
    ConsensusTrial,
    Decision,
    Example,
    Execution,
    Quarantined,
    StdioTest,
    Task,
    WrittenTests,
)
from tests.actors.parts import (
    LIMITS,
    base_version,
    fenced,
    good,
    half,
    honest_sandbox,
    make_candidate,
    make_task,
    raise_error,
    raising,
    right_judge,
    wrong,
)
from tests.actors.whole import ROUNDS, CrashingLedger, start_without_tests

References = Literal["anchor", "hidden"]
TESTED = make_task(3)
OPEN = msgspec.structs.replace(TESTED, tests=())
LONE = msgspec.structs.replace(OPEN, reference=None)
RIGHT = "assert f3(0) == 3\nassert f3(2) == 5\nassert f3(10) == 13"
MIXED = f"{RIGHT}\nassert f3(1) == 99\nassert g(1) == 1"
OTHER_GOOD = "def f3(x):\n    total = 3\n    return x + total"


class Stage:
    """Consensus on fakes; the policy answers with what `texts` says."""

    def __init__(
        self,
        texts: Callable[[ChatRequest, int], list[str]] | str,
        *,
        measured: bool = False,
        drops: bool = True,
        references: References = "anchor",
    ) -> None:
        self.ledger = MemoryLedger()
        self.sandbox = honest_sandbox()
        script = texts if callable(texts) else lambda request, version: [fenced(texts)]
        self.policy = ScriptedPolicy(script, base_version())
        self.executor = Executor(self.sandbox, self.ledger, limits=LIMITS, references=references)
        examiner = Examiner(
            self.policy,
            self.executor,
            self.ledger,
            tests=8,
            answers=1,
            temperature=0.8,
            max_tokens=99,
            stop=("\n```\n",),
            drops=drops,
            seed=7,
        )
        self.consensus = Consensus(self.executor, examiner, self.ledger, measured=measured)

    async def execute(self, *codes: str | None, task: Task = OPEN, round: int = 0) -> Executed:
        candidates = tuple(make_candidate(task, index, code, round=round) for index, code in enumerate(codes))
        await self.ledger.append(*candidates)
        return await self.consensus.execute(Generated(task=task, round=round, candidates=candidates))


def shares(done: Executed) -> list[float]:
    return [done.share(candidate.id) for candidate in done.candidates]


class TestWriting:
    async def test_the_policy_is_asked_once_in_a_run_however_many_rounds_there_are(self) -> None:
        stage = Stage(RIGHT)
        await stage.execute(good(3))
        await stage.execute(half(3), round=1)
        ((_, request),) = stage.policy.requests
        assert request.stop == ("\n```\n",)
        assert [message.role for message in request.messages] == ["user", "assistant", "user"]
        assert "Write f3" in request.messages[-1].content
        (written,) = await stage.ledger.find(WrittenTests)
        assert [getattr(test, "code", "") for test in written.tests] == RIGHT.splitlines()
        assert written.answers == (fenced(RIGHT),)

    async def test_what_the_reference_fails_is_dropped_and_recorded(self) -> None:
        stage = Stage(MIXED)
        await stage.execute(good(3))
        (written,) = await stage.ledger.find(WrittenTests)
        assert len(written.tests) == 3
        assert written.dropped == (AssertTest(code="assert f3(1) == 99"),)
        assert written.unusable == 1

    @pytest.mark.parametrize(("task", "drops"), [(LONE, True), (OPEN, False)])
    async def test_without_a_reference_to_use_nothing_is_dropped(self, task: Task, drops: bool) -> None:
        stage = Stage(MIXED, drops=drops)
        await stage.execute(good(3), task=task)
        (written,) = await stage.ledger.find(WrittenTests)
        assert (len(written.tests), written.dropped) == (4, ())

    async def test_a_program_is_asked_for_pairs_in_a_structured_answer(self) -> None:
        program = Task(id="p", kind="stdio", instruction="Write f1: print 1.")
        stage = Stage(lambda request, version: ['{"tests": [{"stdin": "", "stdout": "1"}]}'])
        await stage.execute("print(1)", task=program)
        (written,) = await stage.ledger.find(WrittenTests)
        assert written.tests == (StdioTest(stdin="", stdout="1"),)
        assert stage.policy.requests[0][1].schema is not None

    async def test_what_could_not_be_used_is_asked_for_again_in_the_next_round_only(self) -> None:
        answers = iter(["I cannot.", RIGHT])
        stage = Stage(lambda request, version: [next(answers)])
        first = await stage.execute(good(3))
        assert (await stage.execute(good(3))).undecided
        second = await stage.execute(good(3), round=1)
        assert (first.undecided, second.undecided) == (True, False)
        assert len(stage.policy.requests) == 2


class TestAgreement:
    async def test_e_is_the_groups_score_and_the_evidence_says_so(self) -> None:
        stage = Stage(RIGHT, references="hidden")
        done = await stage.execute(good(3), OTHER_GOOD, half(3), wrong(3))
        # {good, other}: 2 x 3 = 6; {half}: 1 x 1; {wrong}: 0.
        assert shares(done) == pytest.approx([1.0, 1.0, 1 / 6, 0.0])
        assert {execution.evidence for execution in done.executions.values()} == {"consensus"}
        assert not done.undecided

    async def test_each_subject_is_one_call_of_the_sandbox_with_all_tests(self) -> None:
        stage = Stage(RIGHT, drops=False)
        await stage.execute(good(3), half(3))
        assert [len(job.tests) for job in stage.sandbox.jobs] == [3, 3, 3]

    async def test_the_incumbent_counts_as_one_more(self) -> None:
        done = await Stage(RIGHT).execute(good(3), wrong(3), "def f3(x):\n    return 'no' * 5")
        assert done.share(REFERENCE) == 1.0
        assert shares(done) == [1.0, 0.0, 0.0]

    async def test_nothing_on_record_is_written_or_run_again(self) -> None:
        stage = Stage(RIGHT, references="hidden")
        first = await stage.execute(good(3), half(3))
        jobs = len(stage.sandbox.jobs)
        assert await stage.execute(good(3), half(3)) == first
        assert (len(stage.sandbox.jobs), len(stage.policy.requests)) == (jobs, 1)

    async def test_a_response_without_code_fails_every_written_test(self) -> None:
        stage = Stage(RIGHT)
        done = await stage.execute(None, good(3))
        assert len(done.executions[done.candidates[0].id].outcomes) == 3
        assert shares(done) == [0.0, 1.0]

    @pytest.mark.parametrize("texts", ["I cannot.", "assert f3(0) == 'never'"])
    async def test_without_tests_or_agreement_nothing_is_decided(self, texts: str) -> None:
        done = await Stage(texts, references="hidden").execute(good(3), wrong(3))
        assert done.undecided

    async def test_consensus_off_leaves_the_task_undecided(self) -> None:
        stage = Stage(RIGHT)
        candidates = (make_candidate(OPEN, 0, good(3)),)
        assert (await stage.executor.execute(Generated(task=OPEN, round=0, candidates=candidates))).undecided


def make_judge(panel: Panel, ledger: MemoryLedger, *, lazy: bool = True, references: References = "anchor") -> Judge:
    return Judge(
        panel,
        ledger,
        schedule="anchor",
        w_max=0.5,
        lazy=lazy,
        calibrate=0.0,
        max_pairs=4,
        decision_rule=DecisionRule(references=references),
    )


class TestDecision:
    async def test_the_winner_becomes_the_incumbent_and_the_others_are_criticised(self) -> None:
        stage = Stage(RIGHT, references="hidden")
        done = await stage.execute(half(3), good(3), OTHER_GOOD)
        panel = Panel([right_judge()], stage.ledger, max_tokens=50)
        decision = (await make_judge(panel, stage.ledger, references="hidden").judge(done)).decision
        assert decision.kinds == ("adopt", "critique")
        assert decision.answer_id == done.candidates[1].id
        assert decision.critique_ids == (done.candidates[0].id,)
        assert [score.execution_share for score in decision.scores] == pytest.approx([1 / 6, 1.0, 1.0])

    async def test_what_is_undecided_is_skipped_and_asked_of_nobody(self) -> None:
        stage = Stage("I cannot.")
        silent = ScriptedChat("judge", raise_error(AssertionError("asked")))
        panel = Panel([silent], stage.ledger, max_tokens=50)
        done = await stage.execute(good(3), raising(3))
        decision = (await make_judge(panel, stage.ledger, lazy=False).judge(done)).decision
        assert decision.kinds == ("skip",)
        assert decision.incumbent is not None
        assert decision.critique_ids == ()

    async def test_an_adopted_answer_defends_its_place_in_the_next_round(self) -> None:
        stage = Stage(RIGHT, references="hidden")
        judge = make_judge(Panel([right_judge()], stage.ledger, max_tokens=50), stage.ledger, references="hidden")
        first = await judge.judge(await stage.execute(good(3)))
        second = await judge.judge(await stage.execute(half(3), round=1))
        assert second.decision.incumbent == first.decision.incumbent
        assert second.decision.kinds == ("critique",)

    async def test_a_revision_is_run_against_the_written_tests(self) -> None:
        stage = Stage(RIGHT, references="hidden")
        judge = make_judge(Panel([right_judge()], stage.ledger, max_tokens=50), stage.ledger, references="hidden")
        judged = await judge.judge(await stage.execute(half(3), good(3)))
        chat = ScriptedChat("critic", lambda request: f"It forgets x.\n{fenced(OTHER_GOOD)}")
        critic = Critic(
            chat,
            stage.executor,
            stage.ledger,
            per_task=2,
            per_round=None,
            temperature=0.0,
            max_tokens=99,
            stop=(),
        )
        (critique,) = (await critic.criticise(judged)).critiques
        assert critique.verified
        assert "1 of 3 guessed tests, which may be wrong, passed." in chat.requests[0].messages[0].content
        revision = next(one for one in await stage.ledger.find(Execution) if one.subject_id == critique.id)
        assert (revision.evidence, len(revision.outcomes)) == ("consensus", 3)


class TestReliability:
    """Agreement teaches about the judges as well, apart from what tests teach."""

    async def consensus_only(self) -> tuple[Stage, Panel]:
        stage = Stage(RIGHT, references="hidden")
        panel = Panel([right_judge()], stage.ledger, max_tokens=50)
        done = await stage.execute(half(3), good(3), OTHER_GOOD, wrong(3))
        await make_judge(panel, stage.ledger, lazy=False, references="hidden").judge(done)
        return stage, panel

    async def test_where_no_task_has_tests_it_comes_from_agreement(self) -> None:
        _, panel = await self.consensus_only()
        assert panel.reliability > 0.5

    async def test_it_is_the_same_after_a_restart(self) -> None:
        stage, panel = await self.consensus_only()
        again = Panel([right_judge()], stage.ledger, max_tokens=50)
        await again.restore()
        assert again.reliability == panel.reliability

    async def test_what_tests_prove_comes_first(self) -> None:
        stage, panel = await self.consensus_only()
        assert panel.reliability != pytest.approx(2 / 3)
        item = await stage.execute(half(4), good(4), task=make_task(4))
        await make_judge(panel, stage.ledger, lazy=False, references="hidden").judge(item)
        again = Panel([right_judge()], stage.ledger, max_tokens=50)
        await again.restore()
        # One pair proved by tests: (1 + 1) / (2 + 1), whatever agreement had proved before.
        assert panel.reliability == again.reliability == pytest.approx(2 / 3)


async def test_a_whole_run_refines_tasks_that_have_no_tests(tmp_path: Path) -> None:
    ledger = CrashingLedger()
    run = await start_without_tests(ledger, tmp_path)
    with trio.fail_after(60):
        await run.pipeline.run()
    decisions = await ledger.find(Decision)
    assert Counter(kind for one in decisions for kind in one.kinds) >= Counter({"adopt": 6, "critique": 6})
    assert {one.evidence for one in await ledger.find(Execution)} == {"consensus"}
    assert len(await ledger.find(WrittenTests)) == len({one.task_id for one in decisions})
    assert await ledger.find(Quarantined) == ()
    examples = await ledger.find(Example)
    assert {one.origin for one in examples if one.kind == "answer"} == {"self"}
    assert run.pipeline.statistics().settled == ROUNDS


class TestTrials:
    async def test_consensus_is_held_against_the_tests_that_there_are(self) -> None:
        stage = Stage(MIXED, measured=True)
        done = await stage.execute(good(3), half(3), wrong(3), task=TESTED)
        (trial,) = await stage.ledger.find(ConsensusTrial)
        assert (trial.tests, trial.right_tests, trial.groups, trial.decided) == (4, 3, 3, True)
        assert (trial.consensus, trial.random) == (1.0, pytest.approx(1 / 3))
        assert done.shares == {}
        assert {execution.evidence for execution in done.executions.values()} == {"tests"}

    async def test_the_reference_does_not_help_there(self) -> None:
        stage = Stage(MIXED, measured=True)
        await stage.execute(good(3), task=TESTED)
        (written,) = await stage.ledger.find(WrittenTests)
        assert written.dropped == ()

    async def test_it_leaves_no_execution_of_its_own_and_is_done_once(self) -> None:
        stage = Stage(MIXED, measured=True)
        await stage.execute(good(3), half(3), task=TESTED)
        jobs = len(stage.sandbox.jobs)
        await stage.execute(good(3), half(3), task=TESTED)
        assert len(stage.sandbox.jobs) == jobs
        assert all(len(one.outcomes) == len(TESTED.tests) for one in await stage.ledger.find(Execution))

    async def test_nothing_is_written_for_tested_tasks_unless_it_is_measured(self) -> None:
        stage = Stage(raise_error(AssertionError("asked")))
        await stage.execute(good(3), task=TESTED)
        assert await stage.ledger.find(ConsensusTrial) == ()
