"""One row of the journal: a record with the columns by which it is found.

Invariant: a row's body can be read back. A record that could not (a not-a-number, a lone surrogate, a kind that the
ledger does not keep) is refused before it is written, because it would spoil every later reading of its kind.
"""

from typing import NamedTuple

import msgspec

from protocols.codec import decode, encode
from protocols.errors import LedgerError
from protocols.records import LedgerRecord


class Row(NamedTuple):
    """The columns of one record, in the table's order, without `sequence`.

    `task_id`, `round` and `version` are None for the kinds that have no such field.
    """

    kind: str
    id: str
    task_id: str | None
    round: int | None
    version: int | None
    at: float
    """Unix time in seconds at which it was handed to the ledger."""
    body: bytes


def make_row(record: LedgerRecord, at: float) -> Row:
    """Return `record` as a row.

    Raises:
        LedgerError: the record could not be read back.
    """
    try:
        body = encode(record)
        decode(body)
    except (LedgerError, msgspec.MsgspecError, UnicodeError, TypeError) as error:
        raise LedgerError(f"a record of kind {type(record).__name__} cannot be kept: {error}") from error
    return Row(
        kind=type(record).__name__,
        id=record.id,
        task_id=getattr(record, "task_id", None),
        round=getattr(record, "round", None),
        version=getattr(record, "version", None),
        at=at,
        body=body,
    )


def check_fields(kind: type[LedgerRecord], fields: dict[str, str | int]) -> None:
    """Refuse to search `kind` by a field that it does not have: the answer would be an empty one, always.

    Raises:
        LedgerError: `kind` lacks one of `fields`.
    """
    for field in fields:
        if field not in kind.__struct_fields__:
            raise LedgerError(f"records of kind {kind.__name__} have no field {field!r} and cannot be found by it")


def given(task_id: str | None, round: int | None, version: int | None) -> dict[str, str | int]:
    """Return the conditions of a search by their column."""
    conditions: dict[str, str | int | None] = {"task_id": task_id, "round": round, "version": version}
    return {field: value for field, value in conditions.items() if value is not None}
