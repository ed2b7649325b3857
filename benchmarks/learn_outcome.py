"""What came of an arm of `learn`: read from its run's ledger, and kept with the results.

The arms are hours of work, and may be those of several machines and days.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks.report import machine
from evals.arm import Arm, make_arm
from ledger.queries import Entry, stream_entries
from ledger.run_folder import RunFolder
from protocols.records import Critique, Generation, LedgerRecord, RoundSettled, Verdict


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an arm, as it is kept."""

    arm: Arm
    candidates: int
    """Per task."""
    rounds: int
    """That are over."""
    sampled: dict[str, int]
    """Tokens that were written for training data, by the kind of record that holds them."""
    processor: str


def settled_rounds(run: RunFolder) -> int:
    """Return how many rounds of a run are over."""
    return _settled(stream_entries(run.ledger))


def outcome_of(run: RunFolder, name: str) -> Outcome | None:
    """Return what came of the run of an arm; None: it has come to no measured version yet."""
    if not run.ledger.is_file():
        return None
    entries = list(stream_entries(run.ledger))
    arm = make_arm(name, {}, entries)
    if not arm.points:
        return None
    measured = {result.task_id for point in arm.points for result in point.evaluation.results}
    return Outcome(
        arm=msgspec.structs.replace(arm, digests={task: arm.digests.get(task, "") for task in sorted(measured)}),
        candidates=run.stored_settings()["generate"]["candidates"],
        rounds=_settled(entries),
        sampled=_sampled(entries),
        processor=machine()["processor"],
    )


def kept_outcome(folder: Path, name: str) -> Outcome | None:
    """Return what was kept of an arm in `folder`; None: nothing."""
    path = folder / f"{name}.json"
    return msgspec.json.decode(path.read_bytes(), type=Outcome) if path.is_file() else None


def keep_outcome(folder: Path, outcome: Outcome) -> None:
    """Write what came of an arm into `folder`, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{outcome.arm.name}.json").write_bytes(msgspec.json.encode(outcome) + b"\n")


def _settled(entries: Iterable[Entry[LedgerRecord]]) -> int:
    return sum(isinstance(entry.record, RoundSettled) for entry in entries)


def _sampled(entries: Iterable[Entry[LedgerRecord]]) -> dict[str, int]:
    spent = {kind.__name__: 0 for kind in (Generation, Verdict, Critique)}
    for entry in entries:
        match entry.record:
            case Generation() | Verdict() | Critique() as answer:
                spent[type(answer).__name__] += answer.completion_tokens
            case _:
                pass
    return spent
