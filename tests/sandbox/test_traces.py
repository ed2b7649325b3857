"""What one program gave is not to be found in the memory of the next one in the same slot."""

import os
from hashlib import sha256

import pytest

from protocols.ports import Limits
from sandbox.process import ProcessSandbox
from tests.sandbox.making import function_job, outcome_of, passed

LIMITS = Limits(cpu_s=20.0, wall_s=40.0)
SEARCH = """
import ctypes, gc, hashlib
libc = ctypes.CDLL(None)
libc.sbrk.restype = ctypes.c_void_p
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
PAGE = 4096

def mapped(address):
    return libc.mincore(address, PAGE, ctypes.create_string_buffer(8)) == 0

def regions():
    end = libc.sbrk(0)
    start = end & ~(PAGE - 1)
    while mapped(start - PAGE):
        start -= PAGE
    yield start, end
    for base in {id(item) & ~0xfffff for item in gc.get_objects()}:
        yield from ((page, page + PAGE) for page in range(base, base + 0x100000, PAGE) if mapped(page))

def f(x):
    PLANT
    for start, end in regions():
        text = ctypes.string_at(start, end - start)
        at = text.find(START)
        while at >= 0:
            if hashlib.sha256(text[at:at + 32]).hexdigest() == 'DIGEST':
                return True
            at = text.find(START, at + 1)
    return False
"""
"""Looks through the heap for a text of which it knows only the beginning and the hash."""


def _search(secret: str, plant: str = "pass") -> str:
    digest = sha256(secret.encode()).hexdigest()
    return SEARCH.replace("PLANT", plant).replace("START", repr(secret[:10].encode())).replace("DIGEST", digest)


@pytest.fixture
def secret() -> str:
    return os.urandom(16).hex()


async def test_the_search_finds_what_is_there(sandbox: ProcessSandbox, secret: str):
    code = _search(secret, f"own = {secret[::-1]!r}[::-1]")
    assert passed(await sandbox.run(function_job(code, "assert f(1) == True", limits=LIMITS))) == (True,)


@pytest.mark.parametrize(
    "body",
    [
        "return [SECRET + str(n) for n in range(300)]",
        "print(SECRET * 1000)\n    return 0",
        "import sys\n    sys.stderr.write(SECRET * 50)\n    return 0",
        "raise ValueError(SECRET)",
        "open(SECRET, 'w').close()\n    return 0",
    ],
)
async def test_nothing_of_another_program_is_found(secret: str, body: str):
    code = "def f(x):\n    " + body.replace("SECRET", f"{secret[::-1]!r}[::-1]")
    async with ProcessSandbox(workers=1) as one:
        await one.check()
        await one.run(function_job(code, "assert f(1) == 0", limits=LIMITS))
        assert (await outcome_of(one, function_job(_search(secret), "assert f(1) == False", limits=LIMITS))).passed


async def test_nothing_of_a_test_is_found(secret: str):
    test = f"g = lambda y: y\nassert f(1) != {secret!r}"
    async with ProcessSandbox(workers=1) as one:
        await one.check()
        assert (await outcome_of(one, function_job("def f(x):\n    return 0", test, limits=LIMITS))).passed
        assert (await outcome_of(one, function_job(_search(secret), "assert f(1) == False", limits=LIMITS))).passed
