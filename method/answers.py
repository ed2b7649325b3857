"""Structured answers: one JSON object, bare or in a code fence, and nothing else."""

import json
from typing import Any, cast


def read_object(answer: str) -> dict[str, Any] | None:
    """Return the fields of the object that `answer` is, None when it is anything else or names a field twice."""
    try:
        data: Any = json.loads(_without_fence(answer), object_pairs_hook=_fields)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", data) if isinstance(data, dict) else None


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is there twice: which of two verdicts was meant, nobody knows."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is there twice")
    return fields


def _without_fence(answer: str) -> str:
    text = answer.strip()
    if text.startswith("```") and text.endswith("```"):
        return text.strip("`").removeprefix("json")
    return text
