"""The journal file: groups, who may write, what is refused, a full disk, and ends of every sort."""

import errno
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from ledger.connection import APPLICATION_ID, SCHEMA_VERSION, connect_reader, connect_writer, translate
from ledger.lock import lock_file
from ledger.sqlite import open_ledger
from protocols.errors import LedgerError, NoSpaceLeft
from protocols.records import Candidate, FilterCount, LedgerRecord, Round
from tests.ledger.samples import candidate, refusal, round_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


class Commits:
    """Counts the commits of a writer, by the statements of its connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.count = 0
        connection.set_trace_callback(self._note)

    def _note(self, statement: str) -> None:
        self.count += statement == "COMMIT"


class TestGroups:
    async def test_appends_of_one_window_share_a_commit(self, path: Path) -> None:
        async with open_ledger(path, group_s=0.05) as ledger:
            commits = Commits(ledger._writer._connection)  # type: ignore[union-attr]
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(ledger.append, round_of(number))
            assert commits.count == 1
            assert len(await ledger.find(Round)) == 50

    async def test_enough_records_end_the_wait(self, path: Path) -> None:
        async with open_ledger(path, group_s=3600, group_records=3) as ledger:
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    for number in range(3):
                        nursery.start_soon(ledger.append, round_of(number))

    async def test_closing_ends_the_wait_and_writes_what_waits(self, path: Path) -> None:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery, open_ledger(path, group_s=3600) as ledger:
                nursery.start_soon(ledger.append, round_of(1))
                await trio.testing.wait_all_tasks_blocked()
        async with open_ledger(path, read_only=True) as ledger:
            assert await ledger.find(Round) == (round_of(1),)

    async def test_nothing_is_acknowledged_before_its_commit(self, path: Path) -> None:
        async with open_ledger(path, group_s=3600) as ledger:
            acknowledged = trio.Event()

            async def append() -> None:
                await ledger.append(round_of(1))
                acknowledged.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(append)
                await trio.testing.wait_all_tasks_blocked()
                assert not acknowledged.is_set()
                assert await ledger.find(Round) == ()
                ledger._writer.close()  # type: ignore[union-attr]
            assert acknowledged.is_set()

    async def test_a_cancelled_append_is_written_whole(self, path: Path) -> None:
        async with open_ledger(path, group_s=3600) as ledger:
            with trio.CancelScope() as scope:
                scope.cancel()
                await ledger.append(round_of(1), round_of(2))
            assert scope.cancelled_caught
        async with open_ledger(path, read_only=True) as ledger:
            assert len(await ledger.find(Round)) in (0, 2)

    async def test_a_cancelled_run_still_writes_what_was_handed_in(self, path: Path) -> None:
        with trio.CancelScope() as scope:
            async with open_ledger(path, group_s=3600) as ledger, trio.open_nursery() as nursery:
                nursery.start_soon(ledger.append, round_of(1))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        async with open_ledger(path, read_only=True) as ledger:
            assert await ledger.find(Round) == (round_of(1),)

    async def test_a_closed_journal_takes_nothing(self, path: Path) -> None:
        async with open_ledger(path) as ledger:
            pass
        with pytest.raises(LedgerError, match="is closed"):
            await ledger.append(round_of(1))

    async def test_the_callers_own_exception_comes_out_as_it_is(self, path: Path) -> None:
        with pytest.raises(KeyError, match="mine"):
            async with open_ledger(path):
                raise KeyError("mine")

    async def test_the_time_is_the_clocks(self, path: Path) -> None:
        async with open_ledger(path, clock=lambda: 1234.5) as ledger:
            await ledger.append(round_of(1))
        assert connect_reader(path).execute("SELECT at FROM records").fetchall() == [(1234.5,)]

    def test_commits_are_synced_to_the_disk(self, path: Path) -> None:
        connection = connect_writer(path)
        full = 2
        assert connection.execute("PRAGMA synchronous").fetchone() == (full,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


class TestWhoMayWrite:
    async def test_a_second_writer_is_refused_and_told_who_writes(self, path: Path) -> None:
        async with open_ledger(path):
            with pytest.raises(LedgerError, match=r"is being written by process \d+"):
                async with open_ledger(path):
                    pass

    async def test_a_second_process_is_refused(self, path: Path) -> None:
        program = (
            "import sys, trio\nfrom pathlib import Path\nfrom ledger.sqlite import open_ledger\n"
            "async def main():\n    async with open_ledger(Path(sys.argv[1])):\n        pass\ntrio.run(main)"
        )
        async with open_ledger(path) as ledger:
            await ledger.append(round_of(1))
            command = [sys.executable, "-c", program, str(path)]
            ended = await trio.run_process(command, capture_stderr=True, check=False)
            assert ended.returncode != 0
            assert b"this run is going already" in ended.stderr

    async def test_the_right_to_write_ends_with_its_holder(self, path: Path) -> None:
        for number in range(2):
            async with open_ledger(path) as ledger:
                await ledger.append(round_of(number))
        assert lock_file(path).exists()

    async def test_reading_is_possible_while_it_is_written(self, path: Path) -> None:
        async with open_ledger(path, group_s=0) as writer, open_ledger(path, read_only=True) as reader:
            for number in range(3):
                await writer.append(round_of(number))
                assert len(await reader.find(Round)) == number + 1

    async def test_a_reader_cannot_write(self, path: Path) -> None:
        async with open_ledger(path):
            pass
        async with open_ledger(path, read_only=True) as reader:
            with pytest.raises(LedgerError, match="reading only"):
                await reader.append(round_of(1))

    async def test_a_reader_sees_whole_appends_only(self, path: Path) -> None:
        async with open_ledger(path, group_s=0) as writer, open_ledger(path, read_only=True) as reader:
            done = trio.Event()

            async def write() -> None:
                for start in range(0, 400, 40):
                    await writer.append(*(refusal(str(number)) for number in range(start, start + 40)))
                done.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                while not done.is_set():
                    assert len(await reader.find(FilterCount)) % 40 == 0


def fill(path: Path, *records: LedgerRecord, read_only: bool = False) -> None:
    async def append() -> None:
        async with open_ledger(path, group_s=0, read_only=read_only) as ledger:
            if not read_only:
                await ledger.append(*records)

    trio.run(append)


class TestWhatIsRefused:
    def refuse(self, path: Path, text: str) -> None:
        before = path.read_bytes()
        for read_only in (False, True):
            with pytest.raises(LedgerError, match=text):
                fill(path, read_only=read_only)
        assert path.read_bytes() == before

    @pytest.mark.parametrize(("version", "age"), [(SCHEMA_VERSION + 1, "a newer"), (SCHEMA_VERSION - 1, "an older")])
    def test_another_versions_journal(self, path: Path, version: int, age: str) -> None:
        connection = connect_writer(path)
        connection.execute(f"PRAGMA user_version={version}")
        connection.close()
        self.refuse(path, f"written by {age} version")

    def test_another_programs_database(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE theirs (x)")
        connection.close()
        self.refuse(path, "another program made it")

    def test_another_programs_empty_but_versioned_database(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version=1")
        connection.close()
        self.refuse(path, "another program made it")

    def test_a_file_that_is_no_database(self, path: Path) -> None:
        path.write_text("hello, this is text that is long enough to be looked at by anyone who opens it\n" * 50)
        self.refuse(path, "not an SQLite file")

    def test_reading_what_does_not_exist(self, path: Path) -> None:
        with pytest.raises(LedgerError, match="no journal at"):
            fill(path, read_only=True)
        assert not path.exists()

    def test_a_folder_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(LedgerError, match="cannot be used"):
            fill(tmp_path / "missing" / "journal.db")

    def test_an_empty_file_is_made_a_journal_by_a_writer_only(self, path: Path) -> None:
        path.touch()
        with pytest.raises(LedgerError, match="cut off"):
            fill(path, read_only=True)
        fill(path, round_of(1))
        assert connect_reader(path).execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)

    async def test_a_record_of_another_version_of_the_project(self, path: Path) -> None:
        async with open_ledger(path) as ledger:
            await ledger.append(round_of(1))
        connection = connect_writer(path)
        connection.execute("UPDATE records SET body = replace(body, 'number', 'nummer')")
        connection.close()
        async with open_ledger(path, read_only=True) as ledger:
            with pytest.raises(LedgerError, match="cannot be read"):
                await ledger.find(Round)


class TestAFullDisk:
    async def test_it_is_told_as_what_it_is_and_the_group_is_undone(self, path: Path) -> None:
        async with open_ledger(path, group_s=0) as ledger:
            await ledger.append(round_of(1))
            connection = ledger._writer._connection  # type: ignore[union-attr]
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages + 2}")
            with pytest.raises(NoSpaceLeft, match="no space left"):
                await ledger.append(candidate("small"), candidate("big", text="x" * 100_000))
            assert await ledger.find(Candidate) == ()
            connection.execute("PRAGMA max_page_count=1000000")
            await ledger.append(candidate("small"), candidate("big", text="x" * 100_000))
            assert len(await ledger.find(Candidate)) == 2
            assert await ledger.find(Round) == (round_of(1),)

    async def test_everyone_in_the_group_is_told(self, path: Path) -> None:
        told: list[str] = []

        async with open_ledger(path, group_s=0.05) as ledger:
            connection = ledger._writer._connection  # type: ignore[union-attr]
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages}")

            async def append(name: str) -> None:
                with pytest.raises(NoSpaceLeft):
                    await ledger.append(candidate(name, text="x" * 50_000))
                told.append(name)

            async with trio.open_nursery() as nursery:
                for name in "abc":
                    nursery.start_soon(append, name)
        assert sorted(told) == ["a", "b", "c"]

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_so_are_the_systems_own_errors(self, number: int) -> None:
        assert isinstance(translate(OSError(number, "full"), Path("j")), NoSpaceLeft)

    def test_any_other_error_is_not(self) -> None:
        for error in (OSError(errno.EIO, "broken"), sqlite3.OperationalError("disk I/O error")):
            assert type(translate(error, Path("j"))) is LedgerError

    async def test_any_other_error_of_a_commit_is_told_too(self, path: Path) -> None:
        async with open_ledger(path, group_s=0) as ledger:
            ledger._writer._connection.execute("DROP TABLE records")  # type: ignore[union-attr]
            with pytest.raises(LedgerError, match="no such table"):
                await ledger.append(round_of(1))


class TestKilled:
    PROGRAM = """
import sys, trio
from pathlib import Path
from ledger.sqlite import open_ledger
from tests.ledger.samples import candidate

async def main():
    async with open_ledger(Path(sys.argv[1]), group_s=0.001) as ledger, trio.open_nursery() as nursery:
        async def work(task):
            number = 0
            while True:
                names = [f"{task}-{number}-{part}" for part in range(3)]
                await ledger.append(*map(candidate, names))
                print(*names, flush=True)
                number += 1
        for task in range(8):
            nursery.start_soon(work, task)
trio.run(main)
"""

    def acknowledged_before_a_kill(self, path: Path, lines: int) -> set[str]:
        command = [sys.executable, "-c", self.PROGRAM, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            printed = [process.stdout.readline() for _ in range(lines)]
            process.kill()
            printed += process.stdout.readlines()
        # The kill may cut off the last line: its append is not known to be acknowledged.
        return {name for line in printed if line.endswith("\n") for name in line.split()}

    @pytest.mark.parametrize("lines", [1, 40, 200])
    async def test_what_was_acknowledged_is_there_and_appends_are_whole(self, path: Path, lines: int) -> None:
        acknowledged = self.acknowledged_before_a_kill(path, lines)
        async with open_ledger(path) as ledger:
            there = {record.id for record in await ledger.find(Candidate)}
            assert len(acknowledged) >= 3 * lines
            assert acknowledged <= there
            assert len(there) % 3 == 0
            await ledger.append(round_of(1))
