"""A run's folder: where everything of one run lives, and whether it belongs to these settings.

::

    runs/NAME/
    ├── settings.json     as resolved when the run began
    ├── ledger.sqlite     every record (`ledger.sqlite`)
    ├── status.json       what the actors are doing, renewed while the run goes
    ├── adapters/         vNNNN-<hash>/, one for each trained version
    ├── logs/             events.jsonl, vllm.log, trainer.log
    ├── report.json       the last report
    ├── pass_at_1.png     its plots
    └── error_patterns.png
"""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

from protocols.errors import NoSpaceLeft, RunFolderError
from protocols.settings import Settings, differing_keys

MAY_DIFFER = (
    "run.rounds",
    "run.grace_s",
    "server.",
    "sandbox.backend",
    "sandbox.urls",
    "sandbox.workers",
    "generate.concurrency",
    "judge.concurrency",
    "critique.concurrency",
    "evaluate.concurrency",
    "train.step_deadline_s",
    "publish.drain_s",
)
"""Keys that change how fast or how long a run goes, not what it is."""


class RunFolder:
    """The paths of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "settings.json"
        self.ledger = path / "ledger.sqlite"
        self.status = path / "status.json"
        self.adapters = path / "adapters"
        self.logs = path / "logs"
        self.events = self.logs / "events.jsonl"
        self.server_log = self.logs / "vllm.log"
        self.trainer_log = self.logs / "trainer.log"
        self.report = path / "report.json"
        self.plot = path / "pass_at_1.png"
        self.patterns_plot = path / "error_patterns.png"

    @property
    def exists(self) -> bool:
        """Whether a run has begun here."""
        return self.settings.is_file()

    def stored_settings(self) -> dict[str, Any]:
        """Return the settings that the run was begun or last gone on with.

        Raises:
            RunFolderError: there is no run here, or its settings cannot be read.
        """
        try:
            return json.loads(self.settings.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunFolderError(f"{self.path} is not a run folder: it has no settings.json") from error
        except (OSError, ValueError) as error:
            raise RunFolderError(f"the settings of the run in {self.path} cannot be read: {error}") from error

    def check(self, settings: Settings) -> None:
        """Return when the folder is free, or holds a run of these settings.

        Raises:
            RunFolderError: it holds a run of other settings (the text names the keys), or something else.
        """
        if not self.exists:
            if self.path.is_dir() and any(self.path.iterdir()):
                raise RunFolderError(f"{self.path} is not empty and not a run folder; choose another run.name")
            return
        differing = [key for key in differing_keys(settings, self.stored_settings()) if not key.startswith(MAY_DIFFER)]
        if differing:
            raise RunFolderError(
                f"the run in {self.path} was begun with other settings: {'; '.join(differing)}. "
                "Choose another run.name, or remove the folder"
            )

    def create(self, settings: Settings) -> bool:
        """Make the folder, unless it is there, and keep `settings` in it; return whether it was made now.

        Raises:
            NoSpaceLeft: the disk is full; nothing new is left behind.
            RunFolderError: it cannot be written.
        """
        made = not self.exists
        data = settings.model_dump(mode="json")
        if not made and self.stored_settings() == data:
            return False
        try:
            self.adapters.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            replace_text(self.settings, json.dumps(data, indent=2))
        except OSError as error:
            if made:
                shutil.rmtree(self.path, ignore_errors=True)
            kind = NoSpaceLeft if error.errno == errno.ENOSPC else RunFolderError
            raise kind(f"the run folder {self.path} cannot be written: {error.strerror}") from error
        return made

    def remove(self) -> None:
        """Remove a folder that this call of the command made and that holds no work yet."""
        shutil.rmtree(self.path, ignore_errors=True)


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all.

    Raises:
        OSError: it could not be written; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
