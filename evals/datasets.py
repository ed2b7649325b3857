"""Where tasks come from: JSON lines in one of several forms, from a file or from a hub of data sets.

The form is found by the fields of the first line and holds for the whole source. Tasks keep the source's order. What
cannot be used is refused whole, with source, line and field: a set that silently lost tasks would change every figure.
"""

import gzip
import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from evals import eval_plus_form, human_eval_form, live_code_bench_form, mbpp_form, own_form
from protocols.errors import TasksError
from protocols.records import Task

HUB = "hf:"
"""Prefix of a source that is a data set of the hub."""
DEFAULT_SPLIT = "train"

Rows = Callable[[str, str], Iterable[Mapping[str, Any]]]
"""Gives the rows of the data set of a name and a split."""


class _Form(NamedTuple):
    name: str
    marks: frozenset[str]
    parse: Callable[[bytes], Task]


class _Line(NamedTuple):
    place: str
    data: bytes


_FORMS = tuple(
    _Form(form.NAME, form.MARKS, form.parse)
    for form in (own_form, mbpp_form, human_eval_form, eval_plus_form, live_code_bench_form)
)


def hub_rows(name: str, split: str) -> Iterable[Mapping[str, Any]]:
    """Return the rows of `split` of the hub's data set `name` (or of a local folder), by the `datasets` package.

    Raises:
        TasksError: the package is not installed, or it cannot load the set.
    """
    try:
        library = importlib.import_module("datasets")
    except ImportError as error:
        raise TasksError(
            f"tasks {HUB}{name}: the package `datasets` is not installed; install this project's extra `datasets`"
        ) from error
    try:
        return library.load_dataset(name, split=split)
    # Whatever goes wrong in there (network, folder, split, format) is one thing here: the set cannot be had.
    except Exception as error:
        raise TasksError(f"tasks {HUB}{name}:{split} cannot be loaded: {error}") from error


def load_tasks(source: str, *, limit: int | None = None, rows: Rows = hub_rows) -> tuple[Task, ...]:
    """Return the tasks of `source`, in its order.

    Args:
        source: path of a .jsonl or .jsonl.gz file, or `hf:NAME[:SPLIT]` (the split `train` when none is given).
        limit: take only the first so many; None takes all.
        rows: how the hub is asked.

    Raises:
        TasksError: missing, empty, of no known form, a line that cannot be used, or an id twice.
    """
    lines = _hub_lines(source, rows) if source.startswith(HUB) else _file_lines(Path(source))
    form: _Form | None = None
    tasks: dict[str, Task] = {}
    places: dict[str, str] = {}
    for line in islice(lines, limit):
        form = form or _form_of(line)
        task = _parsed(line, form)
        if task.id in tasks:
            raise TasksError(f"{line.place}: field `id`: {task.id!r} is there already, from {places[task.id]}")
        tasks[task.id], places[task.id] = task, line.place
    if not tasks:
        raise TasksError(f"tasks {source}: expected at least one task, found none")
    return tuple(tasks.values())


def _file_lines(path: Path) -> Iterator[_Line]:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except FileNotFoundError as error:
        raise TasksError(f"tasks file {path} does not exist") from error
    except (OSError, EOFError, zlib.error) as error:
        raise TasksError(f"tasks file {path} cannot be read: {error}") from error
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield _Line(f"{path}, line {number}", line)


def _hub_lines(source: str, rows: Rows) -> Iterator[_Line]:
    name, _, split = source.removeprefix(HUB).partition(":")
    for number, row in enumerate(rows(name, split or DEFAULT_SPLIT), start=1):
        yield _Line(f"{source}, row {number}", msgspec.json.encode(dict(row)))


def _form_of(line: _Line) -> _Form:
    try:
        fields = msgspec.json.decode(line.data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TasksError(f"{line.place}: expected a JSON object: {error}") from error
    for form in _FORMS:
        if form.marks <= fields.keys():
            return form
    forms = "; ".join(f"{form.name} has {', '.join(sorted(form.marks))}" for form in _FORMS)
    raise TasksError(f"{line.place}: of no known form, its fields are {', '.join(sorted(fields))}; {forms}")


def _parsed(line: _Line, form: _Form) -> Task:
    try:
        return form.parse(line.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TasksError(f"{line.place}: {_field_first(str(error))} ({form.name})") from error
    except TasksError as error:
        raise TasksError(f"{line.place}: {error} ({form.name})") from error


def _field_first(message: str) -> str:
    """Return a codec's message with its field in front: `Expected x - at `$.y`` becomes `field `y`: expected x`."""
    text, separator, place = message.partition(" - at `$.")
    if not separator:
        return message
    return f"field `{place.removesuffix('`')}`: {text[:1].lower()}{text[1:]}"
