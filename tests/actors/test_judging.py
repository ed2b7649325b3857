"""How judges are asked: modes, schedules, repair, what it costs, and that leaving questions out changes nothing."""

import json
from collections import Counter
from functools import partial
from random import Random

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.fake import ScriptedChat
from actors.judge import Judge
from actors.judging import JudgeMode
from actors.messages import Executed, Judged
from actors.panel import Panel, Price
from ledger.memory import MemoryLedger
from method.comparison import Pair, Schedule
from method.decision_rule import DecisionRule
from protocols.identity import content_hash
from protocols.ports import ChatRequest
from protocols.prompts import PERSPECTIVES, REPAIR
from protocols.records import Decision, Rubric, Verdict
from tests.actors.parts import (
    good,
    make_candidate,
    make_execution,
    make_task,
    raise_error,
    reference_of,
    shown_codes,
    verdict_text,
    wrong,
)

TASK = make_task(3)
NEVER = raise_error(AssertionError("asked"))


def make_item(*passed: tuple[bool, ...], reference: bool = True) -> Executed:
    """A task whose candidates passed these tests."""
    candidates = tuple(make_candidate(TASK, index, f"def f3(x): return {index}") for index in range(len(passed)))
    executions = {one.id: make_execution(TASK, one.id, row) for one, row in zip(candidates, passed, strict=True)}
    if reference:
        executions["reference"] = make_execution(TASK, "reference", [True] * len(passed[0]))
    incumbent = reference_of(TASK) if reference else None
    return Executed(task=TASK, round=0, candidates=candidates, executions=executions, incumbent=incumbent)


def make_judge(
    panel: Panel,
    ledger: MemoryLedger,
    *,
    mode: JudgeMode = "pairwise",
    schedule: Schedule = "anchor",
    lazy: bool = True,
    max_pairs: int = 99,
) -> Judge:
    return Judge(
        panel,
        ledger,
        schedule=schedule,
        w_max=0.5,
        lazy=lazy,
        calibrate=0.0,
        max_pairs=max_pairs,
        decision_rule=DecisionRule(),
        mode=mode,
    )


def opinionated(name: str, seed: int) -> ScriptedChat:
    """A judge that likes what it likes, in any order and in either mode."""

    def liking(code: str) -> int:
        return int(content_hash(f"{seed}{code}")[:6], 16)

    def answer(request: ChatRequest) -> str:
        if "Mark an answer" in request.messages[0].content:
            code = request.messages[0].content.split("answer>\n")[1].split("\n</")[0]
            return json.dumps({one: 1 + liking(one + code) % 5 for one in PERSPECTIVES})
        left, right = map(liking, shown_codes(request))
        return verdict_text("tie" if left % 3 == right % 3 else "A" if left > right else "B")

    return ScriptedChat(name, answer)


async def trusted(ledger: MemoryLedger, *judges: ScriptedChat, right: int = 8) -> Panel:
    """A panel of which all know how right it was before."""
    panel = Panel(judges, ledger, max_tokens=50)
    teacher = Panel(
        [ScriptedChat(judge.name, lambda request: _the_adding_one(request)) for judge in judges],
        ledger,
        max_tokens=50,
    )
    for round in range(100, 100 + right):
        opinions = await teacher.compare(TASK, round, [Pair("a", "b")], {"a": good(3), "b": wrong(3)})
        panel.learn(TASK, round, opinions, {"a": 1.0, "b": 0.0}, "tests")
    return panel


def _the_adding_one(request: ChatRequest) -> str:
    return verdict_text("A" if "x +" in shown_codes(request)[0] else "B")


class TestRepair:
    async def test_an_unreadable_answer_is_shown_to_the_judge_with_the_request_to_repair_it(self) -> None:
        def answer(request: ChatRequest) -> str:
            return verdict_text("A") if request.messages[-1].content == REPAIR else "A is better."

        judge = ScriptedChat("judge", answer)
        await Panel([judge], MemoryLedger(), max_tokens=50).compare(TASK, 0, [Pair("a", "b")], {"a": "x", "b": "y"})
        repairs = [request for request in judge.requests if len(request.messages) == 3]
        assert len(judge.requests) == 4
        assert [request.messages[1].content for request in repairs] == ["A is better."] * 2
        assert all(request.schema is not None for request in judge.requests)

    async def test_what_stays_unreadable_is_an_abstention_in_either_mode(self) -> None:
        ledger = MemoryLedger()
        panel = Panel([ScriptedChat("judge", lambda request: "5 of 5!")], ledger, max_tokens=50)
        (rating,) = await panel.mark(TASK, 0, {"a": "x"})
        (opinion,) = await panel.compare(TASK, 0, [Pair("a", "b")], {"a": "x", "b": "y"})
        assert (rating.marks, opinion.choice) == (None, "abstain")
        assert {rubric.answer for rubric in await ledger.find(Rubric)} == {"5 of 5!"}


class TestCost:
    async def test_it_is_tokens_times_the_endpoints_price_tries_together(self) -> None:
        ledger = MemoryLedger()
        judges = [opinionated("priced", 1), opinionated("free", 1)]
        panel = Panel(judges, ledger, max_tokens=50, prices={"priced": Price(2.0, 10.0)})
        await panel.compare(TASK, 0, [Pair("a", "b")], {"a": "x", "b": "y"})
        for verdict in await ledger.find(Verdict):
            tokens = verdict.prompt_tokens * 2 + verdict.completion_tokens * 10
            assert verdict.cost == (pytest.approx(tokens / 1e6) if verdict.judge == "priced" else None)


class TestModes:
    async def test_off_asks_nobody_and_scores_by_execution_alone(self) -> None:
        ledger = MemoryLedger()
        panel = await trusted(ledger, ScriptedChat("judge", NEVER))
        judge = make_judge(panel, ledger, mode="off", lazy=False)
        decision = (await judge.judge(make_item((True, True), (True, False)))).decision
        assert [(score.value, score.weight) for score in decision.scores] == [(1.0, 0.0), (0.5, 0.0), (1.0, 0.0)]
        assert (decision.compared, decision.comparable) == (0, 0)

    async def test_a_rubric_scores_each_by_its_own_marks(self) -> None:
        def answer(request: ChatRequest) -> str:
            mark = 5 if "return 0" in request.messages[0].content else 2
            return json.dumps(dict.fromkeys(PERSPECTIVES, mark))

        ledger = MemoryLedger()
        chat = ScriptedChat("judge", answer)
        panel = await trusted(ledger, chat)
        item = make_item((True, True), (True, True))
        decision = (await make_judge(panel, ledger, mode="rubric").judge(item)).decision
        by_id = {score.subject_id: score.win_rate for score in decision.scores}
        assert by_id == {item.candidates[0].id: 1.0, item.candidates[1].id: 0.25, "reference": 0.25}
        assert decision.kinds == ("replace", "critique")
        assert len(chat.requests) == len(await ledger.find(Rubric)) == 3

    async def test_a_single_candidate_without_an_incumbent_can_be_marked(self) -> None:
        ledger = MemoryLedger()
        chat = opinionated("judge", 1)
        judge = make_judge(await trusted(ledger, chat), ledger, mode="rubric", lazy=False)
        await judge.judge(make_item((True, True), reference=False))
        assert len(chat.requests) == 1

    async def test_marks_that_executions_prove_measure_the_judge_also_after_a_restart(self) -> None:
        ledger = MemoryLedger()
        marks = {True: 5, False: 1}
        chat = ScriptedChat(
            "judge",
            lambda request: json.dumps(dict.fromkeys(PERSPECTIVES, marks["return 0" in request.messages[0].content])),
        )
        panel = Panel([chat], ledger, max_tokens=50)
        item = make_item((True, True), (True, False), (False, False), reference=False)
        await ledger.append(*item.candidates, *item.executions.values())
        await make_judge(panel, ledger, mode="rubric", lazy=False).judge(item)
        # Right on the two pairs with the first candidate; a tie, half right, on the third.
        assert panel.reliability == pytest.approx((1 + 2.5) / (2 + 3))
        again = Panel([chat], ledger, max_tokens=50)
        await again.restore()
        assert again.reliability == panel.reliability

    async def test_nothing_on_record_is_marked_again(self) -> None:
        ledger = MemoryLedger()
        first = await Panel([opinionated("judge", 1)], ledger, max_tokens=50).mark(TASK, 0, {"a": "x", "b": "y"})
        silent = Panel([ScriptedChat("judge", NEVER)], ledger, max_tokens=50)
        assert await silent.mark(TASK, 0, {"a": "x", "b": "y"}) == first


class TestSchedules:
    @pytest.mark.parametrize(
        ("schedule", "reference", "pairs"), [("anchor", True, 4), ("round_robin", True, 10), ("swiss", False, 4)]
    )
    async def test_exhaustive_judging_asks_the_whole_schedule(
        self, schedule: Schedule, reference: bool, pairs: int
    ) -> None:
        ledger = MemoryLedger()
        chat = opinionated("judge", 1)
        judge = make_judge(await trusted(ledger, chat), ledger, schedule=schedule, lazy=False)
        decision = (await judge.judge(make_item(*[(True, True)] * 4, reference=reference))).decision
        assert len(chat.requests) == 2 * pairs
        assert (decision.compared, decision.comparable) == (pairs, pairs)

    async def test_in_a_swiss_tournament_the_second_round_follows_from_the_first(self) -> None:
        met: Counter[frozenset[str]] = Counter()

        def answer(request: ChatRequest) -> str:
            left, right = shown_codes(request)
            met[frozenset((left, right))] += 1
            return verdict_text("A" if left > right else "B")

        ledger = MemoryLedger()
        judge = make_judge(await trusted(ledger, ScriptedChat("judge", answer)), ledger, schedule="swiss", lazy=False)
        await judge.judge(make_item(*[(True, True)] * 4, reference=False))
        first, second, third, fourth = (f"def f3(x): return {number}" for number in range(4))
        assert met == {
            frozenset(pair): 2 for pair in ((first, second), (third, fourth), (fourth, second), (third, first))
        }

    async def test_no_more_is_asked_than_there_is_room_for(self) -> None:
        ledger = MemoryLedger()
        chat = opinionated("judge", 1)
        panel = await trusted(ledger, chat)
        for schedule in ("anchor", "round_robin", "swiss"):
            ledger = MemoryLedger()
            chat.requests.clear()
            judge = make_judge(Panel([chat], ledger, max_tokens=9), ledger, schedule=schedule, lazy=False, max_pairs=3)
            await judge.judge(make_item(*[(True, True)] * 5))
            assert len(chat.requests) == 2 * 3
        assert panel.reliability > 0.5


rows = st.integers(1, 4).flatmap(lambda tests: st.lists(st.tuples(*[st.booleans()] * tests), min_size=1, max_size=5))


class TestLaziness:
    """What is left out changes no decision: neither its kinds nor its scores."""

    async def judged(
        self, item: Executed, lazy: bool, schedule: Schedule, mode: JudgeMode, right: int, seed: int
    ) -> tuple[Judged, int]:
        ledger = MemoryLedger()
        chats = (opinionated("one", seed), opinionated("other", seed + 1))
        panel = await trusted(ledger, *chats, right=right)
        judge = make_judge(panel, ledger, mode=mode, schedule=schedule, lazy=lazy)
        done = await judge.judge(item)
        return done, sum(len(chat.requests) for chat in chats)

    @settings(max_examples=120, deadline=None)
    @given(
        rows,
        st.booleans(),
        st.sampled_from(["anchor", "round_robin", "swiss"]),
        st.sampled_from(["pairwise", "pairwise", "rubric"]),
        st.integers(0, 9),
        st.integers(0, 99),
    )
    def test_lazy_and_exhaustive_judging_decide_alike(
        self,
        passed: list[tuple[bool, ...]],
        reference: bool,
        schedule: Schedule,
        mode: JudgeMode,
        right: int,
        seed: int,
    ) -> None:
        item = make_item(*passed, reference=reference)
        run = partial(self.judged, schedule=schedule, mode=mode, right=right, seed=seed)
        lazy, fewer = trio.run(partial(run, item, True))
        exhaustive, more = trio.run(partial(run, item, False))
        assert fewer <= more
        assert lazy.decision.compared <= exhaustive.decision.compared <= exhaustive.decision.comparable
        if schedule != "swiss":  # two tournaments, the second among more players, are not one
            assert lazy.decision.comparable == exhaustive.decision.comparable == exhaustive.decision.compared
        bare = partial(msgspec.structs.replace, compared=0, comparable=0)
        assert bare(lazy.decision) == bare(exhaustive.decision)

    async def test_it_saves_calls_where_executions_say_enough(self) -> None:
        rng, saved, possible = Random(5), 0, 0
        for seed in range(40):
            item = make_item(*[tuple(rng.random() < 0.5 for _ in range(4)) for _ in range(4)])
            done, _ = await self.judged(item, True, "anchor", "pairwise", 3, seed)
            possible += done.decision.comparable
            saved += done.decision.comparable - done.decision.compared
        assert saved / possible > 0.2

    async def test_what_was_not_asked_is_counted_in_the_decision_on_record(self) -> None:
        ledger = MemoryLedger()
        judge = make_judge(await trusted(ledger, opinionated("judge", 1)), ledger)
        await judge.judge(make_item((True, True), (False, False)))
        (decision,) = await ledger.find(Decision)
        assert (decision.compared, decision.comparable) == (1, 2)
