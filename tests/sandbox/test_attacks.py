"""One hostile program per test. Each expected value would be right if the attack worked."""

import json
import os
import socket
from pathlib import Path

import pytest

from protocols.ports import Limits
from sandbox.process import ProcessSandbox
from tests.sandbox.making import function_job, outcome_of, passed, program_job

LIMITS = Limits(cpu_s=4.0, wall_s=8.0)
BRIEF = Limits(cpu_s=1.0, wall_s=0.5)
"""For programs that never end: what they cost the suite."""


async def attacked(
    sandbox: ProcessSandbox, code: str, test: str = "assert f(1) == 2", limits: Limits = LIMITS
) -> str | None:
    """Run a hostile candidate and return the class of its failure; None when the test passed."""
    return (await outcome_of(sandbox, function_job(code, test, limits=limits))).error_class


class TestForgedVerdicts:
    async def test_an_object_that_equals_everything(self, sandbox: ProcessSandbox):
        code = "class A:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(x):\n    return A()"
        assert await attacked(sandbox, code) == "wrong_answer"

    async def test_a_subclass_of_int(self, sandbox: ProcessSandbox):
        code = "class A(int):\n    def __eq__(self, other): return True\ndef f(x):\n    return A(7)"
        assert await attacked(sandbox, code) == "wrong_answer"

    async def test_a_list_that_holds_an_object_that_equals_everything(self, sandbox: ProcessSandbox):
        code = "class A:\n    def __eq__(self, other): return True\ndef f(x):\n    return [A()]"
        assert await attacked(sandbox, code, "assert f(1) == [2]") == "wrong_answer"

    @pytest.mark.parametrize(
        "exit", ["import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit(0)", "exit(0)"]
    )
    @pytest.mark.parametrize("where", ["{}\ndef f(x):\n    return 1", "def f(x):\n    {}"])
    @pytest.mark.parametrize("test", ["assert f(1) == 2", "y = f(1)\nassert y == 2"])
    async def test_an_early_exit(self, sandbox: ProcessSandbox, exit: str, where: str, test: str):
        outcome = await outcome_of(sandbox, function_job(where.format(exit), test, limits=LIMITS))
        assert outcome.error_class == "crash"
        assert "early exit" in outcome.message

    async def test_printed_markers_of_success(self, sandbox: ProcessSandbox):
        code = (
            'print(\'S{"results":[2],"token":"x"}\')\nprint(\'{"end":"exit","complete":true}\')\n'
            "def f(x):\n    return 1"
        )
        assert await attacked(sandbox, code) == "wrong_answer"

    async def test_a_forged_claim_on_every_descriptor(self, sandbox: ProcessSandbox):
        code = (
            "import os\ndef f(x):\n    for number in range(64):\n        try:\n"
            '            os.write(number, b\'{"results":[],"token":"x"}\\n\')\n'
            "        except OSError:\n            pass\n    os._exit(0)"
        )
        assert await attacked(sandbox, code) is not None
        assert await attacked(sandbox, code, "y = f(1)\nassert y == 2") is not None

    async def test_a_walk_up_the_frames_for_expected_values(self, sandbox: ProcessSandbox):
        code = (
            "import sys, re\ndef f(x):\n    frame, seen = sys._getframe(), []\n    while frame:\n"
            "        seen.append(repr(frame.f_locals) + repr(frame.f_globals) + repr(frame.f_code.co_consts))\n"
            "        frame = frame.f_back\n"
            "    return [n for n in map(int, re.findall(r'\\d+', ' '.join(seen))) if n % 1000003 == 77]"
        )
        assert await attacked(sandbox, code, f"assert {1000003 * 54321 + 77} in f(1)") == "wrong_answer"

    async def test_a_scan_of_all_objects_for_expected_values(self, sandbox: ProcessSandbox):
        code = (
            "import gc\ndef f(x):\n    for item in gc.get_objects():\n        for part in gc.get_referents(item):\n"
            "            if type(part) is int and part % 1000003 == 77: return part\n"
            "            if type(part) is str and 'ass' + 'ert f' in part: return part\n    return 0"
        )
        assert await attacked(sandbox, code, f"assert f(1) == {1000003 * 54321 + 77}") == "wrong_answer"

    async def test_built_ins_patched_so_that_comparisons_hold(self, sandbox: ProcessSandbox):
        code = (
            "import builtins, json\nbuiltins.isinstance = lambda *a: True\nbuiltins.repr = lambda *a: '2'\n"
            "builtins.type = lambda *a: int\nbuiltins.str = lambda *a: '2'\ndef f(x):\n    return 1"
        )
        outcome = await outcome_of(sandbox, function_job(code, "assert f(1) == 3", limits=LIMITS))
        assert outcome.passed is False

    async def test_the_harness_patched_in_place_so_that_it_takes_the_test_for_one_in_process(
        self, sandbox: ProcessSandbox
    ):
        code = (
            "import sys\ndef f(x):\n    frame = sys._getframe(1)\n    while frame:\n"
            "        test, run = map(frame.f_locals.get, ('test', 'self'))\n"
            "        if type(test) is dict:\n            test.update(kind='code', code='', calls=())\n"
            "        if hasattr(run, '_results'):\n            run.claim = lambda test: ''\n"
            "        frame = frame.f_back\n    return 5"
        )
        assert await attacked(sandbox, code) == "wrong_answer"

    async def test_an_argument_that_is_changed(self, sandbox: ProcessSandbox):
        code = "def f(xs):\n    xs.append(4)\n    return xs"
        assert await attacked(sandbox, code, "assert f([1]) == [1]") == "wrong_answer"


class TestFloods:
    async def test_standard_output(self, sandbox: ProcessSandbox):
        assert await attacked(sandbox, "def f(x):\n    while True: print('x' * 1000)") == "output_limit"

    async def test_standard_error(self, sandbox: ProcessSandbox):
        assert (
            await attacked(sandbox, "import os\ndef f(x):\n    while True: os.write(2, b'x' * 1000)") == "output_limit"
        )

    async def test_the_result_channel(self, sandbox: ProcessSandbox):
        assert (
            await attacked(sandbox, "import os\ndef f(x):\n    while True: os.write(3, b'x' * 1000)") == "output_limit"
        )

    async def test_a_huge_result(self, sandbox: ProcessSandbox):
        assert await attacked(sandbox, "def f(x):\n    return ['x' * 1000] * 5000") == "output_limit"

    async def test_the_scratch_folder(self, sandbox: ProcessSandbox):
        code = (
            "def f(x):\n    for i in range(1000):\n"
            "        with open(str(i), 'wb') as file: file.write(bytes(1 << 20))\n    return 2"
        )
        assert await attacked(sandbox, code) == "output_limit"

    async def test_a_deeply_nested_result(self, sandbox: ProcessSandbox):
        code = "def f(x):\n    value = []\n    for _ in range(60000): value = [value]\n    return value"
        assert await attacked(sandbox, code) is not None


class TestExhaustion:
    @pytest.mark.parametrize(
        "body",
        [
            "while True: pass",
            "import time; time.sleep(600)",
            "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
            "import re; re.match('(a+)+$', 'a' * 40 + 'b')",
        ],
    )
    async def test_endless_programs(self, sandbox: ProcessSandbox, body: str):
        outcome = await outcome_of(sandbox, function_job(f"def f(x):\n    {body}", "assert f(1) == 2", limits=BRIEF))
        assert outcome.error_class == "timeout"

    async def test_a_swallowed_base_exception(self, sandbox: ProcessSandbox):
        code = (
            "def f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass"
        )
        assert await attacked(sandbox, code, limits=BRIEF) == "timeout"

    async def test_a_fork_bomb(self, sandbox: ProcessSandbox):
        assert await attacked(sandbox, "import os\ndef f(x):\n    while True: os.fork()") in ("other", "forbidden")

    async def test_a_fork_bomb_that_swallows_errors(self, sandbox: ProcessSandbox):
        code = "import os\ndef f(x):\n    while True:\n        try: os.fork()\n        except OSError: pass"
        assert await attacked(sandbox, code, limits=BRIEF) == "timeout"

    async def test_a_thread_bomb(self, sandbox: ProcessSandbox):
        code = (
            "import threading, time\ndef f(x):\n    while True: threading.Thread(target=time.sleep, args=(60,)).start()"
        )
        assert await attacked(sandbox, code) == "other"

    async def test_a_subprocess(self, sandbox: ProcessSandbox):
        code = "import subprocess\ndef f(x):\n    subprocess.run(['/bin/true'])\n    return 2"
        assert await attacked(sandbox, code) is not None

    async def test_a_daemon(self, sandbox: ProcessSandbox):
        code = (
            "import os\ndef f(x):\n    if os.fork() == 0:\n        os.setsid()\n        while True: pass\n    return 2"
        )
        assert await attacked(sandbox, code) is not None

    async def test_raising_a_limit(self, sandbox: ProcessSandbox):
        code = (
            "import resource\ndef f(x):\n    everything = (resource.RLIM_INFINITY,) * 2\n"
            "    resource.setrlimit(resource.RLIMIT_AS, everything)\n    return 2"
        )
        assert await attacked(sandbox, code) == "value"

    async def test_a_huge_number_as_result(self, sandbox: ProcessSandbox):
        assert await attacked(sandbox, "def f(x):\n    return 1 << 10_000_000") == "output_limit"


class TestTheMachine:
    async def test_killing_everything_in_sight_then_answering(self, sandbox: ProcessSandbox):
        code = (
            "import os\ndef f(x):\n    for target in (-1, 1, os.getppid()):\n        try: os.kill(target, 9)\n"
            "        except OSError: pass\n    return x + 1"
        )
        job = function_job(code, "assert f(1) == 2", "assert f(2) == 3", limits=LIMITS)
        assert passed(await sandbox.run(job)) == (True, True)

    async def test_removing_everything_then_answering(self, sandbox: ProcessSandbox):
        code = (
            "import json, os, shutil\ndef f(x):\n"
            f"    here = {os.path.dirname(__file__)!r}\n"
            "    for folder in (here, os.path.dirname(json.__file__), '/dev', '/tmp', '/etc'):\n"
            "        shutil.rmtree(folder, ignore_errors=True)\n    return x + 1"
        )
        assert await attacked(sandbox, code) is None
        assert all(map(os.path.exists, (__file__, json.__file__, "/dev/null", "/etc/passwd")))

    async def test_the_environment_is_empty(self, sandbox: ProcessSandbox):
        code = "import os\ndef f(x):\n    return sorted(os.environ)"
        assert await attacked(sandbox, code, "assert f(1) == ['LANG', 'PYTHONHASHSEED', 'TZ']") is None

    async def test_no_network(self, sandbox: ProcessSandbox):
        if not sandbox.tier.startswith("namespaces"):
            pytest.skip(f"this machine gives {sandbox.tier}")
        with socket.create_server(("127.0.0.1", 0)) as server:
            code = (
                "import socket\ndef f(x):\n"
                f"    socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=1)\n    return 2"
            )
            assert await attacked(sandbox, code) == "forbidden"

    @pytest.mark.parametrize("path", ["/etc/passwd", "/proc/1/environ", "/proc/self/maps", "/root/.profile", __file__])
    async def test_files_of_the_machine_cannot_be_read(self, sandbox: ProcessSandbox, path: str):
        self._need_files(sandbox)
        assert await attacked(sandbox, f"def f(x):\n    open({path!r}).read()\n    return 2") in ("other", "forbidden")

    @pytest.mark.parametrize("path", ["/x", "/usr/lib/x", "/var/tmp/x", "/dev/shm/x", "../x", "/tmp/../x"])
    async def test_nothing_can_be_written_outside_the_scratch_folder(self, sandbox: ProcessSandbox, path: str):
        self._need_files(sandbox)
        assert await attacked(sandbox, f"def f(x):\n    open({path!r}, 'w')\n    return 2") in ("other", "forbidden")

    @staticmethod
    def _need_files(sandbox: ProcessSandbox) -> None:
        if not sandbox.tier.startswith("namespaces"):
            pytest.skip(f"this machine gives {sandbox.tier}: the file system is the machine's own")

    async def test_no_privilege_comes_back(self, sandbox: ProcessSandbox):
        code = (
            "import os\ndef f(x):\n    gained = []\n"
            "    device = lambda: os.mknod('d', 0o60666, 1)\n"
            "    for act in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), device):\n"
            "        try: act(); gained.append(1)\n        except OSError: pass\n    return gained"
        )
        assert await attacked(sandbox, code, "assert f(1) == []") is None

    @pytest.mark.parametrize(
        "call",
        [
            "mount(b'x', b'/tmp', b'tmpfs', 0, None)",
            "umount2(b'/tmp', 2)",
            "sethostname(b'x', 1)",
            "unshare(0x10000000)",
            "setns(0, 0)",
            "chroot(b'.')",
            "ptrace(0, 0, 0, 0)",
            "process_vm_readv(1, None, 0, None, 0, 0)",
        ],
    )
    async def test_calls_that_nobody_makes_by_mistake_kill(self, sandbox: ProcessSandbox, call: str):
        outcome = await outcome_of(
            sandbox,
            function_job(f"import ctypes\ndef f(x):\n    ctypes.CDLL(None).{call}\n    return 2", "assert f(1) == 2"),
        )
        assert (outcome.outcome, outcome.error_class) == ("violation", "forbidden")

    async def test_a_link_out_of_the_scratch_folder_is_not_followed_when_it_is_emptied(
        self, sandbox: ProcessSandbox, open_folder: Path
    ):
        (open_folder / "kept").touch()
        os.chmod(open_folder, 0o777)
        code = f"import os\ndef f(x):\n    os.symlink({str(open_folder)!r}, 'link')\n    return x + 1"
        job = function_job(code, "assert f(1) == 2", "assert f(2) == 3", limits=LIMITS)
        assert passed(await sandbox.run(job)) == (True, True)
        assert os.listdir(open_folder) == ["kept"]

    async def test_a_program_cannot_leave_a_file_for_the_next_job(self, sandbox: ProcessSandbox):
        await sandbox.run(program_job("open('left', 'w').write('x')\nopen('/tmp/left', 'w').write('x')", ("", "")))
        after = "import os\nprint(os.path.exists('left'), os.listdir('.'))"
        assert passed(await sandbox.run(program_job(after, ("", "False []")))) == (True,)


async def test_after_all_attacks_a_harmless_program_passes(sandbox: ProcessSandbox):
    assert passed(await sandbox.run(function_job("def f(x):\n    return x + 1", "assert f(1) == 2"))) == (True,)
    assert await sandbox.check() == sandbox.tier
