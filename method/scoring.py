"""The composite score (method.md, step 4): what executions showed, mixed with what reliable judges think.

Invariants: S lies in [0, 1]; what cannot be executed scores 0; without judges S = E.
"""

from protocols.records import Execution, Score


def judge_weight(w_max: float, r: float) -> float:
    """Return w, in [0, w_max]: the judges' part of the score at reliability `r`, 0 for a coin or worse."""
    return w_max * max(0.0, 2 * r - 1)


def score(
    subject_id: str,
    execution: Execution,
    win_rate: float | None,
    weight: float,
    *,
    execution_share: float | None = None,
) -> Score:
    """Return the composite score of one subject.

    Args:
        subject_id: candidate id or `reference`.
        execution: of that subject.
        win_rate: J, in [0, 1]; None when the judges were not asked.
        weight: w, in [0, 1].
        execution_share: E where it is not the share of tests passed: the normalised group score of consensus evidence.
    """
    share = execution.share if execution_share is None else execution_share
    if not execution.executable:
        return Score(subject_id=subject_id, execution_share=share, win_rate=None, weight=0.0, value=0.0)
    if win_rate is None:
        return Score(subject_id=subject_id, execution_share=share, win_rate=None, weight=0.0, value=share)
    value = (1 - weight) * share + weight * win_rate
    return Score(subject_id=subject_id, execution_share=share, win_rate=win_rate, weight=weight, value=value)
