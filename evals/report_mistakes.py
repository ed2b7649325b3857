"""What a report tells of error patterns: which mistakes each version made, before and after training.

On training tasks: of the version's own answers, round by round other tasks. On gate and held-out tasks: of the same
tasks for every version, so that counts compare as they stand. The words are `method.mistake`'s.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from method.mistake import mistake
from protocols.records import Candidate, Critique, EvaluatedTask, Execution, LedgerRecord

Place = Literal["training", "gate", "held_out"]
PLACES: tuple[Place, ...] = ("training", "gate", "held_out")


class MistakesReport(msgspec.Struct, frozen=True, kw_only=True):
    """The mistakes on one set of tasks."""

    place: Place
    answers: dict[int, int]
    """By version: how many there were, right ones among them."""
    patterns: dict[str, dict[int, int]]
    """By mistake, the most frequent first: failed answers of each version; versions without it are left out."""


class CritiquedReport(msgspec.Struct, frozen=True, kw_only=True):
    """How often one mistake was made in training tasks, and criticised."""

    pattern: str
    failed: int
    """Answers."""
    critiques: int
    verified: int


class Mistakes:
    """Counts mistakes while a journal is read."""

    KINDS = (Candidate, Critique, EvaluatedTask, Execution)

    def __init__(self) -> None:
        self._answers: defaultdict[Place, Counter[int]] = defaultdict(Counter)
        self._found: defaultdict[Place, Counter[tuple[str, int]]] = defaultdict(Counter)
        self._waiting: dict[str, tuple[int, int]] = {}
        """Version and number of answers of each candidate that was not executed yet."""
        self._pattern_of: dict[str, str] = {}
        """By id of a candidate that failed."""
        self._critiques: Counter[str] = Counter()
        self._verified: Counter[str] = Counter()

    def add(self, record: LedgerRecord) -> None:
        """Take one record."""
        match record:
            case Candidate():
                self._waiting[record.id] = (record.version, record.count)
            case Execution() if record.subject_id in self._waiting:
                self._executed(record, *self._waiting.pop(record.subject_id))
            case EvaluatedTask():
                self._answers[record.purpose][record.version] += record.samples
                for name, count in record.mistakes.items():
                    self._found[record.purpose][sys.intern(name), record.version] += count
            case Critique():
                pattern = self._pattern_of.get(record.candidate_id, "none")
                self._critiques[pattern] += 1
                self._verified[pattern] += record.verified
            case _:
                pass

    def reports(self) -> tuple[MistakesReport, ...]:
        """Return what was found, place by place; places of which nothing is known are left out."""
        return tuple(
            MistakesReport(
                place=place,
                answers=dict(sorted(self._answers[place].items())),
                patterns=_by_pattern(self._found[place]),
            )
            for place in PLACES
            if self._found[place]
        )

    def critiqued(self) -> tuple[CritiquedReport, ...]:
        """Return every mistake that was made in training tasks, the most frequent first."""
        failed = Counter[str]()
        for (pattern, _), count in self._found["training"].items():
            failed[pattern] += count
        return tuple(
            CritiquedReport(
                pattern=pattern,
                failed=failed[pattern],
                critiques=self._critiques[pattern],
                verified=self._verified[pattern],
            )
            for pattern in _most_first(failed)
        )

    def _executed(self, execution: Execution, version: int, count: int) -> None:
        self._answers["training"][version] += count
        found = mistake(execution.outcomes)
        if found is not None:
            pattern = sys.intern(found)
            self._pattern_of[execution.subject_id] = pattern
            self._found["training"][pattern, version] += count


def shortened(report: MistakesReport, most: int) -> tuple[tuple[str, dict[int, int]], ...]:
    """Return the `most` most frequent mistakes, and all others as one."""
    rows = list(report.patterns.items())
    if len(rows) <= most:
        return tuple(rows)
    others = Counter[int]()
    for _, counts in rows[most - 1 :]:
        others.update(counts)
    return (*rows[: most - 1], (f"{len(rows) - most + 1} other patterns", dict(others)))


def _by_pattern(found: Mapping[tuple[str, int], int]) -> dict[str, dict[int, int]]:
    counts: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for (pattern, version), count in found.items():
        counts[pattern][version] = count
    return {
        pattern: counts[pattern] for pattern in _most_first({name: sum(of.values()) for name, of in counts.items()})
    }


def _most_first(counts: Mapping[str, int]) -> Sequence[str]:
    return sorted(counts, key=lambda name: (-counts[name], name))
