# ruff: noqa: E501  (a table: one program a row)
"""Hostile and broken programs, each with the classes of failure of which one must come; None is a pass.

Where an attack ends in a right answer, it passes only if nothing of it worked. `SENTINEL` and `PORT` in a program stand
for a file of the machine that everybody may write and for a port of it that listens.
"""

from dataclasses import dataclass
from textwrap import indent

from protocols.ports import Limits
from protocols.records import AssertTest, ErrorClass, StdioTest, Test

LIMITS = Limits(cpu_s=2.0, wall_s=6.0)
BRIEF = Limits(cpu_s=0.3, wall_s=0.6)
CALL = AssertTest(code="assert f(1) == 2")
APART = AssertTest(code="y = f(1)\nassert y == 2")
RIGHT = StdioTest(stdin="1\n", stdout="2\n")

Classes = tuple[ErrorClass | None, ...]
REFUSED: Classes = ("forbidden", "other")
"""The kernel or the file system said no, and the program did not catch it."""


@dataclass(frozen=True)
class Attack:
    """One program."""

    name: str
    code: str
    wanted: Classes
    test: Test = CALL
    limits: Limits = LIMITS
    message: str = ""
    """What the outcome's message must hold."""


def _function(name: str, body: str, wanted: Classes | ErrorClass | None, **more: object) -> Attack:
    """Return an attack in the body of `f(x)`; statements before a line `---` stand before the function."""
    before, _, inside = body.rpartition("---\n")
    code = f"{before}def f(x):\n{indent(inside, '    ')}\n"
    return Attack(name, code, wanted if isinstance(wanted, tuple) else (wanted,), **more)  # type: ignore[arg-type]


def _program(name: str, code: str, wanted: Classes | ErrorClass | None, **more: object) -> Attack:
    test = more.pop("test", RIGHT)
    return Attack(name, code, wanted if isinstance(wanted, tuple) else (wanted,), test, **more)  # type: ignore[arg-type]


def _libc(name: str, call: str) -> Attack:
    body = f"import ctypes\n---\nctypes.CDLL(None).{call}\nreturn 2"
    return _function(name, body, "forbidden", message="system call that is not allowed")


PASSING = [
    _program("input through the buffer", "import sys\nprint(int(sys.stdin.buffer.readline()) + 1)", None),
    _program("input through the descriptor", "import os\nprint(int(os.read(0, 9)) + 1)", None),
    _program("input through a second opening", "print(int(open(0).read()) + 1)", None),
    _program("exit 0 under a main guard", "import sys\nif __name__ == '__main__':\n    print(2)\n    sys.exit(0)", None),
    _program("exit at once with the output flushed", "import os\nprint(2, flush=True)\nos._exit(0)", None),
    _program("output at exit", "import atexit\natexit.register(print, 2)", None),
    _program("a thread that prints", "import threading\nthreading.Thread(target=print, args=(2,)).start()", None),
    _program(
        "the thread with a large stack that contest programs use",
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 26)\n"
        "def g(n):\n    return n and g(n - 1)\ndef main():\n    g(20000)\n    print(2)\n"
        "t = threading.Thread(target=main)\nt.start()\nt.join()",
        None,
    ),
    _function("a thread that lingers", "import threading, time\n---\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\nreturn x + 1", None),
    _function("killing everything, then right", "import os\n---\ntry: os.kill(-1, 9)\n"
        "except OSError: pass\nreturn x + 1", None),
    _function("killing the parent, then right", "import os\n---\ntry: os.kill(os.getppid(), 9)\n"
        "except OSError: pass\nreturn x + 1", None),
    _function("stopping the parent, then right", "import os, signal\n---\ntry: os.kill(os.getppid(), signal.SIGSTOP)\n"
        "except OSError: pass\nreturn x + 1", None),
    _function("killing its process group's leader, then right", "import os\n---\nfor n in range(2, 400):\n"
        "    if n != os.getpid():\n        try: os.kill(n, 9)\n        except OSError: pass\nreturn x + 1", None),
    _function("removing everything, then right", "import shutil\n---\nshutil.rmtree('/', ignore_errors=True)\n"
        "return x + 1", None),
    _function("removing the scratch folder, then right", "import os\n---\ntry: os.rmdir(os.getcwd())\n"
        "except OSError: pass\nreturn x + 1", None),
    _function("moving to another folder, then right", "import os\n---\nos.chdir('/')\nreturn x + 1", None),
    _function("an event loop", "import asyncio\n---\nasync def g(): return x + 1\nreturn asyncio.run(g())", None),
    _function("a pool of threads", "from concurrent.futures import ThreadPoolExecutor\n---\n"
        "with ThreadPoolExecutor(2) as pool: return list(pool.map(lambda y: y + 1, [x]))[0]", None),
    _function("a temporary file", "import tempfile\n---\nwith tempfile.TemporaryFile() as file: file.write(b'x')\n"
        "return x + 1", None),
    _function("a database in memory", "import sqlite3\n---\n"
        "return sqlite3.connect(':memory:').execute('select ? + 1', (x,)).fetchone()[0]", None),
    _function("an alarm that is handled", "import signal, time\n---\nsignal.signal(signal.SIGALRM, lambda *a: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.01)\ntime.sleep(0.05)\nreturn x + 1", None),
    _function("a forged marker on standard output, then right", "---\nprint('{\"results\":[0]}')\nreturn x + 1", None),
    _function("closing every descriptor but the results'", "import os\n---\nfor n in (0, 1, 2): os.close(n)\n"
        "return x + 1", None),
    _function("replacing standard output", "import io, sys\n---\nsys.stdout = io.StringIO()\nprint('x')\n"
        "return x + 1", None),
    _function("a tracing function", "import sys\n---\nsys.settrace(lambda *a: None)\nreturn x + 1", None),
]  # fmt: skip

FORGERIES = [
    _function("an object that equals everything", "class A:\n    def __eq__(self, o): return True\n---\nreturn A()",
        "wrong_answer"),
    _function("such an object, tested apart", "class A:\n    def __eq__(self, o): return True\n---\nreturn A()",
        "wrong_answer", test=APART),
    _function("a subclass of int", "class A(int):\n    def __eq__(self, o): return True\n---\nreturn A(7)", "wrong_answer"),
    _function("a subclass of int, tested apart", "class A(int):\n    def __eq__(self, o): return True\n---\nreturn A(7)",
        "wrong_answer", test=APART),
    _function("a subclass of list", "class A(list):\n    def __eq__(self, o): return True\n---\nreturn A()",
        "wrong_answer", test=AssertTest(code="assert f(1) == [2]")),
    _function("a class that claims to be int", "class A:\n    __class__ = int\n    def __eq__(self, o): return True\n---\n"
        "return A()", "wrong_answer"),
    _function("a metaclass whose classes equal everything", "class M(type):\n    def __eq__(c, o): return True\n"
        "    __hash__ = type.__hash__\nclass A(metaclass=M): pass\n---\nreturn A", "wrong_answer"),
    _function("printed markers of success", "---\nprint('PASSED')\nprint('{\"results\":[2],\"token\":\"x\"}')\nreturn 0",
        "wrong_answer"),
    _function("a walk up the frames for the expected value", "import sys, re\n---\nframe, seen = sys._getframe(), ''\n"
        "while frame:\n    seen += repr(frame.f_locals) + repr(frame.f_code.co_consts)\n    frame = frame.f_back\n"
        "return [n for n in map(int, re.findall('[0-9]+', seen)) if n % 1000003 == 77]", "wrong_answer",
        test=AssertTest(code=f"assert {1000003 * 54321 + 77} in f(1)")),
    _function("the same, tested apart", "import sys, re\n---\nframe, seen = sys._getframe(), ''\n"
        "while frame:\n    seen += repr(frame.f_locals) + repr(frame.f_code.co_consts)\n    frame = frame.f_back\n"
        "return [n for n in map(int, re.findall('[0-9]+', seen)) if n % 1000003 == 77]", "wrong_answer",
        test=AssertTest(code=f"y = f(1)\nassert {1000003 * 54321 + 77} in y")),
    _function("a scan of all objects for the test", "import gc\n---\nsought = ''.join(['y', ' == 2'])\n"
        "return 2 if any(sought in repr(o) for o in gc.get_objects() if type(o) in (dict, tuple, list)) else 0",
        "wrong_answer", test=APART),
    _function("a scan of the heap for the test", "import ctypes\n---\nstart = id(object()) & ~0xfffff\n"
        "found = ctypes.string_at(start, 1 << 19).find(bytes([97, 115, 115, 101, 114, 116, 32, 121, 32, 61]))\nreturn 2 if found >= 0 else 0",
        ("wrong_answer", "crash"), test=APART),
    _function("a forged claim on every descriptor", "import os\n---\nfor n in range(64):\n"
        "    try: os.write(n, b'{\"results\":[],\"token\":\"x\"}\\n')\n    except OSError: pass\nos._exit(0)",
        ("crash", "other", "wrong_answer")),
    _function("the same, tested apart", "import os\n---\nfor n in range(64):\n"
        "    try: os.write(n, b'{\"results\":[],\"token\":\"x\"}\\n')\n    except OSError: pass\nos._exit(0)",
        ("crash", "other", "wrong_answer"), test=APART),
    _function("a forged reply", "import os\n---\ntext = b'{\"result\":{\"opaque\":[\"int\",\"2\"]}}'\n"
        "os.write(5, len(text).to_bytes(4, 'little') + text)\nreturn 0", "wrong_answer", test=APART),
    _function("a reply that claims to be an error of the sandbox", "class CandidateGone(BaseException): pass\n---\n"
        "raise CandidateGone", "other", test=APART),
    _function("an exception of a class called NotData", "class NotData(BaseException): pass\n---\nraise NotData",
        "other", test=APART),
    _function("an argument that is changed", "---\nx.append(4)\nreturn x", "wrong_answer",
        test=AssertTest(code="assert f([1]) == [1]")),
    _function("built-ins patched so that comparisons hold", "import builtins\nbuiltins.isinstance = lambda *a: True\n"
        "builtins.type = lambda *a: int\nbuiltins.repr = lambda *a: '2'\n---\nreturn 1", ("wrong_answer", "other", "type")),
    _function("the encoder patched", "import sys\n---\nframe = sys._getframe()\nwhile frame:\n"
        "    e = frame.f_locals.get('encoder')\n    if e is not None: e.encode = lambda value: '2'\n"
        "    frame = frame.f_back\nreturn 1", ("wrong_answer", None)),
    _program("binary on standard output", "import sys\nsys.stdout.buffer.write(bytes([255, 254, 0]))", "wrong_answer"),
    _program("right output, then a failure", "print(2)\nraise ValueError('late')", "value"),
    _program("right output, then status 1", "import os\nprint(2, flush=True)\nos._exit(1)", "crash"),
    _program("right output, then killed", "import os\nprint(2, flush=True)\nos.kill(os.getpid(), 9)", "crash"),
    _program("right output, then hang", "print(2, flush=True)\nwhile True: pass", "timeout", limits=BRIEF),
    _program("right output on standard error", "import sys\nprint(2, file=sys.stderr)", "wrong_answer"),
]  # fmt: skip

_LEAVE = {
    "sys.exit": "import sys\nsys.exit(0)", "os._exit": "import os\nos._exit(0)", "SystemExit": "raise SystemExit(0)",
    "exit": "exit(0)",
}  # fmt: skip
EXITS = [
    *(_function(f"{name} at import", f"{code}\n---\nreturn 2", "crash", message="early exit") for name, code in _LEAVE.items()),
    *(_function(f"{name} in the call", f"---\n{code}", "crash", message="early exit") for name, code in _LEAVE.items()),
    *(_function(f"{name} in a call apart", f"---\n{code}", "crash", message="early exit", test=APART)
      for name, code in _LEAVE.items()),
]  # fmt: skip

FLOODS = [
    _function("standard output", "---\nwhile True: print('x' * 1000)", "output_limit"),
    _function("standard error", "import os\n---\nwhile True: os.write(2, b'x' * 1000)", "output_limit"),
    _function("the result descriptor", "import os\n---\nwhile True: os.write(3, b'x' * 1000)", "output_limit"),
    _function("the conversation", "import os\n---\nwhile True: os.write(5, b'x' * 1000)", "output_limit", test=APART),
    _function("a huge list as result", "---\nreturn ['x' * 1000] * 5000", "output_limit"),
    _function("a huge number as result", "---\nreturn 1 << 10_000_000", "output_limit"),
    _function("a huge result apart", "---\nreturn 'x' * 5_000_000", "output_limit", test=APART),
    _function("60,000 lists in each other", "---\nv = []\nfor _ in range(60000): v = [v]\nreturn v", "wrong_answer"),
    _function("60,000 lists in each other, apart", "---\nv = []\nfor _ in range(60000): v = [v]\nreturn v",
        "wrong_answer", test=APART),
    _function("a forged reply 60,000 deep", "import os\n---\ntext = b'[' * 60000 + b']' * 60000\n"
        "os.write(5, len(text).to_bytes(4, 'little') + text)\nreturn 0",
        ("other", "wrong_answer", "recursion"), test=APART),
    _function("garbage as result", "import os\n---\nos.write(3, bytes(range(128, 256)) + b'\\n')\nreturn 0",
        ("other", "wrong_answer")),
    _function("a value that holds itself", "---\nv = []\nv.append(v)\nreturn v", "wrong_answer"),
    _function("an endless iterator", "import itertools\n---\nreturn itertools.count()", "wrong_answer"),
    _function("a representation that never ends", "class A:\n    def __repr__(self):\n        while True: pass\n---\n"
        "return A()", "timeout", limits=BRIEF),
    _function("one huge file", "---\nopen('a', 'wb').write(bytes(64 << 20))\nreturn 2", "output_limit"),
    _function("many files", "---\nfor n in range(200): open(str(n), 'wb').write(bytes(1 << 20))\nreturn 2", "output_limit"),
    _function("very many empty files", "---\nfor n in range(100_000): open(str(n), 'wb').close()\nreturn 2", "output_limit"),
    _function("very many folders", "import os\n---\nfor n in range(100_000): os.mkdir(str(n))\nreturn 2", "output_limit"),
    _function("folders in folders", "import os\n---\nfor n in range(100_000):\n    os.mkdir('d')\n    os.chdir('d')\n"
        "return 2", "output_limit"),
    _function("a folder that nobody may enter", "import os\n---\nos.makedirs('a/b')\nopen('a/b/c', 'w').close()\n"
        "os.mkdir('z', 0)\nreturn x + 1", None),
    _function("folders with the names that cleaning up uses", "import os\n---\nfor n in range(1, 9):\n"
        "    os.makedirs(f'{n}~/{n}~')\nreturn x + 1", None),
]  # fmt: skip

ENDLESS = [
    _function("a loop", "---\nwhile True: pass", "timeout", limits=BRIEF),
    _function("a loop at import", "while True: pass\n---\nreturn 2", "timeout", limits=BRIEF),
    _function("a loop apart", "---\nwhile True: pass", "timeout", limits=BRIEF, test=APART),
    _function("a sleep", "import time\n---\ntime.sleep(600)", "timeout", limits=BRIEF),
    _function("a swallowed BaseException", "---\nwhile True:\n    try:\n        while True: pass\n"
        "    except BaseException: pass", "timeout", limits=BRIEF),
    _function("an ignored limit on CPU time", "import signal\n---\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
        "while True: pass", "timeout", limits=BRIEF),
    _function("every signal ignored", "import signal\n---\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass", "timeout", limits=BRIEF),
    _function("stopping itself", "import os, signal\n---\nos.kill(os.getpid(), signal.SIGSTOP)\nreturn 2", "timeout",
        limits=BRIEF),
    _function("a regular expression that blows up", "import re\n---\nre.match('(a+)+$', 'a' * 40 + 'b')\nreturn 2",
        "timeout", limits=BRIEF),
    _function("a power in C", "---\nreturn 10 ** 10 ** 9 and 2", ("timeout", "memory"), limits=BRIEF),
    _function("a sort that never ends", "class A:\n    def __lt__(self, o):\n        while True: pass\n---\n"
        "sorted([A(), A()])\nreturn 2", "timeout", limits=BRIEF),
    _function("threads that all compute", "import threading\n---\ndef g():\n    while True: pass\n"
        "for _ in range(3): threading.Thread(target=g).start()\ng()", "timeout", limits=BRIEF),
    _function("a deadlock", "import threading\n---\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()", "timeout",
        limits=BRIEF),
    _function("waiting for input that never comes", "import os\n---\nr, w = os.pipe()\nos.read(r, 1)", "timeout",
        limits=BRIEF),
    _program("a handler at exit that never ends", "import atexit, time\natexit.register(time.sleep, 600)\nprint(2)",
        "timeout", limits=BRIEF),
    _program("a thread that never ends", "import threading, time\nprint(2)\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()", "timeout", limits=BRIEF),
]  # fmt: skip

EXHAUSTION = [
    _function("8 GB at once", "---\nreturn bytearray(8 << 30)", "memory"),
    _function("an endless list", "---\nheld = []\nwhile True: held.append('x' * 1_000_000)", "memory"),
    _function("an endless string", "---\ns = 'x'\nwhile True: s += s", "memory"),
    _function("memory in C", "import ctypes\n---\nif not ctypes.CDLL(None).mmap(None, 8 << 30, 3, 34, -1, 0) + 1: "
        "raise MemoryError\nreturn 2", ("memory", "wrong_answer", "type", "other", None)),
    _function("memory apart", "---\nreturn bytearray(8 << 30)", "memory", test=APART),
    _function("very many threads", "import threading, time\n---\n"
        "while True: threading.Thread(target=time.sleep, args=(60,)).start()", ("other", "memory")),
    _function("very many small threads", "import threading, time\nthreading.stack_size(32768)\n---\n"
        "while True: threading.Thread(target=time.sleep, args=(60,)).start()", ("other", "memory")),
    _function("a fork bomb", "import os\n---\nwhile True: os.fork()", REFUSED),
    _function("a fork bomb that swallows errors", "import os\n---\nwhile True:\n    try: os.fork()\n"
        "    except OSError: pass", "timeout", limits=BRIEF),
    _function("very many descriptors", "---\nheld = []\nwhile True: held.append(open('/dev/null'))", "other"),
    _function("very many pipes", "import os\n---\nwhile True: os.pipe()", "other"),
    _function("recursion", "---\nreturn f(x)", "recursion"),
    _function("recursion with a raised limit", "import sys\nsys.setrecursionlimit(10**9)\n---\nreturn f(x) + 1",
        ("crash", "memory", "timeout", "recursion")),
    _function("a NULL pointer", "import ctypes\n---\nctypes.string_at(0)", "crash", message="SIGSEGV"),
    _function("an abort", "import os\n---\nos.abort()", "crash", message="SIGABRT"),
    _function("a bad instruction", "import os, signal\n---\nos.kill(os.getpid(), signal.SIGILL)", "crash", message="SIGILL"),
    _function("the cycle collector turned off", "import gc\ngc.disable()\n---\nwhile True:\n    a = ['x' * 100_000]\n"
        "    a.append(a)", "memory"),
    Attack("bad source", "def f(x) return x", ("syntax",)),
    Attack("5,000 nested parentheses", "(" * 5000 + ")" * 5000, ("syntax",)),
    Attack("a null byte", "def f(x):\n    return 2\0", ("syntax", "value")),
    Attack("an endless constant", "def f(x):\n    return 9**9**9", ("timeout", "memory"), limits=BRIEF),
    Attack("a lone surrogate", "def f(x):\n    return '\ud800'", ("syntax", "value", "other", "wrong_answer")),
]  # fmt: skip

REACHING_OUT = [
    _function("a subprocess", "import subprocess\n---\nsubprocess.run(['/bin/true'])\nreturn 2", REFUSED),
    _function("a shell", "import os\n---\nreturn 2 if os.system('true') == 0 else 0", ("wrong_answer", *REFUSED)),
    _function("another program in its place", "import os\n---\nos.execv('/usr/bin/true', ['true'])", REFUSED),
    _function("a program from memory", "import os\n---\nos.memfd_create('x')\nreturn 2", REFUSED),
    _function("a pool of processes", "import multiprocessing\n---\n"
        "with multiprocessing.Pool(2) as pool: return pool.map(abs, [2])[0]", REFUSED),
    _function("a daemon", "import os\n---\nif os.fork() == 0:\n    os.setsid()\n    while True: pass\nreturn 2", REFUSED),
    _function("a new session", "import os\n---\nos.setsid()\nreturn 2", REFUSED),
    _function("a vfork through C", "import ctypes\n---\nreturn 2 if ctypes.CDLL(None).fork() >= 0 else 0", "wrong_answer"),
    _function("the account file", "---\nopen('/etc/passwd').read()\nreturn 2", REFUSED),
    _function("the environment of process 1", "---\nopen('/proc/1/environ').read()\nreturn 2", REFUSED),
    _function("its own memory map", "---\nopen('/proc/self/maps').read()\nreturn 2", REFUSED),
    _function("the zygote's memory", "import os\n---\nopen(f'/proc/{os.getppid()}/mem', 'rb').read(1)\nreturn 2", REFUSED),
    _function("the harness", f"---\nopen({__file__!r}).read()\nreturn 2", REFUSED),
    _function("the list of all users' files", "import os\n---\nreturn 2 if os.listdir('/home') or 1 else 0", REFUSED),
    _function("the machine's sentinel, read", "---\nopen('SENTINEL').read()\nreturn 2", REFUSED),
    _function("the machine's sentinel, written", "---\nopen('SENTINEL', 'a').write('x')\nreturn 2", REFUSED),
    _function("the machine's sentinel, removed", "import os\n---\nos.unlink('SENTINEL')\nreturn 2", REFUSED),
    _function("the machine's sentinel, its mode", "import os\n---\nos.chmod('SENTINEL', 0)\nreturn 2", REFUSED),
    _function("the machine's sentinel, its times", "import os\n---\nos.utime('SENTINEL', (0, 0))\nreturn 2", REFUSED),
    _function("the machine's sentinel, truncated", "import os\n---\nos.truncate('SENTINEL', 0)\nreturn 2", REFUSED),
    _function("the machine's sentinel through a link", "import os\n---\nos.symlink('SENTINEL', 'l')\n"
        "open('l', 'a').write('x')\nreturn 2", REFUSED),
    _function("the machine's sentinel through a hard link", "import os\n---\nos.link('SENTINEL', 'l')\n"
        "open('l', 'a').write('x')\nreturn 2", REFUSED),
    _function("a file in the root folder", "---\nopen('/x', 'w')\nreturn 2", REFUSED),
    _function("a file above the scratch folder", "---\nopen('../x', 'w')\nreturn 2", REFUSED),
    _function("a file among the libraries", "import json\n---\nopen(json.__file__ + 'x', 'w')\nreturn 2", REFUSED),
    _function("a file in shared memory", "---\nopen('/dev/shm/x', 'w')\nreturn 2", REFUSED),
    _function("a shared memory segment", "from multiprocessing import shared_memory\n---\n"
        "shared_memory.SharedMemory(create=True, size=64)\nreturn 2", REFUSED),
    _function("a System V segment", "import ctypes\n---\nreturn 2 if ctypes.CDLL(None).shmget(0, 64, 0o1600) >= 0 else 0",
        "wrong_answer"),
    _function("a message queue", "import ctypes\n---\nreturn 2 if ctypes.CDLL(None).msgget(0, 0o1600) >= 0 else 0",
        "wrong_answer"),
    _function("a device", "import os\n---\nos.mknod('d', 0o60666, 1)\nreturn 2", REFUSED),
    _function("the disk", "---\nopen('/dev/vda', 'rb').read(1)\nreturn 2", REFUSED),
    _function("the terminal", "import fcntl\n---\nfcntl.ioctl(0, 0x5412, b'x')\nreturn 2", REFUSED),
    _function("signals by a descriptor's owner", "import fcntl, os\n---\nr, w = os.pipe()\nfcntl.fcntl(r, 8, 1)\nreturn 2",
        REFUSED),
    _function("a connection", "import socket\n---\nsocket.create_connection(('127.0.0.1', PORT), 1)\nreturn 2", REFUSED),
    _function("a datagram", "import socket\n---\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', "
        "('127.0.0.1', PORT))\nreturn 2", REFUSED),
    _function("a name server", "import socket\n---\nsocket.getaddrinfo('example.invalid', 80)\nreturn 2", REFUSED),
    _function("a listening socket", "import socket\n---\nsocket.create_server(('127.0.0.1', 0))\nreturn 2", REFUSED),
    _function("a local socket", "import socket\n---\nsocket.socket(socket.AF_UNIX).connect('\\0x')\nreturn 2", REFUSED),
    _function("a pair of datagram sockets", "import socket\n---\n"
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\nreturn 2", REFUSED),
    _function("a raised limit on memory", "import resource\n---\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nreturn 2",
        ("value", *REFUSED)),
    _function("a raised limit on files", "import resource\n---\nresource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))\n"
        "return 2", ("value", *REFUSED)),
    _function("the parent's limits", "import os, resource\n---\nresource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))\n"
        "return 2", REFUSED),
    _function("a better priority", "import os\n---\nos.nice(-5)\nreturn 2", REFUSED),
    _function("another scheduler", "import os\n---\nos.sched_setaffinity(0, {0})\nreturn 2", REFUSED),
    _function("root's number", "import os\n---\nos.setuid(0)\nreturn 2", REFUSED),
    _function("root's group", "import os\n---\nos.setgroups([0])\nreturn 2", REFUSED),
    _function("a file's owner", "import os\n---\nopen('a', 'w').close()\nos.chown('a', 0, 0)\nreturn 2", REFUSED),
    _function("outliving its parent", "import ctypes\n---\nreturn 2 if ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0 else 0",
        "wrong_answer"),
    _function("being dumped", "import ctypes\n---\nreturn 2 if ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0 else 0",
        "wrong_answer"),
    _function("another filter", "import ctypes\n---\nreturn 2 if ctypes.CDLL(None).prctl(22, 1, 0, 0, 0) == 0 else 0",
        "wrong_answer"),
    _function("a call under another processor's number", "import ctypes\n---\n"
        "ctypes.CDLL(None).syscall(0x40000000 + 39)\nreturn 2", ("forbidden", "other", None)),
    _function("clone3", "import ctypes\n---\nreturn ctypes.CDLL(None).syscall(435, 0, 0) and 2", (None, "wrong_answer")),
]  # fmt: skip

VIOLATIONS = [
    _libc("ptrace", "ptrace(0, 0, 0, 0)"),
    _libc("unshare", "unshare(0x10000000)"),
    _libc("setns", "setns(0, 0)"),
    _libc("mount", "mount(b'x', b'/tmp', b'tmpfs', 0, None)"),
    _libc("umount2", "umount2(b'/tmp', 2)"),
    _libc("chroot", "chroot(b'.')"),
    _libc("sethostname", "sethostname(b'x', 1)"),
    _libc("process_vm_readv", "process_vm_readv(1, None, 0, None, 0, 0)"),
    _libc("process_vm_writev", "process_vm_writev(1, None, 0, None, 0, 0)"),
    _libc("io_uring_setup", "syscall(425, 1, 0)"),
    _libc("open_tree", "syscall(428, -100, b'/', 1)"),
    _libc("pidfd_getfd", "syscall(438, 0, 0, 0)"),
    _libc("fsopen", "syscall(430, b'tmpfs', 0)"),
]

MACHINE_CALLS = {
    "bpf": (321, 280), "keyctl": (250, 219), "add_key": (248, 217), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "kexec_load": (246, 104), "init_module": (175, 105), "open_by_handle_at": (304, 265),
}  # fmt: skip
"""Calls without a wrapper in the C library: numbers for x86_64 and aarch64."""
VIOLATIONS += [
    _libc(name, f"syscall({x86_64} if __import__('os').uname().machine == 'x86_64' else {aarch64}, 0, 0, 0, 0, 0)")
    for name, (x86_64, aarch64) in MACHINE_CALLS.items()
]

ATTACKS = [*PASSING, *FORGERIES, *EXITS, *FLOODS, *ENDLESS, *EXHAUSTION, *REACHING_OUT, *VIOLATIONS]
