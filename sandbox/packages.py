"""Finds the packages that candidates may import besides the standard library, where their interpreter has them.

Only what is named is shown to candidates: a package that needs another one needs it named as well.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import trio

from protocols.errors import SandboxUnavailable

_DEADLINE_S = 60.0
_FIND = """
import importlib.util, json, sys
found = {}
for name in sys.argv[1:]:
    spec = importlib.util.find_spec(name)
    if spec is not None:
        found[name] = [*spec.submodule_search_locations] if spec.submodule_search_locations else [spec.origin]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Packages:
    """Where the named packages are."""

    files: tuple[str, ...] = ()
    """Their folders and files, with the folders of shared libraries that some have beside them."""
    path: tuple[str, ...] = ()
    """What `sys.path` needs for them."""


async def find_packages(interpreter: str, names: tuple[str, ...]) -> Packages:
    """Return where `interpreter` has the packages `names`.

    Raises:
        SandboxUnavailable: it has not got one of them, or cannot be asked.
    """
    if not names:
        await trio.lowlevel.checkpoint()
        return Packages()
    found = await _ask(interpreter, names)
    missing = [name for name in names if name not in found]
    if missing:
        raise SandboxUnavailable(
            f"The sandbox's interpreter {interpreter} has no package {', '.join(missing)}, named in sandbox.packages. "
            "What helps: install it for that interpreter, or name one that has it as sandbox.interpreter."
        )
    places = [Path(place) for name in names for place in found[name]]
    libraries = [place.with_name(f"{place.name}.libs") for place in places]
    files = [*places, *(library for library in libraries if library.is_dir())]
    return Packages(tuple(map(str, files)), tuple(dict.fromkeys(str(place.parent) for place in places)))


async def _ask(interpreter: str, names: tuple[str, ...]) -> dict[str, list[str]]:
    try:
        with trio.fail_after(_DEADLINE_S):
            process = await trio.run_process(
                [interpreter, "-c", _FIND, *names], capture_stdout=True, capture_stderr=True
            )
        return json.loads(process.stdout)
    except (OSError, trio.TooSlowError, subprocess.CalledProcessError, ValueError) as error:
        raise SandboxUnavailable(
            f"The sandbox's interpreter {interpreter} cannot tell where its packages are ({error})."
        ) from error
