"""Records to fill journals with."""

from protocols.records import Candidate, FilterCount, Generation, Round


def round_of(number: int) -> Round:
    return Round(id=f"round-{number}", number=number, task_ids=("t1", "t2"))


def refusal(name: str, *, task_id: str = "t1", round: int = 1, reason: str = "duplicate") -> FilterCount:
    return FilterCount(id=name, task_id=task_id, round=round, reason=reason)


def candidate(name: str, *, task_id: str = "t1", round: int = 1, version: int = 0, text: str = "code") -> Candidate:
    return Candidate(
        id=name,
        task_id=task_id,
        round=round,
        version=version,
        index=0,
        text=text,
        code=text,
        finish_reason="stop",
        temperatures=(0.8,),
    )


def generation(name: str, *, task_id: str = "t1", round: int = 1) -> Generation:
    return Generation(
        id=name,
        task_id=task_id,
        round=round,
        version=0,
        responses=1,
        prompt_tokens=1,
        completion_tokens=1,
        seconds=0.5,
    )
