"""Adaptive refinement: the decision table (method.md, step 5), and which judging could still change it.

Invariants: whoever becomes the incumbent passes everything that the one before passed, whatever the judges say;
the critique's bar is the incumbent *after* `adopt` or `replace`. Nothing here asks a judge.
"""

from collections.abc import Mapping, Sequence

from method.decision_rule import DecisionRule
from method.laziness import Stakes, needed
from method.standing import Standing, field, heirs, standing
from protocols.identity import REFERENCE
from protocols.records import Candidate, Decision, DecisionKind, Execution, Incumbent, Score, Task


def decide(
    task: Task,
    candidates: Sequence[Candidate],
    executions: Mapping[str, Execution],
    scores: Mapping[str, Score],
    incumbent: Incumbent | None,
    rule: DecisionRule,
    *,
    incumbent_kept_before: bool,
    decision_id: str,
    round: int,
    version: int,
) -> Decision:
    """Return what is done with `task` in this round.

    Args:
        task: the task.
        candidates: this round's distinct ones; those without code, execution or score take no part.
        executions: by subject id, the incumbent's included.
        scores: by subject id, the incumbent's included.
        incumbent: the best answer known.
        rule: margins, and what becomes of references and confirmed incumbents.
        incumbent_kept_before: whether an earlier decision on this task was `keep`, which counts where it may be so
            only once.
        decision_id: id of the result.
        round: number of the round.
        version: policy version that was current.

    Raises:
        KeyError: the incumbent has no execution or no score.
    """
    before = visible_incumbent(incumbent, rule)
    shares = {subject: score.execution_share for subject, score in scores.items()}
    present = [candidate for candidate in candidates if candidate.id in scores]
    standings = field(present, executions, before, shares)
    own = _own(before, executions, shares)
    values = {subject: score.value for subject, score in scores.items()}
    by_id = {candidate.id: candidate for candidate in present}
    heir = _heir(standings, own, values, by_id, rule.d_up)
    after = before if heir is None else _incumbent(by_id[heir.id])
    low = _low(standings, after, values, rule.d_low)
    kept = None
    if own is not None and heir is None and (rule.keep == "beside" or not (low or incumbent_kept_before)):
        kept = _best(_equals(standings, own, values, rule), values, by_id)
    subjects = [*(s.id for s in standings), *([own.id] if own else [])]
    return Decision(
        id=decision_id,
        task_id=task.id,
        round=round,
        version=version,
        kinds=_kinds(own, heir, low, kept),
        incumbent=after,
        answer_id=_answer_id(heir or kept, after, rule),
        critique_ids=low,
        scores=tuple(scores[subject] for subject in subjects),
    )


def visible_incumbent(incumbent: Incumbent | None, rule: DecisionRule) -> Incumbent | None:
    """Return the incumbent, or None when it is a reference that must stay hidden."""
    hidden = rule.references == "hidden" and incumbent is not None and incumbent.subject_id == REFERENCE
    return None if hidden else incumbent


def needed_candidates(
    candidates: Sequence[Candidate],
    executions: Mapping[str, Execution],
    incumbent: Incumbent | None,
    w_max_effective: float,
    rule: DecisionRule,
    *,
    incumbent_kept_before: bool = False,
    shares: Mapping[str, float] | None = None,
) -> tuple[str, ...]:
    """Return the candidates that the judges must be asked about: the others cannot change the decision.

    The decision is the same whatever J is for the candidates left out, so they may stay unjudged (S = E). Only pairs
    among the needed ones, and of them with the incumbent, are worth asking. Once any pair was asked, all needed and
    the incumbent must be scored with a J of one field (`win_rates` over all of them, compared or not): S = E is fair
    only to those left out.

    Args:
        candidates: as for `decide`.
        executions: by subject id, the incumbent's included.
        incumbent: the one that `decide` will see (`visible_incumbent`).
        w_max_effective: w with which judged answers will be scored, in [0, 1].
        rule: as for `decide`.
        incumbent_kept_before: as for `decide`; False asks rather too much.
        shares: E by subject id where it is not the share of tests passed.

    Raises:
        KeyError: the incumbent has no execution.
    """
    known = shares or {}
    standings = field(candidates, executions, incumbent, known)
    own = _own(incumbent, executions, known)
    stakes = Stakes(w_max_effective, rule, may_keep=rule.keep == "beside" or not incumbent_kept_before)
    wanted = needed(standings, own, stakes)
    return tuple(s.id for s in standings if s.id in wanted)


def _own(
    incumbent: Incumbent | None, executions: Mapping[str, Execution], shares: Mapping[str, float]
) -> Standing | None:
    """Return the incumbent's own standing."""
    if incumbent is None:
        return None
    return standing(incumbent.subject_id, executions[incumbent.subject_id], shares.get(incumbent.subject_id))


def _heir(
    standings: Sequence[Standing],
    own: Standing | None,
    values: Mapping[str, float],
    by_id: Mapping[str, Candidate],
    d_up: float,
) -> Standing | None:
    best = _best(heirs(standings, own), values, by_id)
    if best is None or (own is not None and values[best.id] <= values[own.id] + d_up):
        return None
    return best


def _best(
    standings: Sequence[Standing], values: Mapping[str, float], by_id: Mapping[str, Candidate]
) -> Standing | None:
    """Return the one of highest S; among equals the one given most often, then the first."""
    return max(standings, key=lambda s: (values[s.id], by_id[s.id].count, -by_id[s.id].index), default=None)


def _low(
    standings: Sequence[Standing], after: Incumbent | None, values: Mapping[str, float], d_low: float
) -> tuple[str, ...]:
    if after is None:
        return tuple(s.id for s in standings if not s.solved and values[s.id] < 1.0 - d_low)
    bar = values[after.subject_id] - d_low
    return tuple(s.id for s in standings if s.id != after.subject_id and values[s.id] < bar)


def _equals(
    standings: Sequence[Standing], own: Standing, values: Mapping[str, float], rule: DecisionRule
) -> list[Standing]:
    """Return the candidates that confirm the incumbent: as good by executions, and close to it by score."""
    low, high = values[own.id] - rule.d_low, values[own.id] + rule.d_up
    return [s for s in standings if s.executable and s.covers(own) and low <= values[s.id] <= high]


def _incumbent(candidate: Candidate) -> Incumbent:
    return Incumbent(subject_id=candidate.id, origin="self", code=candidate.code or "")


def _kinds(
    own: Standing | None, heir: Standing | None, low: Sequence[str], kept: Standing | None
) -> tuple[DecisionKind, ...]:
    kinds: list[DecisionKind] = []
    if heir is not None:
        kinds.append("adopt" if own is None else "replace")
    if low:
        kinds.append("critique")
    if kept is not None:
        kinds.append("keep")
    return tuple(kinds) or ("skip",)


def _answer_id(winner: Standing | None, after: Incumbent | None, rule: DecisionRule) -> str | None:
    if winner is not None:
        return winner.id
    taught = rule.references == "train" and after is not None and after.subject_id == REFERENCE
    return REFERENCE if taught else None
