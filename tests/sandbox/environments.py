"""The ways in which a sandbox can be had on this machine: each tier, as root and as somebody without privileges."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from sandbox.process import ProcessSandbox

SYSTEM_PYTHON = "/usr/bin/python3"
NOBODY = "--reuid 1000 --regid 1000 --clear-groups"


def python_under(flags: str, folder: Path, interpreter: str = SYSTEM_PYTHON) -> str:
    """Write a program that starts `interpreter` with less privilege and return its path."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None or not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"needs root, setpriv and {SYSTEM_PYTHON}")
    script = folder / "python"
    # The slot's folder, in which this is started, belongs to who starts slots: here that is somebody else.
    belong = 'case "$PWD" in */sandbox-*) chown 1000:1000 . ;; esac'
    start = f'exec env -u PWD -u OLDPWD -u SHLVL -u _ setpriv {flags} {interpreter} "$@"'
    script.write_text(f"#!/bin/sh\n{belong}\n{start}\n")
    script.chmod(0o755)
    return str(script)


@dataclass(frozen=True)
class Environment:
    """Who starts the slots, and the tier that is asked for."""

    tier: Literal["namespaces", "landlock"]
    user: Literal["self", "nobody"]

    @property
    def name(self) -> str:
        return f"{self.tier}-{self.user}"

    def sandbox(self, folder: Path, workers: int = 1) -> ProcessSandbox:
        """Return a sandbox of this kind; `folder` is a new one for what it needs."""
        if self.user == "nobody":
            interpreter = python_under(NOBODY, folder)
        else:
            interpreter = SYSTEM_PYTHON if self.tier == "landlock" else None
        return ProcessSandbox(workers, interpreter, tier=self.tier)


ENVIRONMENTS = [Environment(tier, user) for tier in ("namespaces", "landlock") for user in ("self", "nobody")]
