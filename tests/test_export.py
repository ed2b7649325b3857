"""`export`: a folder that loads elsewhere and says where it comes from; of what cannot be exported, nothing."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from ledger.sqlite import open_ledger
from main import main
from protocols.records import Batch, LedgerRecord, PolicyVersion, TrainingReport
from protocols.settings import default_settings
from tests.evals.journal import REFUSAL, evaluation, example, version
from tests.trainer import tiny

LICENCE_CARD = "---\nlicense: apache-2.0\ntags:\n- code\n---\n# A base model\n"


def made(number: int, state: Any, folder: Path, reason: str = "gate") -> PolicyVersion:
    return msgspec.structs.replace(
        version(number, state, reason, canary=0.00123),
        adapter=str(folder / f"adapters/v{number:04}-abc"),
        content_hash="ab" * 32,
    )


def training(number: int) -> TrainingReport:
    return TrainingReport(
        id=f"batch {number}",
        round=number,
        version=number,
        adapter="",
        merged=None,
        content_hash="ab" * 32,
        losses=(1.5, 0.75),
        examples=4,
        dropped=1,
        steps=2,
        tokens=321,
        loss_tokens=123,
        seconds=1.0,
        peak_bytes=1,
        probes=(),
    )


def batch(number: int, ids: tuple[str, ...]) -> Batch:
    return Batch(id=f"batch {number}", number=number, round=number, version=0, example_ids=ids, replayed=1)


def records(folder: Path) -> tuple[LedgerRecord, ...]:
    examples = (
        *(example(f"own {n}", 0, "answer", "self") for n in range(3)),
        example("critique", 0, "critique", "critic"),
        example("reference", 0, "answer", "reference"),
        example("later", 1, "answer", "self"),
    )
    return (
        version(0, "base"),
        *examples,
        batch(1, tuple(one.id for one in examples[:5])),
        training(1),
        made(1, "promoted", folder),
        evaluation("held_out", 0, (0, 4), 0.1, 0.9),
        evaluation("held_out", 1, (2, 4), 0.205, 0.987),
        batch(2, ("later",)),
        training(2),
        made(2, "rejected", folder, REFUSAL),
        evaluation("gate", 2, (1, 0)),
        msgspec.structs.replace(version(3, "failed", "training failed"), adapter=None),
    )


def write_files(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def write_journal(path: Path, *written: LedgerRecord) -> None:
    async def append() -> None:
        async with open_ledger(path) as ledger:
            await ledger.append(*written)

    trio.run(append)


def write_run(folder: Path, model: Path, *written: LedgerRecord) -> Path:
    folder.mkdir(parents=True)
    settings = default_settings("r", (f"model.name={json.dumps(str(model))}", "train.targets=['q_proj']"))
    (folder / "settings.json").write_text(settings.model_dump_json())
    write_journal(folder / "ledger.sqlite", *written)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that published version 1 in place and rejected version 2, of which no merged weights are left."""
    base = tmp_path / "base"
    write_files(base, {"README.md": LICENCE_CARD})
    folder = write_run(tmp_path / "runs" / "r", base, *records(tmp_path / "runs" / "r"))
    for number in (1, 2):
        config = json.dumps({"base_model_name_or_path": str(base), "r": 16})
        adapter = {"adapter_config.json": config, "adapter_model.safetensors": f"v{number}", "README.md": "PEFT's"}
        write_files(folder / "adapters" / f"v{number:04}-abc", adapter)
    merged = {"model.safetensors": "whole", "config.json": "{}", "tokenizer.json": "{}"}
    write_files(folder / "adapters" / "v0001-abc" / "merged", merged)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def exported(run: Path, output: Path, *options: str) -> str:
    """Export, and return the card."""
    assert main(["export", str(run), "--output", str(output), *options]) == 0
    return (output / "README.md").read_text()


class TestFolder:
    def test_the_last_promoted_adapter_by_default(self, run: Path, tmp_path: Path) -> None:
        exported(run, tmp_path / "out")
        assert names(tmp_path / "out") == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
        assert (tmp_path / "out" / "adapter_model.safetensors").read_text() == "v1"

    def test_merged_weights_that_were_published_are_copied(self, run: Path, tmp_path: Path) -> None:
        card = exported(run, tmp_path / "out", "--merged")
        assert names(tmp_path / "out") == {"model.safetensors", "config.json", "tokenizer.json", "README.md"}
        assert "library_name: transformers" in card

    def test_a_version_of_which_all_weights_were_trained_is_a_whole_model(self, tmp_path: Path) -> None:
        folder = tmp_path / "runs" / "r" / "adapters" / "v0001-abc"
        trained = msgspec.structs.replace(version(1, "promoted"), adapter=None, merged=str(folder))
        run = write_run(tmp_path / "runs" / "r", tmp_path / "base", trained)
        write_files(folder, {"model.safetensors": "whole", "config.json": "{}", "tokenizer.json": "{}"})
        card = exported(run, tmp_path / "out")
        assert names(tmp_path / "out") == {"model.safetensors", "config.json", "tokenizer.json", "README.md"}
        assert "of which all weights were trained" in card
        assert "library_name: transformers" in card

    def test_nothing_else_appears_and_the_run_stays_as_it_is(self, run: Path, tmp_path: Path) -> None:
        def files() -> dict[Path, bytes]:  # SQLite's own side files come and go with readers
            return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "sqlite-" not in path.name}

        before, beside = files(), names(tmp_path)
        exported(run, tmp_path / "out")
        assert files() == before
        assert names(tmp_path) == beside | {"out"}
        assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755

    def test_a_run_that_was_moved_still_exports(self, run: Path, tmp_path: Path) -> None:
        moved = run.rename(tmp_path / "elsewhere")
        exported(moved, tmp_path / "out")
        assert (tmp_path / "out" / "adapter_model.safetensors").read_text() == "v1"


class TestCard:
    def test_it_tells_where_the_version_comes_from(self, run: Path, tmp_path: Path) -> None:
        card = exported(run, tmp_path / "out")
        assert "# v0001-abc of run r" in card
        assert "| parent version | 0 (base model) |" in card
        assert "| base model | base (a local folder) |" in card
        assert str(tmp_path) not in card
        assert "| licence of the base model | apache-2.0, as its README.md says |" in card
        assert "license: apache-2.0" in card.split("---")[1]
        assert f"| SHA-256 of the trained weights | {'ab' * 32} |" in card

    def test_it_counts_the_examples_of_its_own_batch_by_writer_and_kind(self, run: Path, tmp_path: Path) -> None:
        card = exported(run, tmp_path / "out")
        for row in ("| self | answer | 3 |", "| critic | critique | 1 |", "| reference | answer | 1 |"):
            assert row in card
        assert "Examples of its batch: 5, 1 of them replayed." in card
        assert "Trained on 4 (left out: 1), 2 steps, 321 tokens, 123 of them with loss" in card

    def test_it_gives_evaluations_with_intervals_beside_the_base_model(self, run: Path, tmp_path: Path) -> None:
        card = exported(run, tmp_path / "out")
        assert "| 0 | held-out | 2 | 50.0 [10.0–90.0] | pass@4 50.0 |" in card
        assert "| 1 | held-out | 2 | 75.0 [20.5–98.7] | pass@4 100.0 |" in card
        assert "| gate |" not in card

    def test_it_gives_the_settings_of_training(self, run: Path, tmp_path: Path) -> None:
        card = exported(run, tmp_path / "out")
        for line in ("rank = 16", 'targets = ["q_proj"]', "dora = false", "# layers is not set", "seed = 0"):
            assert f"\n{line}\n" in card

    def test_a_rejected_version_is_named_so(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        card = exported(run, tmp_path / "out", "--version", "2")
        assert f"**This version was rejected, and did not become the run's policy: {REFUSAL}**" in card
        assert "version 2 (rejected: gate pass@1" in capsys.readouterr().out
        assert "This version was" not in exported(run, tmp_path / "other")

    def test_a_base_that_tells_no_licence_is_named_so(self, run: Path, tmp_path: Path) -> None:
        (tmp_path / "base" / "README.md").unlink()
        card = exported(run, tmp_path / "out")
        assert "its folder does not tell" in card
        assert "license:" not in card

    def test_a_licence_file_is_quoted_by_its_first_line(self, run: Path, tmp_path: Path) -> None:
        (tmp_path / "base" / "README.md").write_text("license: mit, says the text, not the front matter")
        (tmp_path / "base" / "LICENSE.txt").write_text("\n   Some Community Licence\n\nYou may ...")
        card = exported(run, tmp_path / "out")
        assert "| Some Community Licence, as its file LICENSE.txt begins |" in card
        assert "license:" not in card


class TestRefusals:
    def refused(self, run: Path, output: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
        beside = names(output.parent) if output.parent.is_dir() else None
        assert main(["export", str(run), "--output", str(output), *options]) == 2
        assert beside is None or names(output.parent) == beside
        return capsys.readouterr().err

    def test_a_folder_that_exists(self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "out").mkdir()
        assert "exists already" in self.refused(run, tmp_path / "out", capsys)
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_place_that_does_not_exist(self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "nowhere does not exist" in self.refused(run, tmp_path / "nowhere" / "out", capsys)
        assert not (tmp_path / "nowhere").exists()

    @pytest.mark.parametrize(
        ("number", "complaint"),
        [
            ("0", "version 0 of the run in"),
            ("3", "has no version 3 that was trained to its end; it has trained 1 (promoted), 2 (rejected)"),
            ("9", "has no version 9 that was trained to its end; it has trained 1 (promoted), 2 (rejected)"),
        ],
    )
    def test_a_version_without_an_adapter(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str, complaint: str
    ) -> None:
        assert complaint in self.refused(run, tmp_path / "out", capsys, "--version", number)

    def test_a_run_that_has_promoted_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run = write_run(tmp_path / "r", tmp_path, version(0, "base"))
        assert "has promoted no version yet" in self.refused(run, tmp_path / "out", capsys)

    def test_an_adapter_that_is_gone(self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (run / "adapters" / "v0001-abc" / "adapter_model.safetensors").unlink()
        assert "is no longer whole" in self.refused(run, tmp_path / "out", capsys)

    def test_a_failure_while_copying_leaves_nothing(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(shutil, "copyfile", full)
        assert "No space left" in self.refused(run, tmp_path / "out", capsys)


def test_weights_that_were_not_published_are_merged_by_the_worker(tiny_base: Path, tmp_path: Path) -> None:
    """The same bytes as a training job writes, and a folder that transformers loads."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from trainer.base_model import load_base_model
    from trainer.job import run_job

    base = load_base_model(str(tiny_base), torch.device("cpu"), torch.float32)
    job = tiny.job(tiny_base, tmp_path / "r" / "adapters", epochs=1, dora=True)
    report = run_job(base, job, lambda _: None, lambda _: None)
    expected = Path(str(report.merged)).rename(tmp_path / "expected")
    trained = msgspec.structs.replace(version(1, "promoted"), adapter=report.adapter)
    settings = tmp_path / "r"
    write_journal(settings / "ledger.sqlite", trained)
    (settings / "settings.json").write_text(
        default_settings("r", (f"model.name={json.dumps(str(tiny_base))}",)).model_dump_json()
    )
    exported(settings, tmp_path / "out", "--merged")
    assert names(tmp_path / "out") == names(expected) | {"README.md"}
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert weights == (expected / "model.safetensors").read_bytes()
    assert struct.unpack("<Q", weights[:8])[0] > 0
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == base.tokenizer.chat_template


def test_a_worker_that_fails_leaves_nothing(tiny_base: Path, tmp_path: Path) -> None:
    written = made(1, "promoted", tmp_path / "r")
    run = write_run(tmp_path / "r", tiny_base, written)
    config = json.dumps({"peft_type": "LORA", "r": 4, "target_modules": ["no_such_layer"]})
    write_files(run / "adapters" / "v0001-abc", {"adapter_config.json": config, "adapter_model.safetensors": "broken"})
    before = names(tmp_path)
    assert main(["export", str(run), "--output", str(tmp_path / "out"), "--merged"]) == 3
    assert names(tmp_path) == before


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("base") / "tiny")
