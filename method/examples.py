"""The two formats of example (method.md): chat turns with a mask of those that carry loss.

Invariant: loss stands on the final assistant turn alone; never on a bad candidate, never on a user's turn.
"""

from protocols import prompts
from protocols.identity import content_hash, derive
from protocols.records import Candidate, Example, Execution, Message, Origin, Task


def answer_example(task: Task, code: str, *, origin: Origin, round: int, version: int) -> Example:
    """Return the single-turn example that teaches `code` as the answer to `task`."""
    answer = Message(role="assistant", content=prompts.answer_text(code), loss=True)
    return Example(
        id=derive("example", "answer", task.id, round, version, content_hash(code)),
        task_id=task.id,
        round=round,
        version=version,
        kind="answer",
        origin=origin,
        pattern="",
        messages=(*prompts.answer_prompt(task), answer),
        code=code,
    )


def critique_example(
    task: Task,
    candidate: Candidate,
    execution: Execution,
    critique_text: str,
    code: str,
    *,
    origin: Origin,
    pattern: str,
    round: int,
    version: int,
) -> Example:
    """Return the two-turn example that teaches the critique of `candidate` and the mended code.

    Args:
        task: what was asked.
        candidate: the low-quality one, shown without loss.
        execution: what running it showed.
        critique_text: the critique, without its code.
        code: the revision where it was verified, else the incumbent's code.
        origin: `critic` for a verified revision, else the incumbent's own.
        pattern: error pattern of the candidate.
        round: when the example was made.
        version: policy version that generated the candidate.

    Raises:
        ValueError: the candidate has no code.
    """
    if candidate.code is None:
        raise ValueError(f"candidate {candidate.id} has no code to critique")
    turns = (
        Message(role="assistant", content=prompts.answer_text(candidate.code)),
        Message(role="user", content=prompts.review_request(execution)),
        Message(role="assistant", content=prompts.critique_text(critique_text, code), loss=True),
    )
    return Example(
        id=derive("example", "critique", task.id, round, version, candidate.id),
        task_id=task.id,
        round=round,
        version=version,
        kind="critique",
        origin=origin,
        pattern=pattern,
        messages=(*prompts.answer_prompt(task), *turns),
        code=code,
    )
