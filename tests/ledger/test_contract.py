"""What every part behind the port `Ledger` keeps: the SQLite file and the fake in memory."""

import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from ledger.memory import MemoryLedger
from ledger.sqlite import open_ledger
from protocols.errors import LedgerError
from protocols.ports import Ledger
from protocols.records import Candidate, FilterCount, Message, Round
from tests.ledger.samples import candidate, refusal, round_of


@pytest.fixture(params=["memory", "sqlite"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    async with open_ledger(tmp_path / "journal.db", group_s=0) as opened:
        yield opened


async def test_a_record_comes_back_as_it_was(ledger: Ledger) -> None:
    record = candidate("c1", text="def f():\n    return '\x00 ä 漢 \U0001f600'\n")
    await ledger.append(record)
    assert await ledger.get(Candidate, "c1") == record


async def test_an_unknown_id_gives_none(ledger: Ledger) -> None:
    assert await ledger.get(Candidate, "c1") is None


async def test_kinds_have_ids_of_their_own(ledger: Ledger) -> None:
    await ledger.append(candidate("same"), refusal("same"))
    assert isinstance(await ledger.get(Candidate, "same"), Candidate)
    assert isinstance(await ledger.get(FilterCount, "same"), FilterCount)
    assert await ledger.get(Round, "same") is None


async def test_an_id_that_is_there_is_left_as_it_is(ledger: Ledger) -> None:
    await ledger.append(refusal("f1", reason="first"))
    await ledger.append(refusal("f1", reason="second"), refusal("f2", reason="new"))
    assert [record.reason for record in await ledger.find(FilterCount)] == ["first", "new"]


async def test_the_first_of_two_equal_ids_in_one_append_stays(ledger: Ledger) -> None:
    await ledger.append(refusal("f1", reason="first"), refusal("f1", reason="second"))
    assert [record.reason for record in await ledger.find(FilterCount)] == ["first"]


async def test_records_are_found_in_the_order_of_appending(ledger: Ledger) -> None:
    names = ["z", "a", "m", "b"]
    for name in names:
        await ledger.append(candidate(name))
    assert [record.id for record in await ledger.find(Candidate)] == names


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["a", "b", "c", "d"]),
        ({"task_id": "t1"}, ["a", "b", "c"]),
        ({"round": 2}, ["b", "d"]),
        ({"version": 0}, ["a"]),
        ({"task_id": "t1", "round": 2}, ["b"]),
        ({"task_id": "t1", "round": 1, "version": 3}, ["c"]),
        ({"task_id": "t2", "round": 1}, []),
    ],
)
async def test_find_gives_the_records_that_have_every_field(
    ledger: Ledger, fields: dict[str, str | int], expected: list[str]
) -> None:
    await ledger.append(
        candidate("a", round=1, version=0),
        candidate("b", round=2, version=1),
        candidate("c", round=1, version=3),
        candidate("d", task_id="t2", round=2, version=1),
    )
    await ledger.append(refusal("other kind", task_id="t1", round=2))
    found = await ledger.find(Candidate, **fields)  # pyright: ignore[reportArgumentType]
    assert [record.id for record in found] == expected


async def test_a_search_by_a_field_that_the_kind_lacks_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="Round have no field 'version'"):
        await ledger.find(Round, version=1)


@pytest.mark.parametrize(
    "spoiled",
    [
        pytest.param(candidate("bad", text="\ud800"), id="lone surrogate"),
        pytest.param(Message(role="user", content="hi"), id="not a kind that is kept"),
    ],
)
async def test_what_could_not_be_read_back_is_refused_with_all_its_append(ledger: Ledger, spoiled: Candidate) -> None:
    with pytest.raises(LedgerError, match="cannot be kept"):
        await ledger.append(round_of(1), spoiled)
    assert await ledger.find(Round) == ()
    await ledger.append(round_of(1))
    assert await ledger.find(Round) == (round_of(1),)


async def test_a_number_that_is_none_is_refused(ledger: Ledger) -> None:
    record = Candidate(
        id="c", task_id="t", round=1, version=0, index=0, text="", code=None, finish_reason="", temperatures=(math.nan,)
    )
    with pytest.raises(LedgerError, match="cannot be kept"):
        await ledger.append(record)


async def test_appending_nothing_is_allowed(ledger: Ledger) -> None:
    await ledger.append()
    assert await ledger.find(Candidate) == ()


async def test_every_method_is_a_checkpoint(ledger: Ledger) -> None:
    for call in (lambda: ledger.append(), lambda: ledger.append(round_of(1))):
        with trio.testing.assert_checkpoints():
            await call()
    with trio.testing.assert_checkpoints():
        await ledger.get(Round, "round-1")
    with trio.testing.assert_checkpoints():
        await ledger.find(Round)


async def test_many_tasks_append_at_the_same_time(ledger: Ledger) -> None:
    async def work(task: int) -> None:
        for number in range(10):
            await ledger.append(candidate(f"{task}-{number}", task_id=f"t{task}", round=number))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for task in range(20):
                nursery.start_soon(work, task)
    for task in range(20):
        assert [record.round for record in await ledger.find(Candidate, task_id=f"t{task}")] == list(range(10))
