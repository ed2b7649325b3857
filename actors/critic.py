"""The Critic: has selected low-quality candidates criticised, and runs each proposed revision."""

import secrets
from collections import Counter

import trio

from actors.executor import Executor, make_execution
from actors.messages import Criticised, Judged
from method.error_pattern import error_pattern
from method.extraction import extract_code
from method.selection import select_for_critique
from method.truncation import is_cut_off
from protocols.identity import derive
from protocols.ports import Chat, ChatAnswer, ChatRequest, Ledger
from protocols.prompts import critic_prompt
from protocols.records import Candidate, Critique, Execution, Incumbent


class Critic:
    """Step 6 of the method.

    Args:
        per_task: critiques per task and round, at most; 0 criticises nothing.
        per_round: critiques per round, at most; None: as many as `per_task` allows.
        stop: texts that end an answer, as the policy's.
    """

    def __init__(
        self,
        critic: Chat,
        executor: Executor,
        ledger: Ledger,
        *,
        per_task: int,
        per_round: int | None,
        temperature: float,
        max_tokens: int,
        stop: tuple[str, ...],
    ) -> None:
        self._critic = critic
        self._executor = executor
        self._ledger = ledger
        self._per_task = per_task
        self._per_round = per_round
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._stop = stop
        self._seen = Counter[str]()
        self._in_round = Counter[int]()
        self._selected: dict[str, tuple[Candidate, ...]] = {}

    async def restore(self) -> None:
        """Count what was criticised before: error patterns, for rarest-seen-first, and critiques of each round."""
        critiques = await self._ledger.find(Critique)
        self._seen = Counter(critique.pattern for critique in critiques)
        self._in_round = Counter(critique.round for critique in critiques)

    async def criticise(self, item: Judged) -> Criticised:
        """Return the item with its critiques; those in the ledger are not asked again.

        Raises:
            EndpointError: the critic could not be asked.
            SandboxError: a revision could not be run.
        """
        critiques: list[Critique] = []
        key = item.decision.id
        if key not in self._selected:  # handled again after a failure, the choice stands
            self._selected[key] = await self._select(item)

        async def criticise(candidate: Candidate) -> None:
            critiques.append(await self._criticise(item, candidate))

        async with trio.open_nursery() as nursery:
            for candidate in self._selected[key]:
                nursery.start_soon(criticise, candidate)
        del self._selected[key]
        return Criticised(
            task=item.task,
            round=item.round,
            candidates=item.candidates,
            executions=item.executions,
            decision=item.decision,
            critiques=tuple(sorted(critiques, key=lambda critique: critique.id)),
        )

    async def _select(self, item: Judged) -> tuple[Candidate, ...]:
        """Return what was criticised before a restart, filled up with the rarest patterns."""
        by_id = {candidate.id: candidate for candidate in item.candidates if candidate.code is not None}
        earlier = await self._ledger.find(Critique, task_id=item.task.id, round=item.round)
        known = {critique.candidate_id: critique.pattern for critique in earlier}
        patterns = {
            candidate_id: pattern
            for candidate_id in item.decision.critique_ids
            if candidate_id in by_id and (pattern := error_pattern(item.executions[candidate_id])) not in known.values()
        }
        chosen = select_for_critique(tuple(patterns.items()), self._seen, self._room(item.round, len(known)))
        self._seen.update(patterns[candidate_id] for candidate_id in chosen)
        self._in_round[item.round] += len(chosen)
        return tuple(by_id[candidate_id] for candidate_id in (*known, *chosen))

    def _room(self, round: int, known: int) -> int:
        """How many more candidates of a task may be criticised, `known` of which are already."""
        of_task = self._per_task - known
        of_round = of_task if self._per_round is None else self._per_round - self._in_round[round]
        return max(0, min(of_task, of_round))

    async def _criticise(self, item: Judged, candidate: Candidate) -> Critique:
        critique_id = derive("critique", candidate.id)
        known = await self._ledger.get(Critique, critique_id)
        if known is not None:
            return known
        incumbent = item.decision.incumbent
        shown = incumbent.code if incumbent is not None else None
        execution = item.executions[candidate.id]
        answer = await self._critic.chat(
            ChatRequest(
                messages=critic_prompt(item.task, candidate.code or "", execution, shown, secrets.token_hex(8)),
                temperature=self._temperature,
                max_tokens=self._max_tokens,
                stop=self._stop,
            )
        )
        text, revision = split_critique(answer.choices[0].text, item.task.entry_point)
        shown_by_run: tuple[Execution, ...] = ()
        if revision is not None:
            result = await self._executor.measure(item.task, revision)
            shown_by_run = (make_execution(item.task, item.round, critique_id, result),)
        verified = any(_passes(run, item, incumbent) for run in shown_by_run)
        critique = _critique(
            critique_id, item, candidate, execution, self._critic.name, text, revision, verified, answer
        )
        # Together, or a crash between the two would leave the execution of a revision that is asked for anew.
        await self._ledger.append(*shown_by_run, critique)
        return critique


def _passes(revision: Execution, item: Judged, incumbent: Incumbent | None) -> bool:
    """Whether the revision passes at least what the incumbent passes (everything, when there is none)."""
    standard = item.executions.get(incumbent.subject_id) if incumbent is not None else None
    if standard is None:
        return revision.solved
    return bool(revision.outcomes) and all(
        ours.passed or not theirs.passed for ours, theirs in zip(revision.outcomes, standard.outcomes, strict=True)
    )


def split_critique(text: str, entry_point: str | None) -> tuple[str, str | None]:
    """Return what was written before the first code block, and the revised code (None when there is none)."""
    head, fence, _ = text.partition("```")
    return head.strip(), extract_code(text, entry_point) if fence else None


def _critique(
    id: str,
    item: Judged,
    candidate: Candidate,
    execution: Execution,
    critic: str,
    text: str,
    revision: str | None,
    verified: bool,
    answer: ChatAnswer,
) -> Critique:
    return Critique(
        id=id,
        task_id=item.task.id,
        round=item.round,
        candidate_id=candidate.id,
        critic=critic,
        pattern=error_pattern(execution),
        text=text,
        revision=revision,
        verified=verified,
        truncated=is_cut_off(answer.choices[0].finish_reason, answer.choices[0].text),
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        seconds=answer.seconds,
    )
