"""`eval` on a server that answers from a script: what is asked, what is written, and what is kept."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from main import main

TASKS = [
    {
        "id": f"numbers/{name}",
        "kind": "function",
        "topic": topic,
        "instruction": f"Write a function `{name}(n)`.",
        "entry_point": name,
        "reference": f"def {name}(n):\n    return {value}\n",
        "tests": [f"assert {name}(2) == {result}", f"assert {name}(5) == {other}"],
    }
    for name, topic, value, result, other in (
        ("twice", "times", "2 * n", 4, 10),
        ("thrice", "times", "3 * n", 6, 15),
        ("next_one", "sums", "n + 1", 3, 6),
    )
]
RIGHT = "```python\ndef {name}(n):\n    return {value}\n\nassert {name}(1) == 99\n```"
VALUES = {"twice": "2 * n", "thrice": "3 * n", "next_one": "n"}


def answer(name: str, number: int) -> str:
    """The first sample is as good as the model gets, others hold no code; `next_one` is off by one."""
    return RIGHT.format(name=name, value=VALUES[name]) if number == 0 else "I do not know."


class Answers(BaseHTTPRequestHandler):
    asked: list[Any]

    def do_GET(self) -> None:
        self._send({"object": "list", "data": [{"id": "m", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body)
        text = body["messages"][0]["content"]
        name = next(name for name in VALUES if f"`{name}(" in text)
        choices = [
            {"message": {"role": "assistant", "content": answer(name, number)}, "finish_reason": "stop"}
            for number in range(body["n"])
        ]
        self._send({"choices": choices, "usage": {"prompt_tokens": 10, "completion_tokens": 20}})

    def _send(self, data: Any) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(asked: list[Any]) -> Generator[str]:
    """Yields the URL of a server on loopback; what it is asked is added to `asked`."""
    handler = type("Handler", (Answers,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(task) + "\n" for task in TASKS), encoding="utf-8")
    (tmp_path / "c.toml").write_text('[run]\nname = "r"\n[tasks]\nheld_out = "t.jsonl"\n', encoding="utf-8")
    return tmp_path


Evaluate = Callable[..., dict[str, Any]]


@pytest.fixture
def evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    def run(url: str, *arguments: str) -> dict[str, Any]:
        assert main(["eval", "c.toml", "--endpoint", url, "--json", "--output", "out", *arguments]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_it_counts_what_passes_and_tells_how_the_rest_failed(evaluate: Evaluate, folder: Path) -> None:
    asked: list[Any] = []
    with serving(asked) as url:
        results = evaluate(url, "--samples", "2", "--temperature", "0.7")
    assert {(body["n"], body["temperature"], body["model"]) for body in asked} == {(2, 0.7, "m")}
    assert results["pass_at_1"] == pytest.approx(2 * 0.5 / 3)
    assert results["pass_at_k"] == {"1": results["pass_at_1"]}  # for pass@4 there are too few samples
    assert results["by_topic"] == {"sums": [1, 0.0], "times": [2, 0.5]}
    assert results["mistakes"] == {"missing_entry_point": 3, "wrong_answer: off by one": 1}
    assert results["failing_references"] == []
    assert json.loads((folder / "out" / "results.json").read_text()) == results


def test_every_tasks_answers_are_written_as_they_were_measured(evaluate: Evaluate, folder: Path) -> None:
    with serving([]) as url:
        evaluate(url, "--samples", "2", "--temperature", "0.7")
    first, _, last = rows(folder / "out" / "tasks.jsonl")
    assert (first["task_id"], first["samples"], first["correct"]) == ("numbers/twice", 2, 1)
    assert first["answers"][0]["code"] == "def twice(n):\n    return 2 * n"  # its own test is cut off
    assert (first["answers"][1]["code"], first["answers"][1]["solved"]) == (None, False)
    assert last["answers"][0]["mistake"] == "wrong_answer: off by one"
    assert "| endpoint-base |" in (folder / "out" / "table.md").read_text()


def test_answers_as_written_fail_with_their_own_tests(evaluate: Evaluate) -> None:
    with serving([]) as url:
        assert evaluate(url, "--samples", "1", "--temperature", "0", "--as-written")["pass_at_1"] == 0.0


def test_the_same_command_again_asks_nobody(evaluate: Evaluate, folder: Path) -> None:
    asked: list[Any] = []
    with serving(asked) as url:
        first = evaluate(url, "--samples", "1", "--temperature", "0")
    again = evaluate(url, "--samples", "1", "--temperature", "0")  # nobody listens there any more
    assert len(asked) == len(TASKS)
    assert (again["results"], again["reused_answers"]) == (first["results"], len(TASKS))


def test_other_sampling_is_asked_anew_and_an_answer_that_was_cut_off_too(evaluate: Evaluate, folder: Path) -> None:
    asked: list[Any] = []
    with serving(asked) as url:
        evaluate(url, "--samples", "1", "--temperature", "0")
        kept = folder / "out" / "answers.jsonl"
        kept.write_bytes(kept.read_bytes()[:-40])
        assert evaluate(url, "--samples", "1", "--temperature", "0")["reused_answers"] == len(TASKS) - 1
        assert evaluate(url, "--samples", "1", "--temperature", "0")["reused_answers"] == len(TASKS)
        evaluate(url, "--samples", "1", "--temperature", "0.5")
    assert len(asked) == 2 * len(TASKS) + 1


def test_a_reference_that_fails_its_tests_here_is_named(evaluate: Evaluate, folder: Path) -> None:
    broken = {**TASKS[0], "reference": "def twice(n):\n    return n\n"}
    (folder / "b.jsonl").write_text(json.dumps(broken) + "\n", encoding="utf-8")
    with serving([]) as url:
        results = evaluate(url, "--tasks", "b.jsonl", "--samples", "1", "--temperature", "0")
    assert results["failing_references"] == ["numbers/twice"]
    assert "own references fail" in (folder / "out" / "table.md").read_text()


def test_two_evaluations_can_be_compared(evaluate: Evaluate, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving([]) as url:
        evaluate(url, "--samples", "1", "--temperature", "0")
        evaluate(url, "--samples", "1", "--temperature", "0", "--as-written", "--output", "written")
    assert main(["compare", "written", "out", "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    assert (pair["tasks"], pair["only_old"], pair["only_new"], pair["p_value"]) == (3, 0, 2, 0.5)
    assert pair["difference"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--endpoint", "localhost:8000"], "must start with http"),
        (["--tasks", "absent.jsonl"], "absent.jsonl does not exist"),
        (["--version", "3"], "is of no run"),
    ],
)
def test_what_cannot_be_used_is_named_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert main(["eval", "c.toml", *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["c.toml", "t.jsonl"]


@pytest.mark.parametrize("option", [["--samples", "0"], ["--temperature", "hot"]])
def test_options_out_of_range_are_refused(folder: Path, option: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["eval", "c.toml", *option])
