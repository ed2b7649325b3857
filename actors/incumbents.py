"""Incumbents: the best answer known for a task before a round, read from the decisions in the ledger."""

from typing import Literal

from protocols.identity import REFERENCE
from protocols.ports import Ledger
from protocols.records import Decision, Incumbent, Task


async def incumbent_before(
    ledger: Ledger, task: Task, round: int, references: Literal["train", "anchor", "hidden"]
) -> Incumbent | None:
    """Return what the last decision before `round` left as incumbent, else the reference unless it is hidden."""
    earlier = [
        decision
        for decision in await ledger.find(Decision, task_id=task.id)
        if decision.round < round and decision.incumbent is not None
    ]
    if earlier:
        return max(earlier, key=lambda decision: decision.round).incumbent
    if references != "hidden" and task.reference is not None:
        return Incumbent(subject_id=REFERENCE, origin="reference", code=task.reference)
    return None
