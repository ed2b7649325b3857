"""Curation (method.md, step 7): which examples are kept, and when and of what a batch is cut.

Invariants: every refused example has one reason, the first that holds in the order of `Reason`; nothing is counted
against a cap but what was kept; no state of its own (a `Duplicates` index is the caller's).
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from random import Random
from typing import Literal

from method.duplicates import Duplicates
from method.overlap import OverlapIndex, overlap_index, overlaps
from protocols.records import Example

__all__ = [
    "Critiques",
    "Duplicates",
    "OverlapIndex",
    "Reason",
    "curate",
    "cut_batch",
    "overlap_index",
    "overlaps",
    "ready",
    "resembled",
]

Reason = Literal[
    "truncated", "too_long", "evaluation_overlap", "exact_duplicate", "near_duplicate", "task_cap", "pattern_cap"
]

Critiques = Literal["all", "latest"]

_CHARACTERS_PER_TOKEN = 4


def curate(
    new: Sequence[Example],
    kept: Sequence[Example],
    *,
    overlap: OverlapIndex,
    duplicate_similarity: float,
    max_example_tokens: int,
    per_task: int,
    pattern_share: float,
    pattern_least: int = 4,
    truncated_ids: Collection[str] = (),
    pending_ids: Collection[str] | None = None,
    duplicates: Duplicates | None = None,
) -> tuple[tuple[Example, ...], tuple[tuple[Example, Reason], ...]]:
    """Return those of `new` that are kept, and the others with the reason.

    Args:
        new: in the order in which they came.
        kept: everything that earlier calls kept.
        overlap: index of the evaluation tasks.
        duplicate_similarity: Jaccard similarity of code tokens from which two examples are one, in (0, 1].
        max_example_tokens: estimated at four characters a token.
        per_task: examples of one task in one batch, at most.
        pattern_share: share of a batch's critique examples that one error pattern may have.
        pattern_least: how many critique examples any pattern may have, whatever its share.
        truncated_ids: examples made of an answer that the endpoint cut off.
        pending_ids: which of `kept` are in the batch that is being filled (the caps are per batch); None for all.
        duplicates: index that holds `kept` already, and is given what is kept now; None builds one, which takes long
            for thousands of examples.
    """
    index = Duplicates(duplicate_similarity, kept) if duplicates is None else duplicates
    batch = [example for example in kept if pending_ids is None or example.id in pending_ids]
    accepted: list[Example] = []
    refused: list[tuple[Example, Reason]] = []
    for example in new:
        reason = (
            _unfit(example, truncated_ids, max_example_tokens, overlap)
            or _duplicate(example, index)
            or _over_cap(example, batch, per_task, pattern_share, pattern_least)
        )
        if reason is not None:
            refused.append((example, reason))
            continue
        index.add(example)
        batch.append(example)
        accepted.append(example)
    return tuple(accepted), tuple(refused)


def resembled(example: Example, reason: Reason, overlap: OverlapIndex, duplicates: Duplicates) -> str:
    """Return what a refused example was too much like: a task's id or an example's; empty where it was nothing."""
    if reason == "evaluation_overlap":
        return overlaps(overlap, example) or ""
    return (duplicates.near(example) or "") if reason == "near_duplicate" else ""


def ready(
    new_count: int,
    oldest_age_s: float,
    round_ended: bool,
    *,
    size: int,
    min_size: int,
    max_age_s: float,
) -> bool:
    """Return whether a batch is cut now: it is full, or it has `min_size` examples and its round or time is over."""
    return new_count >= size or (new_count >= min_size and (round_ended or oldest_age_s >= max_age_s))


def cut_batch(
    new: Sequence[Example],
    earlier: Sequence[Example],
    *,
    replay_share: float,
    mode: Literal["restart", "continue"],
    rng: Random,
    every_answer: bool = False,
    critiques: Critiques = "all",
) -> tuple[tuple[Example, ...], int]:
    """Return the examples of one training job, and how many of them were in earlier batches.

    Of each task only one answer counts, unless `every_answer` is to: the latest, and a reference where the policy has
    left none of its own.

    Args:
        new: those that no batch has had yet, oldest first.
        earlier: those of all batches before, oldest first.
        replay_share: share of the result that earlier answers should be, in [0, 1]; `continue` only.
        mode: `restart` takes every current example; `continue` the new ones and a share of replay.
        rng: chooses the replay.
        every_answer: whether a task may have several answers.
        critiques: which of a task's critiques count: `all`, or those of the `latest` policy version that has any.
    """
    every = [*earlier, *new]
    answers = {e.id for e in every if e.kind == "answer"} if every_answer else _answers_that_count(every)
    criticised = {e.id for e in every if e.kind == "critique"} if critiques == "all" else _latest_critiques(every)
    current = answers | criticised
    fresh = [example for example in _unique(new) if example.id in current]
    fresh_ids = {example.id for example in fresh}
    old = [example for example in _unique(earlier) if example.id in current - fresh_ids]
    replayed = old if mode == "restart" else _replay(old, len(fresh), replay_share, rng)
    return (*fresh, *replayed), len(replayed)


def _unfit(example: Example, truncated_ids: Collection[str], max_tokens: int, overlap: OverlapIndex) -> Reason | None:
    if example.id in truncated_ids:
        return "truncated"
    if sum(len(message.content) for message in example.messages) > max_tokens * _CHARACTERS_PER_TOKEN:
        return "too_long"
    return None if overlaps(overlap, example) is None else "evaluation_overlap"


def _duplicate(example: Example, duplicates: Duplicates) -> Reason | None:
    if duplicates.is_exact(example):
        return "exact_duplicate"
    return None if duplicates.near(example) is None else "near_duplicate"


def _over_cap(
    example: Example, batch: Sequence[Example], per_task: int, pattern_share: float, pattern_least: int
) -> Reason | None:
    if sum(other.task_id == example.task_id for other in batch) >= per_task:
        return "task_cap"
    if example.kind == "answer":
        return None
    patterns = Counter(other.pattern for other in batch if other.kind == "critique")
    allowed = max(pattern_least, math.floor(pattern_share * (patterns.total() + 1)))
    return "pattern_cap" if patterns[example.pattern] >= allowed else None


def _unique(examples: Sequence[Example]) -> list[Example]:
    return list({example.id: example for example in examples}.values())


def _answers_that_count(examples: Sequence[Example]) -> set[str]:
    """Return the id of each task's one answer: its latest, and a reference only where there is no other."""
    answers = [example for example in examples if example.kind == "answer"]
    references_first = sorted(answers, key=lambda answer: answer.origin != "reference")
    return set({answer.task_id: answer.id for answer in references_first}.values())


def _latest_critiques(examples: Sequence[Example]) -> set[str]:
    """Return the ids of each task's critiques of the latest policy version that has any."""
    critiques = [example for example in examples if example.kind == "critique"]
    oldest_first = sorted(critiques, key=lambda critique: critique.version)
    latest = {critique.task_id: critique.version for critique in oldest_first}
    return {critique.id for critique in critiques if critique.version == latest[critique.task_id]}


def _replay(old: Sequence[Example], fresh: int, share: float, rng: Random) -> list[Example]:
    answers = [example for example in old if example.kind == "answer"]
    wanted = len(answers) if share >= 1 else round(fresh * share / (1 - share))
    chosen = set(rng.sample(range(len(answers)), min(wanted, len(answers))))
    return [answer for index, answer in enumerate(answers) if index in chosen]
