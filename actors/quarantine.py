"""Quarantine: what the ledger keeps of a task that could not be handled, so that the run can go on without it."""

import traceback

from actors.failures import first
from actors.messages import Item
from protocols.identity import derive
from protocols.records import Quarantined


def quarantine_record(stage: str, item: Item, error: Exception) -> Quarantined:
    """Return the record of an item that `stage` gave up for `error`."""
    return Quarantined(
        id=derive("quarantined", stage, item.task.id, item.round),
        stage=stage,
        subject_id=item.task.id,
        task_id=item.task.id,
        round=item.round,
        reason=f"{type(first(error)).__name__}: {first(error)}"[:500],
        traceback="".join(traceback.format_exception(error))[-8000:],
    )
