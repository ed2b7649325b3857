"""Records to and from bytes (JSON): one way, used by the ledger and the trainer's pipe alike."""

from typing import TypeVar

import msgspec

from protocols.errors import LedgerError
from protocols.records import LedgerRecord

_encoder = msgspec.json.Encoder()
_ledger_decoder: msgspec.json.Decoder[LedgerRecord] = msgspec.json.Decoder(LedgerRecord)

StructType = TypeVar("StructType", bound=msgspec.Struct)


def encode(record: msgspec.Struct) -> bytes:
    """Return one record as a line of JSON without its newline."""
    return _encoder.encode(record)


def decode(data: bytes | str) -> LedgerRecord:
    """Return the ledger record that `data` holds.

    Raises:
        LedgerError: the bytes are not a record of this version of the project.
    """
    try:
        return _ledger_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise LedgerError(f"a record cannot be read: {error}; got {data[:200]!r}") from error


def decode_as(data: bytes | str, kind: type[StructType]) -> StructType:
    """Return `data` as one `kind`.

    Raises:
        msgspec.MsgspecError: the bytes are not of that kind.
    """
    return msgspec.json.decode(data, type=kind)
