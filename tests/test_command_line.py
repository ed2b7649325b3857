"""The command line: every shipped settings file loads, and what cannot be used ends with exit code 2 and no trace."""

import json
from pathlib import Path

import pytest

from main import main
from protocols.settings import load_settings

CONFIGS = sorted(Path(__file__).parent.parent.joinpath("configs").glob("*.toml"))
TASK = {
    "id": "numbers/twice",
    "kind": "function",
    "topic": "numbers",
    "difficulty": 1,
    "instruction": "Write a function `twice(n)` that returns two times n.",
    "entry_point": "twice",
    "reference": "def twice(n):\n    return 2 * n\n",
    "tests": ["assert twice(2) == 4"],
}


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_config(folder: Path, text: str = "") -> str:
    path = folder / "config.toml"
    path.write_text('[run]\nname = "r"\n' + text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_settings_file_loads(path: Path) -> None:
    assert load_settings(path).run.name == path.stem


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[generate]\ncandidate = 4\n", "generate.candidate: unknown key"),
        ('[generate]\ncandidates = "many"\n', "generate.candidates"),
        ("[generate]\ntop_p = 2\n", "got 2"),
        ("[evaluate]\nsamples = 2\n", "pass@4 needs at least 4 samples"),
        ("[run\n", "not TOML"),
        ('[tasks]\ntrain = "nowhere.jsonl"\n', "nowhere.jsonl"),
    ],
)
def test_wrong_settings_are_named(
    in_folder: Path, capsys: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    assert main(["run", write_config(in_folder, text)]) == 2
    assert complaint in capsys.readouterr().err
    assert not (in_folder / "runs").exists()


def test_a_missing_settings_file_is_named(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "absent.toml"]) == 2
    assert "absent.toml does not exist" in capsys.readouterr().err


def test_a_broken_line_of_a_tasks_file_is_named(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = json.dumps({**TASK, "id": "numbers/other", "tests": 3})
    (in_folder / "t.jsonl").write_text(json.dumps(TASK) + "\n" + broken + "\n", encoding="utf-8")
    assert main(["run", write_config(in_folder, '[tasks]\ntrain = "t.jsonl"\n')]) == 2
    error = capsys.readouterr().err
    assert "2" in error
    assert "tests" in error
    assert not (in_folder / "runs").exists()


def test_a_run_folder_of_other_settings_is_refused_with_the_keys(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(in_folder)
    folder = in_folder / "runs" / "r"
    folder.mkdir(parents=True)
    stored = load_settings(Path(config), ("train.rank=99",)).model_dump(mode="json")
    (folder / "settings.json").write_text(json.dumps(stored), encoding="utf-8")
    assert main(["run", config]) == 2
    assert "train.rank: 99 there, 16 here" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "status"])
def test_a_folder_that_is_no_run_is_refused(in_folder: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, str(in_folder)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
