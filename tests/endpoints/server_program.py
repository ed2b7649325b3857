"""A small stand-in for a vLLM server: `python server_program.py PORT PIDS_FILE [WORD...]`.

It starts an "engine" of its own, as vLLM does, notes both process ids, and answers every GET with 200; POST /die ends
it with code 3. Words: `sick` is never healthy; `stubborn` ignores SIGTERM, and so does its engine; `say=TEXT` prints a
line and ends with code 1 (also as the name of a model); `once` (with a file `PIDS_FILE.once`) fails from the second
start on.
"""

import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ENGINE = "import signal, sys, time\nif 'stubborn' in sys.argv: signal.signal(15, signal.SIG_IGN)\ntime.sleep(600)"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(503 if "sick" in sys.argv else 200)

    def do_POST(self) -> None:
        self._answer(200)
        if self.path == "/die":
            os._exit(3)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


def main(port: int, pids: Path, words: list[str]) -> None:
    for word in words:
        if word.startswith("say="):
            print(word.removeprefix("say="), flush=True)
            sys.exit(1)
    if "stubborn" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    engine = subprocess.Popen([sys.executable, "-c", ENGINE, *words])
    with pids.open("a") as file:
        file.write(f"{os.getpid()} {engine.pid}\n")
    marker = Path(f"{pids}.once")
    if "once" in words and marker.exists():
        print("no second life", flush=True)
        sys.exit(1)
    marker.touch()
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
