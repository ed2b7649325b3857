"""What other settings of curation would have kept, as sheets beside what the run kept."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from evals.recuration import Recuration, Refused, Work
from evals.sheets import NONE, Sheet, one_line
from protocols.identity import content_hash
from protocols.records import Example

SHOWN = 3
"""Examples of each kind of change, and of each reason."""


def recuration_sheets(work: Work, again: Recuration) -> tuple[Sheet, ...]:
    """Return the sheets, the one with the counts first; others only when they have rows."""
    then, now = {example.id: example for example in work.kept}, {example.id: example for example in again.kept}
    counts = Sheet("Curation", ("", "in the run", "with these settings"), _counts(work, again))
    gained = drawn([example for id, example in now.items() if id not in then])
    lost = drawn([example for id, example in then.items() if id not in now])
    changes = [*(("kept now", one) for one in gained), *(("kept then", one) for one in lost)]
    others = (
        Sheet(
            "Batches with these settings",
            ("batch", "round", "examples", "of them replayed"),
            tuple((str(b.number), str(b.round), str(len(b.examples)), str(b.replayed)) for b in again.batches),
        ),
        Sheet(
            "Samples of what these settings refuse",
            ("reason", "task", "round", "resembles", "code"),
            tuple(_refused_row(one) for one in drawn_refused(again.refused)),
            f"Up to {SHOWN} of each reason, drawn at random.",
        ),
        Sheet(
            "Samples of what changes",
            ("change", "task", "round", "kind", "code"),
            tuple((change, one.task_id, str(one.round), one.kind, one_line(one.code)) for change, one in changes),
            f"Up to {SHOWN} of each, drawn at random.",
        ),
    )
    return (counts, *(sheet for sheet in others if sheet.rows))


def recuration_json(work: Work, again: Recuration) -> dict[str, Any]:
    """Return the counts and samples as plain data."""
    then, now = {example.id for example in work.kept}, {example.id for example in again.kept}
    return {
        "run": {"kept": len(work.kept), "refused": dict(Counter(one.reason for one in work.refused))},
        "again": {
            "kept": len(again.kept),
            "refused": dict(Counter(one.reason for one in again.refused)),
            "kinds": dict(Counter(f"{one.kind}, {one.origin}" for one in again.kept)),
            "batches": [
                {"number": b.number, "round": b.round, "examples": len(b.examples), "replayed": b.replayed}
                for b in again.batches
            ],
        },
        "kept_only_now": sorted(now - then),
        "kept_only_then": sorted(then - now),
        "samples": [
            {
                "reason": one.reason,
                "task_id": one.example.task_id,
                "round": one.example.round,
                "resembles": one.resembles,
                "code": one.example.code,
            }
            for one in drawn_refused(again.refused)
        ],
    }


def drawn(examples: Sequence[Example]) -> list[Example]:
    """Return three of `examples`, at random but always the same."""
    return sorted(examples, key=lambda example: content_hash(example.id))[:SHOWN]


def drawn_refused(refused: Sequence[Refused]) -> list[Refused]:
    """Return three of each reason, at random but always the same."""
    groups: defaultdict[str, list[Refused]] = defaultdict(list)
    for one in sorted(refused, key=lambda one: content_hash(one.example.id)):
        groups[one.reason].append(one)
    return [one for reason in sorted(groups) for one in groups[reason][:SHOWN]]


def _counts(work: Work, again: Recuration) -> tuple[tuple[str, ...], ...]:
    then, now = Counter(one.reason for one in work.refused), Counter(one.reason for one in again.refused)
    kinds_then, kinds_now = (Counter(f"{one.kind}, {one.origin}" for one in kept) for kept in (work.kept, again.kept))
    return (
        ("made", str(len(work.kept) + len(work.refused)), str(len(again.kept) + len(again.refused))),
        ("kept", str(len(work.kept)), str(len(again.kept))),
        *((f"kept: {name}", str(kinds_then[name]), str(kinds_now[name])) for name in sorted({*kinds_then, *kinds_now})),
        *((f"refused: {name}", str(then[name]), str(now[name])) for name in sorted({*then, *now})),
    )


def _refused_row(refused: Refused) -> tuple[str, ...]:
    example = refused.example
    return (refused.reason, example.task_id, str(example.round), refused.resembles or NONE, one_line(example.code))
