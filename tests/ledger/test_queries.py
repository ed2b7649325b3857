"""Reading a journal from outside the run."""

from pathlib import Path

import pytest
import trio

from ledger.queries import (
    Entry,
    Open,
    Span,
    count_records,
    last_sequence,
    oldest_open,
    read_entries,
    read_records,
    read_spans,
    stream_entries,
)
from ledger.sqlite import open_ledger
from protocols.errors import LedgerError
from protocols.records import Candidate, FilterCount, Generation, Round, RoundSettled
from tests.ledger.samples import candidate, generation, refusal, round_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path, times = tmp_path / "journal.db", iter([10.0, 20.0, 30.0])

    async def fill() -> None:
        async with open_ledger(path, group_s=0, clock=lambda: next(times)) as ledger:
            await ledger.append(round_of(1), generation("g1"), generation("g2", task_id="t2"))
            await ledger.append(candidate("c1"), round_of(2))
            await ledger.append(refusal("f1", task_id="t1", round=1), generation("g3", task_id="t3"))

    trio.run(fill)
    return path


def test_records_of_a_kind_in_order(path: Path) -> None:
    assert read_records(path, Round) == [round_of(1), round_of(2)]
    assert read_records(path, RoundSettled) == []


def test_entries_have_their_place_and_time(path: Path) -> None:
    assert read_entries(path, Round) == [Entry(1, 10.0, round_of(1)), Entry(5, 20.0, round_of(2))]


def test_only_what_is_new(path: Path) -> None:
    assert read_records(path, Round, after=1) == [round_of(2)]
    assert read_records(path, Round, after=5) == []
    assert [entry.sequence for entry in stream_entries(path, after=5)] == [6, 7]


def test_the_stream_has_every_kind_in_order(path: Path) -> None:
    entries = list(stream_entries(path))
    assert [entry.sequence for entry in entries] == list(range(1, 8))
    assert {type(entry.record) for entry in entries} == {Round, Generation, Candidate, FilterCount}


def test_counts_and_spans(path: Path) -> None:
    assert count_records(path) == {"Round": 2, "Generation": 3, "Candidate": 1, "FilterCount": 1}
    spans = read_spans(path)
    assert spans["Round"] == Span(2, 1, 5, 10.0, 20.0)
    assert spans["FilterCount"] == Span(1, 6, 6, 30.0, 30.0)
    assert last_sequence(path) == 7


def test_what_waits_for_what_by_task_and_round(path: Path) -> None:
    assert oldest_open(path, Generation, FilterCount) == Open(2, Entry(3, 10.0, generation("g2", task_id="t2")))


def test_what_waits_for_what_by_id(path: Path) -> None:
    assert oldest_open(path, Round, RoundSettled, match="id") == Open(2, Entry(1, 10.0, round_of(1)))
    assert oldest_open(path, Generation, Generation, match="id") == Open(0, None)


async def test_an_empty_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with open_ledger(path):
        assert (last_sequence(path), count_records(path), read_spans(path)) == (0, {}, {})
        assert list(stream_entries(path)) == []


def test_no_journal(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no journal at"):
        count_records(tmp_path / "journal.db")
