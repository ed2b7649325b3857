"""The command line: every shipped settings file loads, and what cannot be used ends with exit code 2 and no trace."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from commands.exit_code import READER_LEFT
from ledger.run_folder import RunFolder
from ledger.sqlite import open_ledger
from main import main
from protocols.settings import differing_keys, load_settings

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(ROOT.joinpath("configs").glob("*.toml"))
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

TWO_MANAGED = "".join(
    f'[[endpoints]]\nname = "{name}"\nurl = "managed"\nroles = ["policy", "judge", "critic"]\n' for name in "ab"
)
THERE = '[[endpoints]]\nname = "there"\nurl = "http://127.0.0.1:1/v1"\nroles = ["policy", "judge", "critic"]\n'


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks").symlink_to(ROOT / "tasks")
    return tmp_path


def write_config(folder: Path, text: str = "") -> str:
    path = folder / "config.toml"
    path.write_text('[run]\nname = "r"\n' + text, encoding="utf-8")
    return str(path)


def endpoint(port: int) -> str:
    """Settings of one external endpoint in every role."""
    return (
        f'[[endpoints]]\nname = "there"\nurl = "http://127.0.0.1:{port}/v1"\n'
        'roles = ["policy", "judge", "critic"]\nconnect_timeout_s = 2\n'
    )


class Models(BaseHTTPRequestHandler):
    """Answers everything with a list of one model."""

    def do_GET(self) -> None:
        body = json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def listening() -> Generator[int]:
    """A server on loopback that lists one model; yields its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Models) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


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
        (TWO_MANAGED, "one endpoint may be managed, with all the roles it has; a, b are"),
        ('[tasks]\ntrain = "nowhere.jsonl"\n', "nowhere.jsonl"),
        ("[train]\ntargets = []\n", "train.targets"),
        ('[train]\ndora = true\n[publish]\nway = "adapter"\n', "vLLM serves no DoRA adapters"),
        ("[train]\ndora = true\n" + THERE, "what 'auto' comes to here"),
        ('[train]\nweights = "full"\n' + THERE, "cannot be published as adapters"),
        ('[train]\nweights = "full"\n[publish]\nway = "adapter"\n', "cannot be published as adapters"),
        ('[train]\nweights = "full"\n[publish]\nway = "in_place"\n[server]\ndevice = "cpu"\n', "the old projection"),
        ('[publish]\nway = "restart"\n' + THERE, "needs a server that the run starts itself"),
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


def test_a_run_of_before_a_setting_was_known_has_its_default(in_folder: Path) -> None:
    ours = load_settings(Path(write_config(in_folder)))
    stored = ours.model_dump(mode="json")
    del stored["sandbox"]["backend"]
    assert differing_keys(ours, stored) == ()
    changed = load_settings(Path(write_config(in_folder)), ("sandbox.repeat_failures=false",))
    del stored["sandbox"]["repeat_failures"]
    assert differing_keys(changed, stored) == ("sandbox.repeat_failures: true there, false here",)


def test_an_endpoint_that_nobody_listens_at_is_named(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert main(["run", write_config(in_folder, endpoint(port))]) == 2
    error = capsys.readouterr().err
    assert f"127.0.0.1:{port}" in error
    assert "there" in error
    assert not list((in_folder / "runs").iterdir())


def test_a_taken_port_is_named(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listening() as port:
        assert main(["run", write_config(in_folder, f"[server]\nport = {port}\n")]) == 2
    assert f"port {port} is in use" in capsys.readouterr().err
    assert not (in_folder / "runs").exists()


def test_a_model_folder_without_weights_is_named(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = in_folder / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}', encoding="utf-8")
    assert main(["run", write_config(in_folder), "--model", str(folder)]) == 2
    error = capsys.readouterr().err
    assert str(folder) in error
    assert "weights" in error
    assert not (in_folder / "runs").exists()


def test_an_adapter_on_a_layer_that_the_model_has_not_is_refused(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = b'{"model.layers.0.mlp.up_proj.weight": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}'
    folder = in_folder / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    config = write_config(in_folder, '[train]\ntargets = ["q_proj"]\n')
    assert main(["run", config, "--model", str(folder)]) == 2
    assert "no linear layer 'q_proj' that an adapter can sit on; it has up_proj" in capsys.readouterr().err
    assert not (in_folder / "runs").exists()


def test_a_reference_that_fails_its_tests_is_named(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {**TASK, "reference": "def twice(n):\n    return n\n"}
    (in_folder / "t.jsonl").write_text(json.dumps(wrong) + "\n", encoding="utf-8")
    with listening() as port:
        config = write_config(in_folder, '[tasks]\ntrain = "t.jsonl"\nlimit = 1\n' + endpoint(port))
        assert main(["run", config]) == 2
    error = capsys.readouterr().err
    assert "numbers/twice" in error
    assert "assert twice(2) == 4" in error
    assert not list((in_folder / "runs").iterdir())


def may_mount() -> bool:
    """Whether this user may mount a small file system in a namespace of its own."""
    tool = shutil.which("unshare")
    probe = [tool or "", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return tool is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="no small file system can be mounted here")
def test_a_full_disk_ends_the_run_and_leaves_nothing(in_folder: Path) -> None:
    runs = in_folder / "runs"
    runs.mkdir()
    with listening() as port:
        config = write_config(in_folder, endpoint(port))
        script = (
            f"mount -t tmpfs -o size=128k tmpfs '{runs}' && '{sys.executable}' '{ROOT / 'main.py'}' run '{config}';"
            f" code=$?; ls -A '{runs}'; exit $code"
        )
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 2
    assert "space" in done.stderr.splitlines()[-1]
    assert done.stdout.splitlines()[-1:] != ["r"]


def test_a_run_compared_with_itself_is_refused(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(in_folder), f"{in_folder}/../{in_folder.name}"]) == 2
    assert "is given twice" in capsys.readouterr().err
    assert not (in_folder / "compare.png").exists()


async def test_a_run_of_before_a_setting_was_known_is_compared_by_its_default(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = load_settings(Path(write_config(in_folder))).model_dump(mode="json")
    older = {**stored, "curate": {key: value for key, value in stored["curate"].items() if key != "critiques"}}
    for name, settings in (("new", stored), ("old", older)):
        folder = RunFolder(in_folder / name)
        folder.path.mkdir()
        folder.settings.write_text(json.dumps(settings), encoding="utf-8")
        async with open_ledger(folder.ledger):
            pass
    assert main(["compare", "new", "old", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"] == {}


def test_settings_that_say_what_work_is_done_cannot_be_changed_afterwards(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["curate", str(in_folder), "--dry-run", "--set", "generate.candidates=9"]) == 2
    assert "'generate.candidates=9' concerns work that the run has not done" in capsys.readouterr().err


def test_a_benchmark_that_overlaps_the_training_tasks_is_refused(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "t.jsonl").write_text(json.dumps(TASK) + "\n", encoding="utf-8")
    (in_folder / "b.jsonl").write_text(json.dumps({**TASK, "id": "other"}) + "\n", encoding="utf-8")
    config = write_config(in_folder, '[tasks]\ntrain = "t.jsonl"\nbenchmarks = ["b.jsonl"]\n')
    assert main(["run", config]) == 2
    assert "other of the benchmark tasks and numbers/twice of the training tasks" in capsys.readouterr().err
    assert not (in_folder / "runs").exists()


@pytest.mark.parametrize("command", ["report", "status", "compare", "curate"])
def test_a_folder_that_is_no_run_is_refused(in_folder: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, str(in_folder)]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_a_reader_that_leaves_early_ends_the_command_without_a_word() -> None:
    lines = "import main; main.report_command = lambda *_, **__: print('line\\n' * 100_000) or 0"
    command = [sys.executable, "-c", f"{lines}; raise SystemExit(main.main(['report', 'any']))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == READER_LEFT
