"""Making an `Evaluation`: from how each task came out to pass@k with its interval."""

from collections.abc import Sequence

from evals.bootstrap import interval
from evals.pass_at_k import mean_pass_at_k
from protocols.identity import derive
from protocols.records import Evaluation, EvaluationPurpose, TaskResult


def make_evaluation(
    *,
    purpose: EvaluationPurpose,
    version: int,
    round: int,
    results: Sequence[TaskResult],
    executable_share: float,
    prompt_tokens: int,
    completion_tokens: int,
    seconds: float,
    ks: Sequence[int],
    seed: int,
) -> Evaluation:
    """Return the evaluation that `results` make; its id is derived from purpose, version and round.

    Args:
        purpose: `gate` or `held_out`.
        version: number of the policy version that answered.
        round: in which it answered.
        results: one per task.
        executable_share: share of the samples that could be executed, in [0, 1].
        prompt_tokens: spent on it.
        completion_tokens: spent on it.
        seconds: it took.
        ks: for which pass@k is estimated; those above a task's samples are left out.
        seed: of the bootstrap.

    Raises:
        ValueError: no results, or a task without samples.
    """
    low, high = interval(results, seed=seed)
    samples = min(result.samples for result in results)
    return Evaluation(
        id=derive("evaluation", purpose, version, round),
        purpose=purpose,
        version=version,
        round=round,
        results=tuple(results),
        pass_at_1=mean_pass_at_k(results, 1),
        low=low,
        high=high,
        pass_at_k={k: mean_pass_at_k(results, k) for k in ks if k <= samples},
        executable_share=executable_share,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        seconds=seconds,
    )
