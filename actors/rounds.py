"""The round planner: decides which tasks a round has, and lets a round begin when the method allows it."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping

import structlog
import trio

from actors.board import RoundBoard
from actors.messages import Assignment, Item
from method.schedule import Order, Visit, order_tasks
from protocols.identity import derive
from protocols.ports import Ledger
from protocols.records import Candidate, Decision, Execution, Round, Task

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class RoundPlanner:
    """Feeds the Generator, round by round.

    Args:
        tasks: the training tasks.
        board: tells which rounds are settled.
        rounds: how many rounds the run has.
        tasks_per_round: None takes every task, each round.
        lead: how many rounds may be begun before the last settled one (0: none).
        seed: of the order of tasks.
        order: which tasks come first, see `method.schedule`.
    """

    def __init__(
        self,
        tasks: tuple[Task, ...],
        ledger: Ledger,
        board: RoundBoard,
        outbox: "trio.MemorySendChannel[Item]",
        *,
        rounds: int,
        tasks_per_round: int | None,
        lead: int,
        seed: int,
        order: Order = "learning",
    ) -> None:
        self._tasks = {task.id: task for task in tasks}
        self._ledger = ledger
        self._board = board
        self._outbox = outbox
        self._rounds = rounds
        self._tasks_per_round = tasks_per_round
        self._lead = lead
        self._seed = seed
        self._order: Order = order
        self._next = (board.settled, 0)
        self._stopping = trio.Event()

    def stop(self) -> None:
        """Assign nothing more; what was assigned goes on."""
        self._stopping.set()

    async def run(self) -> None:
        """Assign every task of every open round, or until told to stop; then close the outbox."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_when_stopping, nursery.cancel_scope)
            for round in range(self._next[0], self._rounds):
                await self._board.wait_settled(round - self._lead)
                await self._assign(round)
            nursery.cancel_scope.cancel()
        await self._outbox.aclose()

    async def _cancel_when_stopping(self, scope: trio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()

    async def _assign(self, round: int) -> None:
        plan = await self._plan(round)
        start = self._next[1] if self._next[0] == round else 0
        for position in range(start, len(plan.task_ids)):
            await self._outbox.send(Assignment(task=self._tasks[plan.task_ids[position]], round=round))
            self._next = (round, position + 1)
        self._next = (round + 1, 0)

    async def _plan(self, round: int) -> Round:
        known = await self._ledger.get(Round, derive("round", round))
        if known is not None:
            return known
        chosen = order_tasks(
            tuple(self._tasks),
            await self._visits(),
            round,
            random.Random(derive("order", self._seed, round)),
            self._tasks_per_round,
            order=self._order,
        )
        plan = Round(id=derive("round", round), number=round, task_ids=chosen)
        await self._ledger.append(plan)
        log.info("round_planned", round=round, tasks=len(chosen))
        return plan

    async def _visits(self) -> Mapping[str, tuple[Visit, ...]]:
        """Return, per task, how its responses came out in each round so far.

        Where no tests tell, a response that won the consensus counts as right: what all agree on teaches little more.
        """
        executions = {execution.subject_id: execution for execution in await self._ledger.find(Execution)}
        winners = {
            score.subject_id
            for decision in await self._ledger.find(Decision)
            for score in decision.scores
            if score.execution_share >= 1.0
        }
        solved, responses = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
        for candidate in await self._ledger.find(Candidate):
            place = (candidate.task_id, candidate.round)
            responses[place] += candidate.count
            execution = executions.get(candidate.id)
            if execution is not None and execution.executable:
                right = candidate.id in winners if execution.evidence == "consensus" else execution.solved
                solved[place] += candidate.count if right else 0
        visits: defaultdict[str, list[Visit]] = defaultdict(list)
        for task_id, round in sorted(responses, key=lambda place: place[1]):
            visits[task_id].append(Visit(round, solved[task_id, round], responses[task_id, round]))
        return {task_id: tuple(known) for task_id, known in visits.items()}
