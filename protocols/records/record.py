"""Base of all records."""

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Base of all records; the tag on the wire is the class's name, in the field `type`."""
