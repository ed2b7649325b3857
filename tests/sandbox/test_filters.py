"""The filters of system calls, run instruction by instruction, for both processors: what they allow, refuse, kill."""

import errno
from struct import iter_unpack, pack

import pytest

from sandbox.inside.seccomp import ALLOW, ARCHITECTURES, ENOSYS, EPERM, KILL, run_program, zygote_program
from sandbox.inside.syscalls import FILES, KILLED, MODES, NUMBERS, PROCESS, ZYGOTE

MACHINES = sorted(ARCHITECTURES)
THREAD, VM, NEW_USER = 0x10000, 0x100, 0x10000000


def verdict(program: bytes, machine: str, number: int, *arguments: int) -> int:
    """Run a filter as the kernel does and return what it says."""
    data = pack("<IIQ6Q", number, ARCHITECTURES[machine], 0, *arguments, *(0,) * (6 - len(arguments)))
    code, at, value = list(iter_unpack("<HBBI", program)), 0, 0
    while True:
        operation, yes, no, constant = code[at]
        at += 1
        match operation:
            case 0x20:
                value = int.from_bytes(data[constant : constant + 4], "little")
            case 0x54:
                value &= constant
            case 0x15:
                at += yes if value == constant else no
            case 0x35:
                at += yes if value >= constant else no
            case 0x45:
                at += yes if value & constant else no
            case 0x06:
                return constant
            case _:
                raise AssertionError(f"instruction {operation:#x}")


def both(machine: str, name: str, *arguments: int, modes: bool = True) -> int:
    """What a run gets: the stricter answer of the zygote's filter and its own."""
    number = NUMBERS[machine][name]
    answers = [
        verdict(program, machine, number, *arguments)
        for program in (zygote_program(machine), run_program(machine, modes=modes))
    ]
    return next(answer for answer in (KILL, EPERM, ENOSYS, ALLOW) if answer in answers)


@pytest.mark.parametrize("machine", MACHINES)
class TestFilters:
    def test_files_memory_and_threads_are_allowed(self, machine: str):
        known = NUMBERS[machine]
        assert {name for name in (*FILES, *PROCESS) if name in known and both(machine, name) != ALLOW} == set()

    def test_what_nobody_calls_by_mistake_kills(self, machine: str):
        assert {name for name in KILLED if name in NUMBERS[machine] and both(machine, name) != KILL} == set()

    @pytest.mark.parametrize("name", ["execve", "execveat", "socket", "setuid"])
    def test_what_is_in_no_table_is_refused(self, machine: str, name: str):
        assert both(machine, name) == EPERM

    def test_an_unknown_call_is_refused(self, machine: str):
        assert verdict(zygote_program(machine), machine, 9999) == EPERM

    def test_the_zygote_may_fork_and_a_run_may_not(self, machine: str):
        clone = NUMBERS[machine]["clone"]
        assert verdict(zygote_program(machine), machine, clone, 17) == ALLOW
        assert both(machine, "clone", 17) == EPERM

    def test_a_run_may_start_threads(self, machine: str):
        assert both(machine, "clone", THREAD | VM) == ALLOW

    def test_a_thread_in_a_new_namespace_is_refused(self, machine: str):
        assert both(machine, "clone", THREAD | NEW_USER) == EPERM

    def test_the_newer_clone_is_said_to_be_unknown(self, machine: str):
        assert both(machine, "clone3") == ENOSYS == 0x50000 | errno.ENOSYS

    @pytest.mark.parametrize("name", [name for name in ZYGOTE if name not in ("clone", "prctl")])
    def test_what_sets_up_a_run_is_taken_from_it(self, machine: str, name: str):
        if name in NUMBERS[machine]:
            assert verdict(zygote_program(machine), machine, NUMBERS[machine][name]) == ALLOW
            assert both(machine, name) == EPERM

    @pytest.mark.parametrize("name", MODES)
    def test_modes_may_be_changed_only_in_a_file_system_of_ones_own(self, machine: str, name: str):
        if name in NUMBERS[machine]:
            assert both(machine, name, modes=True) == ALLOW
            assert both(machine, name, modes=False) == EPERM

    @pytest.mark.parametrize(("option", "wanted"), [(15, ALLOW), (16, ALLOW), (1, EPERM), (4, EPERM), (22, EPERM)])
    def test_a_process_may_name_itself_and_little_else(self, machine: str, option: int, wanted: int):
        assert both(machine, "prctl", option) == wanted

    @pytest.mark.parametrize(
        ("command", "wanted"), [(0x5401, ALLOW), (0x5412, EPERM), (0xFFFFFFFF00005401, ALLOW), (0x1_0000_5412, EPERM)]
    )
    def test_device_commands_are_compared_on_their_low_bits(self, machine: str, command: int, wanted: int):
        assert both(machine, "ioctl", 0, command) == wanted

    @pytest.mark.parametrize(("command", "wanted"), [(0, ALLOW), (1030, ALLOW), (8, EPERM), (10, EPERM), (1024, EPERM)])
    def test_descriptors_may_not_send_signals(self, machine: str, command: int, wanted: int):
        assert both(machine, "fcntl", 0, command) == wanted

    @pytest.mark.parametrize(("pid", "wanted"), [(0, ALLOW), (1, EPERM), (0xFFFFFFFF, EPERM)])
    def test_limits_are_ones_own(self, machine: str, pid: int, wanted: int):
        assert both(machine, "prlimit64", pid) == wanted

    @pytest.mark.parametrize(
        ("family", "kind", "wanted"), [(1, 1, ALLOW), (1, 1 | 0o2000000, ALLOW), (1, 2, EPERM), (2, 1, EPERM)]
    )
    def test_socket_pairs_are_local_streams(self, machine: str, family: int, kind: int, wanted: int):
        assert both(machine, "socketpair", family, kind) == wanted

    def test_another_processors_way_of_calling_kills(self, machine: str):
        other = next(name for name in MACHINES if name != machine)
        assert verdict(zygote_program(machine), other, NUMBERS[machine]["read"]) == KILL


def test_the_x32_way_of_calling_kills():
    assert verdict(zygote_program("x86_64"), "x86_64", 0x40000000) == KILL
