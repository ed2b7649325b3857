"""The modules that run inside as one compiled parcel, so that starting a slot neither reads nor compiles a source file.

Compiled once by the very interpreter that will run it (its format belongs to one Python version), then sent to each
slot ahead of its configuration. It works where the interpreter's user may not read this package or no byte code may be
written next to it.
"""

import subprocess
from pathlib import Path

import trio

from protocols.errors import SandboxUnavailable

_FOLDER = Path(__file__).parent / "inside"
_MODULES = (
    "system", "frames", "buffer", "encoding", "decoding", "proxy", "children", "groups", "scratch", "syscalls",
    "seccomp", "landlock", "jail", "watch", "child", "zygote", "host",
)  # fmt: skip
"""In order of dependency; the last one is the program."""
_DEADLINE_S = 60.0

FLAGS = ("-s", "-P", "-S")
"""How the interpreter is started: no user folder, no script folder, no `site`. Not `-E` or `-I`: with the environment
all but empty they would change nothing but to ignore PYTHONHASHSEED, and candidates must behave the same each time."""

ENVIRONMENT = {"LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "TZ": "UTC"}

_COMPILE = """
import marshal, sys
names, files = sys.argv[1].split(), sys.argv[2:]
codes = [compile(open(file, 'rb').read(), f'<{name}>', 'exec') for name, file in zip(names, files)]
sys.stdout.buffer.write(marshal.dumps(list(zip(names, codes))))
"""

START = """
import gc, marshal, os, sys
gc.disable()
def receive(left):
    data = b''
    while left > 0:
        part = os.read(0, left)
        if not part:
            sys.exit('the orchestrator went away while it sent the program')
        data += part
        left -= len(part)
    return data
for name in ('sandbox', 'sandbox.inside'):
    package = sys.modules[name] = type(sys)(name)
    package.__path__ = []
sys.modules['sandbox'].inside = package
*parts, (_, program) = marshal.loads(receive(int.from_bytes(receive(8), 'big')))
for name, code in parts:
    module = sys.modules['sandbox.inside.' + name] = type(sys)('sandbox.inside.' + name)
    setattr(package, name, module)
    exec(code, module.__dict__)
exec(program)
"""
"""Program (`python -c`) that takes a bundle from its standard input and becomes a slot's host."""


async def build(interpreter: str) -> bytes:
    """Return the bundle for `interpreter`, with its length in front, ready to be sent to `START`.

    Raises:
        SandboxUnavailable: the interpreter cannot be started, or not compile the program (older than Python 3.11).
    """
    files = [str(_FOLDER / f"{name}.py") for name in _MODULES]
    command = [interpreter, *FLAGS, "-c", _COMPILE, " ".join(_MODULES), *files]
    try:
        with trio.fail_after(_DEADLINE_S):
            process = await trio.run_process(command, capture_stdout=True, capture_stderr=True, env=ENVIRONMENT)
    except (OSError, trio.TooSlowError, subprocess.CalledProcessError) as error:
        raise SandboxUnavailable(
            f"The sandbox's interpreter {interpreter} cannot be used ({error}). What helps: a CPython 3.11 or later."
        ) from error
    return len(process.stdout).to_bytes(8, "big") + process.stdout
