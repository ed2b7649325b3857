"""Where candidates run, and what they may use."""

import sys
from typing import Literal, Self

from pydantic import model_validator

from protocols.settings.section import Positive, Seconds, Section


class SandboxSettings(Section):
    """Step 2 of the method."""

    backend: Literal["local", "http"] = "local"
    """Where candidates run: on this machine, or by a service that speaks SandboxFusion's protocol."""
    urls: tuple[str, ...] = ()
    """Base URLs of the service, for `http`; each job goes to the one with the least to do."""
    workers: Positive | None = None
    """Jobs at the same time (for `http`: at each URL). None: one per core of this machine."""
    repeat_failures: bool = True
    """Run what failed a second time, and mark what then passes as flaky."""
    tier: Literal["auto", "namespaces", "landlock", "unsafe"] = "auto"
    """`auto`: the first of `namespaces` and `landlock` whose canary attacks all fail here. `unsafe`: limits and nothing
    else, for a machine that is thrown away afterwards; candidates then have the rights of whoever started the run."""
    interpreter: str | None = None
    """Python 3.11 or later that runs the candidates; None: the one that runs this program."""
    packages: tuple[str, ...] = ()
    """Packages of that interpreter, by the name they are imported by, that candidates may import besides the standard
    library; those that they need themselves have to be named too."""
    preload: tuple[str, ...] = ()
    """Modules of these packages or of the standard library that are imported once, before any candidate; each makes
    every run a little dearer (numpy: 0.4 ms), and those that import it much cheaper."""
    cpu_s: Seconds = 4.0
    """Per test."""
    wall_s: Seconds = 8.0
    """Per test."""
    memory_bytes: Positive = 512 << 20
    """Address space of one candidate's process, and, where there are control groups, its real use."""
    output_bytes: Positive = 64 << 10
    """Of standard output, and of standard error, per test."""
    file_bytes: Positive = 1 << 20
    """Of any one file."""
    scratch_bytes: Positive = 4 << 20
    """Of all files of one run together."""
    scratch_files: Positive = 512
    """Files and folders of one run."""
    threads: Positive = 8
    """Of one candidate's process. There are no other processes to be had."""

    @model_validator(mode="after")
    def _preloaded_is_there(self) -> Self:
        for name in self.preload:
            if name.split(".")[0] not in {*self.packages, *sys.stdlib_module_names}:
                raise ValueError(f"preload names {name}, which is neither in packages nor of the standard library")
        return self

    @model_validator(mode="after")
    def _backend_has_urls(self) -> Self:
        if (self.backend == "http") != bool(self.urls):
            raise ValueError('urls belong to backend = "http", which needs at least one')
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"urls must start with http:// or https://, got {url!r}")
        return self
