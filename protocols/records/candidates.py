"""What a policy version answered."""

from protocols.records.record import Record


class Candidate(Record, frozen=True, kw_only=True):
    """A distinct response of one policy version to one task. Made by the Generator."""

    id: str
    task_id: str
    round: int
    version: int
    """Number of the policy version that generated it."""
    index: int
    """Position of the first response that gave it, among the task's responses of this round (0-based)."""
    text: str
    """The response as it came."""
    code: str | None
    """The code extracted from it; None when there was none."""
    finish_reason: str
    temperatures: tuple[float, ...]
    """Sampling temperature of each response that was equal to it up to formatting, comments and local names."""

    @property
    def count(self) -> int:
        """How many responses were this candidate."""
        return len(self.temperatures)


class Generation(Record, frozen=True, kw_only=True):
    """One finished generation of one task: what it cost. Made by the Generator, after its candidates."""

    id: str
    task_id: str
    round: int
    version: int
    responses: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
