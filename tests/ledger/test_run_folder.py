"""A run's folder: it keeps the settings that the run goes on with, and is never lost to a failure to write them."""

import errno
from pathlib import Path

import pytest

from ledger import run_folder
from ledger.run_folder import RunFolder
from protocols.errors import NoSpaceLeft
from protocols.settings import default_settings


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "r")


def fill_the_disk(path: Path, text: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_run_that_goes_on_for_longer_keeps_the_settings_that_it_goes_on_with(folder: RunFolder) -> None:
    assert folder.create(default_settings("r", ("run.rounds=1",)))
    assert not folder.create(default_settings("r", ("run.rounds=3",)))
    assert folder.stored_settings()["run"]["rounds"] == 3


def test_a_full_disk_takes_a_new_folder_away_and_leaves_an_old_one(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(run_folder, "replace_text", fill_the_disk)
        with pytest.raises(NoSpaceLeft):
            folder.create(default_settings("r"))
    assert not folder.path.exists()
    folder.create(default_settings("r", ("run.rounds=1",)))
    monkeypatch.setattr(run_folder, "replace_text", fill_the_disk)
    assert not folder.create(default_settings("r", ("run.rounds=1",)))
    with pytest.raises(NoSpaceLeft):
        folder.create(default_settings("r", ("run.rounds=3",)))
    assert folder.stored_settings()["run"]["rounds"] == 1
