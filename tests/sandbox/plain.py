"""What a plain run of Python says of programs: no sandbox, no judge of ours, the published tests as they are.

Only for code that is trusted, as references and their mutants are. Each program has a process of its own, which gets
the program, then the test code, and passes if it comes to the end of both.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

_DEADLINE_S = 600.0
_SCRIPT = """
import json, os, resource, signal, sys
null = os.open(os.devnull, os.O_RDWR)
def passes(code, test):
    pid = os.fork()
    if pid == 0:
        for number in (0, 1, 2):
            os.dup2(null, number)
        resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        signal.alarm(8)
        status = 1
        try:
            scope = {'__name__': 'candidate'}
            exec(compile(code, '<program>', 'exec', dont_inherit=True), scope)
            exec(compile(test, '<test>', 'exec', dont_inherit=True), scope)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0
json.dump([passes(code, test) for code, test in json.load(sys.stdin)], sys.stdout)
"""


def plain_verdicts(programs: Sequence[tuple[str, str]]) -> list[bool]:
    """Return, for each program and its test code, whether it passes."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        check=True,
        timeout=_DEADLINE_S,
    )
    return json.loads(done.stdout)
