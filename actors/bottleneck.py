"""What waits for what: one line that names the part which holds the run back."""

from collections.abc import Mapping, Sequence

from actors.pipeline import PipelineStatistics
from actors.stage import StageStatistics

CALM_S = 120.0
"""An item that is in hand longer than this makes its stage the suspect, whatever the channels hold."""

_VERDICTS: Mapping[str, str] = {
    "generator": "generator-bound",
    "executor": "sandbox-bound",
    "judge": "judge-bound",
    "critic": "critic-bound",
}


def bottleneck(statistics: PipelineStatistics, endpoint_down: str | None = None) -> str:
    """Return the verdict: `endpoint down`, `trainer-bound`, `publishing`, or the busiest stage.

    Args:
        statistics: of every actor.
        endpoint_down: name of an endpoint that does not answer; None when all do.
    """
    if endpoint_down is not None:
        return f"endpoint down: {endpoint_down}"
    busy = [stage for stage in _after_the_held(statistics.stages) if stage.in_hand or stage.waiting]
    if not busy:
        if statistics.trainer.training is not None:
            return "trainer-bound"
        return statistics.publisher.activity if statistics.publisher.activity != "idle" else "idle"
    stuck = max(busy, key=lambda stage: stage.oldest_s)
    if stuck.oldest_s > CALM_S:
        return f"{_VERDICTS[stuck.name]} (oldest task {stuck.oldest_s:.0f} s)"
    fullest = max(busy, key=lambda stage: (stage.waiting / max(1, stage.room), stage.in_hand / stage.concurrency))
    return _VERDICTS[fullest.name]


def _after_the_held(stages: Sequence[StageStatistics]) -> Sequence[StageStatistics]:
    """Return the stages behind the last one whose work is done and finds no room: what holds it is further on."""
    last = max((place for place, stage in enumerate(stages) if stage.held), default=-1)
    return stages[last + 1 :]
