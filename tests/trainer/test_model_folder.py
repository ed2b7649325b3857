"""A model's name becomes a folder that can be loaded, or an error that names what is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from protocols.errors import ModelError
from trainer import model_folder
from trainer.embedded_package import FOLDER_NAME, GGUF_SHA256, PACKAGE
from trainer.gguf_file import RECIPE
from trainer.model_folder import resolve_model
from trainer.unpacked_folder import is_whole, locked, make_folder, verify_contents


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name)
    return folder


async def test_a_whole_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = fill(tmp_path / "model", "config.json", "model.safetensors", "tokenizer.json")
    assert await resolve_model(str(folder), tmp_path / "cache") == str(folder)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("model.safetensors", "tokenizer.json"), "config.json"),
        (("config.json", "tokenizer.json"), "weights"),
        (("config.json", "pytorch_model.bin"), "a tokenizer"),
        ((), "config.json and weights and a tokenizer"),
    ],
)
async def test_a_folder_that_lacks_something_is_refused_by_name(
    names: tuple[str, ...], missing: str, tmp_path: Path
) -> None:
    folder = fill(tmp_path / "model", *names)
    with pytest.raises(ModelError, match=f"lacks {missing}$"):
        await resolve_model(str(folder), tmp_path)


async def test_a_hub_name_is_left_to_the_hub(tmp_path: Path) -> None:
    assert await resolve_model("owner/Some-Model_1.5B", tmp_path) == "owner/Some-Model_1.5B"


@pytest.mark.parametrize("name", ["./no/such/folder", "/no/such/folder", "a/b/c"])
async def test_a_path_that_does_not_exist_is_no_hub_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a folder"):
        await resolve_model(name, tmp_path)


async def test_two_gguf_files_are_one_too_many(tmp_path: Path) -> None:
    folder = fill(tmp_path / "model", "a.gguf", "b.gguf")
    with pytest.raises(ModelError, match="2 GGUF files"):
        await resolve_model(str(folder), tmp_path)


async def test_a_folder_with_one_gguf_file_is_unpacked_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    async def run(command: list[str], progress: object) -> None:
        calls.append(command)

    monkeypatch.setattr(model_folder, "_run", run)
    folder = fill(tmp_path / "model", "some.gguf")
    found = await resolve_model(str(folder), tmp_path / "cache")
    assert calls[0][-3:] == ["--gguf", str(folder / "some.gguf"), found]
    assert Path(found).parent == tmp_path / "cache"
    assert await resolve_model(str(folder / "some.gguf"), tmp_path / "cache") == found


async def test_the_embedded_model_is_reused_without_a_look_at_its_package(tmp_path: Path) -> None:
    make_folder(tmp_path / FOLDER_NAME, RECIPE, GGUF_SHA256, lambda folder: None)
    told: list[str] = []
    with trio.fail_after(60):
        found = await resolve_model("embedded", tmp_path, told.append)
    assert found == str(tmp_path / FOLDER_NAME)
    assert told == [f"model folder {FOLDER_NAME} is ready"]


async def test_an_embedded_model_of_other_contents_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = fill(tmp_path / "site" / "package", "model.gguf")
    information = fill(tmp_path / "site" / f"{PACKAGE.replace('-', '_')}-0.1.2.dist-info")
    (information / "METADATA").write_text(f"Name: {PACKAGE}\nVersion: 0.1.2\n")
    (information / "RECORD").write_text("package/model.gguf,,\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    with trio.fail_after(60), pytest.raises(ModelError, match=f"expected {GGUF_SHA256}"):
        await resolve_model("embedded", tmp_path / "cache")
    assert not (tmp_path / "cache" / FOLDER_NAME).exists()


async def test_a_failed_unpacking_is_told_by_its_last_words() -> None:
    script = "import sys; print('{\"message\": \"begun\"}', flush=True); sys.exit('first\\nno such tensor')"
    told: list[str] = []
    with trio.fail_after(60), pytest.raises(ModelError, match=r"^no such tensor$"):
        await model_folder._run([sys.executable, "-c", script], told.append)
    assert told == ["begun"]


def test_a_folder_is_whole_only_with_every_file_in_its_size(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    make_folder(folder, 1, "source", lambda temporary: (temporary / "weights").write_bytes(b"1234") and None)
    assert is_whole(folder, 1, "source")
    assert not is_whole(folder, 2, "source")
    assert not is_whole(folder, 1, "another source")
    (folder / "weights").write_bytes(b"123")
    assert not is_whole(folder, 1, "source")


def test_changed_contents_are_found_by_their_hash(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    make_folder(folder, 1, "source", lambda temporary: (temporary / "weights").write_bytes(b"1234") and None)
    assert verify_contents(folder) == ()
    (folder / "weights").write_bytes(b"4321")
    assert is_whole(folder, 1, "source")
    assert verify_contents(folder) == ("weights",)


def test_a_failure_leaves_neither_folder_nor_leftovers(tmp_path: Path) -> None:
    def fail(temporary: Path) -> None:
        (temporary / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        make_folder(tmp_path / "model", 1, "source", fail)
    assert list(tmp_path.iterdir()) == []


async def test_two_at_once_take_turns(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time; from trainer.unpacked_folder import locked\n"
        f"with locked(pathlib.Path({str(tmp_path / 'model')!r})): sys.stdout.write('in'); sys.stdout.flush(); "
        "sys.stdin.read()"
    )
    entered = trio.Event()
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", script], stdin=-1, stdout=-1, cwd=model_folder.PROJECT_FOLDER
    )
    assert process.stdin is not None
    assert process.stdout is not None

    async def enter() -> None:
        await trio.to_thread.run_sync(take_and_release)
        entered.set()

    def take_and_release() -> None:
        with locked(tmp_path / "model"):
            pass

    with trio.fail_after(60):
        assert await process.stdout.receive_some() == b"in"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter)
            with trio.move_on_after(0.2):
                await entered.wait()
            assert not entered.is_set(), "the other process still holds the lock"
            await process.stdin.aclose()
        await process.wait()


def test_the_manifest_is_readable_json(tmp_path: Path) -> None:
    make_folder(tmp_path / "model", 1, "source", lambda temporary: None)
    assert json.loads((tmp_path / "model" / "unpacked.json").read_text())["source"] == "source"


def test_the_orchestrator_side_never_imports_torch() -> None:
    script = "import sys, trainer.process, trainer.model_folder, trainer.fake; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=model_folder.PROJECT_FOLDER, check=True, timeout=60)
