"""An arm of a comparison: one run, as far as it is compared with others, or one evaluation by itself.

A run's curve has a point for every version that was the policy and was measured on the held-out tasks. A run that still
goes has the points that it has so far.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from evals.measured import Measured
from evals.report_tally import Costs
from ledger.queries import Entry, stream_entries
from protocols.codec import encode
from protocols.identity import content_hash
from protocols.records import (
    Critique,
    Evaluation,
    Example,
    Generation,
    LedgerRecord,
    PolicyVersion,
    Task,
    TaskResult,
    Verdict,
)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One measured version."""

    version: int
    sampled_tokens: int
    """Written by policy, judges and critic for training data until the version was published."""
    evaluation: Evaluation


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    name: str
    settings: dict[str, Any]
    """As the run began, by section."""
    points: tuple[Point, ...]
    """By version; may be empty."""
    digests: dict[str, str]
    """Of every task of the run, by id, to tell equal ids of unequal tasks apart."""
    examples: int
    """Kept by curation."""
    tokens: dict[str, int]
    """`sampled`, and as in a report `prompt`, `completion` and `training`."""
    seconds: float
    """From the first record to the last, pauses included."""

    @property
    def last(self) -> Point:
        """The version that the run has come to.

        Raises:
            IndexError: nothing is measured yet.
        """
        return self.points[-1]

    def results(self, point: Point) -> dict[str, TaskResult]:
        """Return how each task came out, by a name that only equal tasks share."""
        return {
            f"{result.task_id} {self.digests.get(result.task_id, '')}": result for result in point.evaluation.results
        }


def read_arm(name: str, settings: dict[str, Any], journal: Path) -> Arm:
    """Return the run whose records are in `journal`.

    Raises:
        LedgerError: it is no journal of this version.
    """
    return make_arm(name, settings, stream_entries(journal))


def make_arm(name: str, settings: dict[str, Any], entries: Iterable[Entry[LedgerRecord]]) -> Arm:
    """Return the run whose journal holds `entries`, given in their order."""
    tally = _Tally()
    for entry in entries:
        tally.add(entry)
    return Arm(
        name=name,
        settings=settings,
        points=tally.points(),
        digests=tally.digests,
        examples=tally.examples,
        tokens={"sampled": tally.sampled, **tally.costs.tokens},
        seconds=0.0 if tally.first_at is None else tally.last_at - tally.first_at,
    )


def arm_of_measured(name: str, measured: Measured) -> Arm:
    """Return an evaluation by itself as an arm of one point."""
    evaluation = measured.evaluation
    return Arm(
        name=name,
        settings={"evaluation": {**measured.sampling, "model": measured.model, "version": measured.name}},
        points=(Point(version=evaluation.version, sampled_tokens=0, evaluation=evaluation),),
        digests=measured.digests,
        examples=0,
        tokens={"sampled": 0, "completion": evaluation.completion_tokens, "prompt": evaluation.prompt_tokens},
        seconds=evaluation.seconds,
    )


class _Tally:
    def __init__(self) -> None:
        self.costs = Costs()
        self.digests: dict[str, str] = {}
        self.examples = self.sampled = 0
        self.first_at: float | None = None
        self.last_at = 0.0
        self._published: dict[int, int] = {}
        """Tokens sampled before, by version."""
        self._measured: dict[int, Evaluation] = {}

    def add(self, entry: Entry[LedgerRecord]) -> None:
        self.first_at = entry.at if self.first_at is None else self.first_at
        self.last_at = entry.at
        self.costs.add(entry.record)
        match entry.record:
            case Generation() | Verdict() | Critique() as answer:
                self.sampled += answer.completion_tokens
            case Example():
                self.examples += 1
            case Task() as task:
                self.digests[task.id] = content_hash(encode(task).decode())
            case PolicyVersion() as version if version.state in ("base", "promoted"):
                self._published.setdefault(version.number, self.sampled)
            case Evaluation() as evaluation if evaluation.purpose == "held_out":
                self._measured[evaluation.version] = evaluation
            case _:
                pass

    def points(self) -> tuple[Point, ...]:
        return tuple(
            Point(version=version, sampled_tokens=tokens, evaluation=self._measured[version])
            for version, tokens in sorted(self._published.items())
            if version in self._measured
        )
