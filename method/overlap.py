"""Overlap with evaluation sets: an example must not teach what a benchmark asks.

Three ways to match: the same task id; ten words in a row of the instruction or of the code; the same code up to
formatting and all names of its own (`normal_form.shape`). Prompt boilerplate never counts: the index holds
instructions, not rendered prompts. Short code (`return a + b`) is common knowledge and never counts by its shape.
Not covered: paraphrased instructions, and translations of code.
"""

import ast
import re
from collections.abc import Sequence

import msgspec

from method.normal_form import shape
from method.parsing import parse
from protocols.records import Example, Task

WORDS = 10
"""Words in a row that make an overlap; a shorter instruction must match as a whole, from five words on."""
LEAST_WORDS = 5
LEAST_NODES = 20
"""Syntax nodes (contexts not counted) from which a shape counts. One-line functions such as `return a + b` (10) or
`return len(text.split())` (10) stay below it."""


class OverlapIndex(msgspec.Struct, frozen=True, kw_only=True):
    """Evaluation tasks, by everything that may match; values are task ids."""

    ids: frozenset[str]
    instructions: dict[tuple[str, ...], str]
    codes: dict[tuple[str, ...], str]
    shapes: dict[str, str]


def overlap_index(tasks: Sequence[Task]) -> OverlapIndex:
    """Return the index of all evaluation `tasks`: those of the gate, of the held-out set and of every benchmark."""
    instructions: dict[tuple[str, ...], str] = {}
    codes: dict[tuple[str, ...], str] = {}
    shapes: dict[str, str] = {}
    for task in tasks:
        for gram in _instruction_grams(task.instruction):
            instructions.setdefault(gram, task.id)
        for gram in _grams((task.reference or "").split()):
            codes.setdefault(gram, task.id)
        if task.reference and (form := _shape(task.reference)) is not None:
            shapes.setdefault(form, task.id)
    return OverlapIndex(ids=frozenset(task.id for task in tasks), instructions=instructions, codes=codes, shapes=shapes)


def overlaps(index: OverlapIndex, subject: Task | Example) -> str | None:
    """Return the id of an evaluation task that `subject` overlaps with; None when there is none.

    A task is matched by its instruction and reference; an example by its first user turn and the code it teaches.
    """
    if isinstance(subject, Task):
        return _match(index, subject.id, subject.instruction, subject.reference or "")
    asked = next((message.content for message in subject.messages if message.role == "user"), "")
    return _match(index, subject.task_id, asked, subject.code)


def _match(index: OverlapIndex, id: str, instruction: str, code: str) -> str | None:
    if id in index.ids:
        return id
    words = _words(instruction)
    for size in range(LEAST_WORDS, WORDS + 1):
        for gram in _grams(words, size):
            if gram in index.instructions:
                return index.instructions[gram]
    for gram in _grams(code.split()):
        if gram in index.codes:
            return index.codes[gram]
    form = _shape(code)
    return None if form is None else index.shapes.get(form)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _instruction_grams(instruction: str) -> list[tuple[str, ...]]:
    words = _words(instruction)
    return _grams(words, min(WORDS, len(words))) if len(words) >= LEAST_WORDS else []


def _grams(words: Sequence[str], size: int = WORDS) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]


def _shape(code: str) -> str | None:
    tree = parse(code)
    if tree is None:
        return None
    nodes = sum(not isinstance(node, ast.expr_context) for node in ast.walk(tree))
    return shape(code) if nodes >= LEAST_NODES else None
