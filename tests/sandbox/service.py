"""A small sandbox service that speaks SandboxFusion's protocol and really runs Python. No isolation: for tests."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Service(ThreadingHTTPServer):
    """What a test may look at, and how it makes the service fail."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, Any]] = []
        self.busy = 0
        self.busiest = 0
        """Most requests that were worked on at the same time."""
        self.pings = 0
        self.ping_status = 200
        self.answers: list[tuple[int, bytes]] = []
        """Given instead of running anything, in turn."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""

    def fail_next(self, status: int, body: object = b"") -> None:
        self.answers.append((status, body if isinstance(body, bytes) else json.dumps(body).encode()))


@contextmanager
def service_running() -> Generator[Service]:
    with Service() as service:
        thread = Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield service
        finally:
            service.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.pings += 1
        self._answer(*((self.server.ping_status, b'"pong"') if self.path == "/v1/ping" else (404, b"{}")))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/run_code":
            self._answer(404, b"{}")
            return
        request = json.loads(body)
        self.server.requests.append(request)
        if self.server.answers:
            self._answer(*self.server.answers.pop(0))
        elif not isinstance(request.get("code"), str) or request.get("language") != "python":
            self._answer(422, b'{"detail":"code and language are required"}')
        else:
            self.server.busy += 1
            self.server.busiest = max(self.server.busiest, self.server.busy)
            answer = run_code(request)
            self.server.busy -= 1
            self._answer(200, json.dumps(answer).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def run_code(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "code.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(request["code"])
        run = _run(path, folder, request)
    late = run["status"] == "TimeLimitExceeded"
    status = "Failed" if late or run["return_code"] else "Success"
    return {"status": status, "message": "", "compile_result": None, "run_result": run, "files": {}}


def _run(path: str, folder: str, request: dict[str, Any]) -> dict[str, Any]:
    memory = request.get("memory_limit_MB", -1) << 20

    def limit() -> None:
        if memory > 0:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, path], stdin=-1, stdout=-1, stderr=-1, cwd=folder, preexec_fn=limit, start_new_session=True
    )
    try:
        out, err = process.communicate((request.get("stdin") or "").encode(), timeout=request["run_timeout"])
        status, code = "Finished", process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        out, err = process.communicate()
        status, code = "TimeLimitExceeded", None
    return {
        "status": status,
        "execution_time": time.monotonic() - start,
        "return_code": code,
        "stdout": out.decode("utf-8", "replace"),
        "stderr": err.decode("utf-8", "replace"),
    }
