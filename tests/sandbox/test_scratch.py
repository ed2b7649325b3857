"""Whatever a run leaves in its folder is gone afterwards, and nothing else is."""

import os
from pathlib import Path

from sandbox.inside.scratch import Scratch, empty, measure


def test_files_folders_and_links_go(tmp_path: Path):
    folder = tmp_path / "scratch"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "c").write_text("x")
    (folder / "d").symlink_to(folder / "a")
    empty(str(folder))
    assert os.listdir(folder) == []


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "kept")
    empty(str(folder))
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_no_depth_is_too_deep(tmp_path: Path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    empty(str(folder))
    assert os.listdir(folder) == []


def test_folders_without_rights_go(tmp_path: Path):
    folder = tmp_path / "scratch"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a").chmod(0)
    folder.chmod(0)
    empty(str(folder))
    assert os.listdir(folder) == []


def test_names_that_cleaning_up_would_use_are_no_obstacle(tmp_path: Path):
    folder = tmp_path / "scratch"
    for number in range(1, 6):
        (folder / f"{number}~" / f"{number}~" / "x").mkdir(parents=True)
    empty(str(folder))
    assert os.listdir(folder) == []


def test_what_is_in_it_is_counted(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(10_000))
    size, count = measure(str(tmp_path), 100)
    assert count == 2
    assert size >= 10_000


def test_counting_stops_beyond_the_limit(tmp_path: Path):
    for name in "abc":
        (tmp_path / name).mkdir()
        for number in range(5):
            (tmp_path / name / str(number)).touch()
    assert 4 < measure(str(tmp_path), 4)[1] < 18


def test_a_folder_is_cleared_after_each_run_that_touched_it(tmp_path: Path):
    scratch = Scratch(str(tmp_path), 1 << 20, 100)
    for _ in range(5):
        scratch.begin()
        (tmp_path / "file").touch()
        scratch.clear()
        assert os.listdir(tmp_path) == []


def test_a_change_is_seen_whatever_times_are_set(tmp_path: Path):
    scratch = Scratch(str(tmp_path), 1 << 20, 100)
    scratch.begin()
    (tmp_path / "file").touch()
    os.utime(tmp_path, ns=(0, 0))
    scratch.clear()
    assert os.listdir(tmp_path) == []


def test_it_is_full_with_too_many_bytes_or_too_many_files(tmp_path: Path):
    scratch = Scratch(str(tmp_path), 100_000, 3)
    scratch.begin()
    assert not scratch.is_full()
    (tmp_path / "large").write_bytes(bytes(200_000))
    assert scratch.is_full()
    (tmp_path / "large").unlink()
    for name in "abcd":
        (tmp_path / name).touch()
    assert scratch.is_full()


def test_emptying_an_empty_folder_changes_nothing(tmp_path: Path):
    before = os.stat(tmp_path).st_ctime_ns
    empty(str(tmp_path))
    assert os.stat(tmp_path).st_ctime_ns == before
