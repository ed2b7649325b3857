"""What a run's journal tells of one policy version: how it was made, from what, and how it was measured."""

from collections import Counter
from pathlib import Path

import msgspec

from ledger.queries import read_records
from protocols.errors import RunFolderError
from protocols.records import Batch, Evaluation, Example, ExampleKind, Origin, PolicyVersion, TrainingReport


class VersionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One trained version. Made by `read_version`, consumed by the model card."""

    version: PolicyVersion
    training: TrainingReport | None
    """None when the journal holds no report of its training."""
    examples: dict[tuple[Origin, ExampleKind], int]
    """Of its batch, replayed ones among them."""
    replayed: int
    evaluations: tuple[Evaluation, ...]
    """Of the base model, of its parent and of itself; the last of each purpose, in the order of versions."""


def read_version(journal: Path, number: int | None) -> VersionRecord:
    """Return what the journal tells of version `number`; None means the last promoted one.

    Raises:
        RunFolderError: there is no such version, or it never had an adapter.
        LedgerError: it is no journal of this version of the project.
    """
    version = _chosen(read_records(journal, PolicyVersion), number, journal)
    batches = [batch for batch in read_records(journal, Batch) if batch.id == version.batch_id]
    ids = {id for batch in batches for id in batch.example_ids}
    trainings = [one for one in read_records(journal, TrainingReport) if one.id == version.batch_id]
    return VersionRecord(
        version=version,
        training=trainings[-1] if trainings else None,
        examples=dict(Counter((one.origin, one.kind) for one in read_records(journal, Example) if one.id in ids)),
        replayed=sum(batch.replayed for batch in batches),
        evaluations=_evaluations(read_records(journal, Evaluation), {0, version.parent, version.number}),
    )


def _chosen(versions: list[PolicyVersion], number: int | None, journal: Path) -> PolicyVersion:
    trained = {version.number: version for version in versions if version.folder is not None}
    there = ", ".join(f"{one.number} ({one.state})" for _, one in sorted(trained.items())) or "none"
    run = f"the run in {journal.parent}"
    if number is None:
        promoted = [version for version in trained.values() if version.state == "promoted"]
        if not promoted:
            raise RunFolderError(f"{run} has promoted no version yet; name one with --version; it has trained {there}")
        return max(promoted, key=lambda version: version.number)
    if number == 0:
        raise RunFolderError(f"version 0 of {run} is the base model itself, untrained; it has trained {there}")
    if number not in trained:
        raise RunFolderError(f"{run} has no version {number} that was trained to its end; it has trained {there}")
    return trained[number]


def _evaluations(every: list[Evaluation], versions: set[int | None]) -> tuple[Evaluation, ...]:
    last = {(one.version, one.purpose): one for one in every if one.version in versions}
    return tuple(one for _, one in sorted(last.items()))
