"""What one call of `eval` came to, as it is written to its folder.

::

    FOLDER/
    ├── results.json     the evaluation with everything that it depends on (`Measured`)
    ├── tasks.jsonl      one task a line, with each of its answers and how it came out (`TaskReport`)
    ├── table.md         the tables that were printed
    └── answers.jsonl    what the model wrote (`evals.answer_store`)
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from evals.pass_at_k import mean_pass_at_k
from evals.sheets import Sheet, percent, with_interval
from protocols.codec import encode
from protocols.identity import content_hash
from protocols.records import ErrorClass, Evaluation, Task, TaskResult

RESULTS, TASKS, TABLE, ANSWERS = "results.json", "tasks.jsonl", "table.md", "answers.jsonl"


class AnswerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One answer."""

    solved: bool
    error_class: ErrorClass | None
    mistake: str | None
    """As `method.mistake` calls the first failure."""
    message: str
    """Of the first failure."""
    code: str | None
    """As it was measured."""


class TaskReport(msgspec.Struct, frozen=True, kw_only=True):
    """One task."""

    task_id: str
    topic: str
    difficulty: int | None
    samples: int
    correct: int
    answers: tuple[AnswerReport, ...]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One version on one set of tasks."""

    name: str
    """Of the version, or of the model at an endpoint."""
    model: str
    endpoints: tuple[str, ...]
    """URLs of those that answered; `managed` for a server that the command started."""
    source: str
    """Of the tasks."""
    sampling: dict[str, Any]
    """Samples, temperature and all that decides what is asked and measured."""
    evaluation: Evaluation
    by_topic: dict[str, tuple[int, float]]
    """Tasks and pass@1 of each topic."""
    mistakes: dict[str, int]
    """Answers that failed, by the kind of their first failure."""
    failing_references: tuple[str, ...]
    """Tasks whose own reference fails its tests in this sandbox: no answer can be measured fairly there."""
    digests: dict[str, str]
    """Of each task, by id, to tell whether two evaluations are of the same tasks."""
    reused_answers: int
    """Tasks whose answers were kept from before."""


def by_topic(tasks: Sequence[Task], results: Sequence[TaskResult]) -> dict[str, tuple[int, float]]:
    """Return tasks and pass@1 of each topic; a task without topic counts as `other`."""
    topic_of = {task.id: task.topic or "other" for task in tasks}
    groups: defaultdict[str, list[TaskResult]] = defaultdict(list)
    for result in results:
        groups[topic_of[result.task_id]].append(result)
    return {topic: (len(group), mean_pass_at_k(group, 1)) for topic, group in sorted(groups.items())}


def count_mistakes(reports: Sequence[TaskReport]) -> dict[str, int]:
    """Return how many answers failed in which way, the most frequent first."""
    found = Counter(answer.mistake for report in reports for answer in report.answers if answer.mistake is not None)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def digests(tasks: Sequence[Task]) -> dict[str, str]:
    """Return a digest of each task, by id."""
    return {task.id: content_hash(encode(task).decode()) for task in tasks}


def measured_json(measured: Measured) -> dict[str, Any]:
    """Return plain data for a JSON file: the evaluation's own fields at the top, the rest beside them."""
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(measured))
    return {**data.pop("evaluation"), **data}


def measured_of(data: Mapping[str, Any]) -> Measured:
    """Return what `measured_json` made plain.

    Raises:
        msgspec.ValidationError: it is not that.
    """
    own = {name: data[name] for name in Measured.__struct_fields__ if name in data}
    evaluation = {name: data[name] for name in (*Evaluation.__struct_fields__, "type") if name in data}
    return msgspec.convert({**own, "evaluation": evaluation}, Measured, str_keys=True)


def measured_sheets(measured: Measured) -> tuple[Sheet, ...]:
    """Return its tables, the one with pass@k first."""
    evaluation = measured.evaluation
    ks = tuple(k for k in sorted(evaluation.pass_at_k) if k > 1)
    columns = ("version", "tasks", "samples", "pass@1 [95 %]", *(f"pass@{k}" for k in ks), "exec.", "tokens", "s")
    row = (
        measured.name,
        str(len(evaluation.results)),
        str(min(result.samples for result in evaluation.results)),
        with_interval(evaluation.pass_at_1, evaluation.low, evaluation.high),
        *(percent(evaluation.pass_at_k[k]) for k in ks),
        percent(evaluation.executable_share),
        str(evaluation.completion_tokens),
        f"{evaluation.seconds:.0f}",
    )
    topics = tuple((topic, str(count), percent(share)) for topic, (count, share) in measured.by_topic.items())
    found = tuple((name, str(count)) for name, count in measured.mistakes.items())
    sheets = (
        Sheet(f"{measured.source}", columns, (row,)),
        Sheet("By topic", ("topic", "tasks", "pass@1"), topics if len(topics) > 1 else ()),
        Sheet("Answers that failed", ("first failure", "answers"), found),
    )
    return tuple(sheet for sheet in sheets if sheet.rows)


def measured_notes(measured: Measured) -> tuple[str, ...]:
    """Return what a reader must know of the figures, one sentence each."""
    failing = measured.failing_references
    if not failing:
        return ()
    shown = ", ".join(failing[:5]) + (", …" if len(failing) > 5 else "")
    return (f"{len(failing)} tasks' own references fail their tests in this sandbox: {shown}",)
