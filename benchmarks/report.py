"""What every benchmark reports, and how: a table on the screen and `benchmarks/results/NAME.json`.

The form is that of the targets page: machine, versions, settings, rows of median, least and greatest over at least
five runs, and targets with what was reached. Figures that were not measured are not there.
"""

import importlib.metadata
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

FOLDER = Path(__file__).parent / "results"
LEAST_RUNS = 5


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One contender's figure."""

    contender: str
    metric: str
    unit: str
    median: float
    min: float
    max: float
    runs: int
    notes: str


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """One target and what came of it."""

    text: str
    goal: float
    value: float
    reached: bool


def row(contender: str, metric: str, unit: str, values: Sequence[float], notes: str = "") -> Row:
    """Return the row of all runs' `values`."""
    return Row(
        contender=contender,
        metric=metric,
        unit=unit,
        median=round(statistics.median(values), 4),
        min=round(min(values), 4),
        max=round(max(values), 4),
        runs=len(values),
        notes=notes,
    )


def at_least(text: str, goal: float, value: float) -> Goal:
    """Return a target that is reached when `value` is `goal` or more."""
    return Goal(text=text, goal=goal, value=round(value, 3), reached=value >= goal)


def at_most(text: str, goal: float, value: float) -> Goal:
    """Return a target that is reached when `value` is `goal` or less."""
    return Goal(text=text, goal=goal, value=round(value, 3), reached=value <= goal)


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of `packages`; those that are not installed are left out."""
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def publish(
    name: str,
    *,
    on: Mapping[str, Any],
    with_versions: Mapping[str, str],
    settings: Mapping[str, Any],
    rows: Sequence[Row],
    targets: Sequence[Goal],
    folder: Path = FOLDER,
) -> Path:
    """Print the results and write them to `folder/NAME.json`; return that path.

    Args:
        name: of the benchmark.
        on: the machine, taken before the first run.
        with_versions: packages and their versions.
        settings: what was run.
        rows: the figures.
        targets: and what was reached.
        folder: where results are kept.
    """
    results = {
        "name": name,
        "machine": dict(on),
        "versions": dict(with_versions),
        "settings": dict(settings),
        "rows": rows,
        "targets": targets,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    _print(name, rows, targets)
    return path


def _print(name: str, rows: Sequence[Row], targets: Sequence[Goal]) -> None:
    lines = [f"\n{name}", f"{'contender':<44} {'metric':<18} {'median':>10} {'min':>10} {'max':>10}  unit (runs)"]
    lines += [
        f"{r.contender:<44} {r.metric:<18} {r.median:>10.4g} {r.min:>10.4g} {r.max:>10.4g}  {r.unit} ({r.runs})"
        + (f"; {r.notes}" if r.notes else "")
        for r in rows
    ]
    lines += [f"{'reached' if t.reached else 'MISSED '}  {t.text}: {t.value:.3g} (goal {t.goal:.3g})" for t in targets]
    sys.stdout.write("\n".join(lines) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
