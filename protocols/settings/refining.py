"""Steps 1 to 7 of the method, from candidates to a batch; step 2's sandbox is in `sandbox`."""

from typing import Annotated, Literal

from pydantic import Field

from protocols.settings.section import Positive, Seconds, Section, Share


class GenerateSettings(Section):
    """Step 1 of the method."""

    candidates: Positive = 8
    temperature: Annotated[tuple[float, ...], Field(min_length=1)] = (0.8,)
    """One, or a ladder spread over the candidates."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Below 1, vLLM on a CPU sorts the vocabulary for every token: half of a server's time with one of 152,000."""
    top_k: Positive | None = None
    """Draw from the so many most likely tokens: cheap on a CPU too. For vLLM alone; None leaves it out."""
    max_tokens: Positive = 512
    stop: Annotated[tuple[str, ...], Field(max_length=4)] = ("\n```\n",)
    """Texts that end an answer; the default ends it after its first code block, and no token is spent on talk."""
    concurrency: Positive = 16
    """Tasks in flight."""


class ConsensusSettings(Section):
    """Step 2 of the method for tasks without tests: the policy writes tests, and agreement on them decides."""

    use: Literal["off", "without_tests", "measured"] = "without_tests"
    """`off` leaves tasks without tests undecided. `measured` lets the policy write tests for tasks that have their own
    as well, and the report says how often agreement would have chosen a right answer; it decides nothing there."""
    tests: Positive = 8
    """Written tests that candidates are run against, at most."""
    answers: Positive = 1
    """Answers to ask for; each may hold several tests."""
    temperature: Annotated[float, Field(ge=0)] = 0.8
    max_tokens: Positive = 512
    drop: bool = True
    """Whether written tests that the reference answer fails are dropped, where the reference is not hidden."""


class JudgeSettings(Section):
    """Steps 3 and 4 of the method."""

    mode: Literal["pairwise", "rubric", "off"] = "pairwise"
    """`pairwise` compares two answers in both orders; `rubric` has each marked by itself; `off` asks nobody: S = E."""
    schedule: Literal["anchor", "round_robin", "swiss"] = "anchor"
    w_max: Share = 0.5
    lazy: bool = True
    calibrate: Share = 0.1
    """Share of tasks that are judged although their decision is settled, to measure the judges' reliability."""
    max_pairs: Positive = 4
    """Comparisons per task, at most; with `rubric`, candidates marked per task."""
    max_tokens: Positive = 300
    concurrency: Positive = 16
    """Tasks in flight."""


class DecideSettings(Section):
    """Step 5 of the method."""

    d_up: Share = 0.05
    d_low: Share = 0.15
    references: Literal["train", "anchor", "hidden"] = "anchor"
    """What the data set's own answers are for. `train`: while one is the incumbent it is an answer example too, and is
    trained on until the policy has an answer of its own. `anchor`: candidates are compared with them, and the critic
    sees them. `hidden`: nothing."""
    keep: Literal["alone", "beside"] = "alone"
    """When an answer of the policy's own that does as well as the incumbent becomes an example: once a task, where
    there is nothing to criticise; or in each round, beside critiques of the task's weak answers."""


class CritiqueSettings(Section):
    """Step 6 of the method."""

    per_task: Annotated[int, Field(ge=0)] = 2
    """Critiques per task and round, at most; 0 turns criticism off."""
    unverified: Literal["incumbent", "drop"] = "incumbent"
    """What becomes of a critique whose revision does not pass: the incumbent stands as its mended code, or it makes no
    example."""
    per_round: Annotated[int, Field(ge=0)] | None = None
    """Critiques per round, at most, for the tasks that come first; None: no such limit."""
    temperature: Annotated[float, Field(ge=0)] = 0.2
    max_tokens: Positive = 512
    stop: Annotated[tuple[str, ...], Field(max_length=4)] = ("\n```\n",)
    """As `generate.stop`: a critique ends with its mended code."""
    concurrency: Positive = 16
    """Tasks in flight."""


class CurateSettings(Section):
    """Step 7 of the method."""

    size: Positive = 512
    """Examples that cut a batch at once."""
    min_size: Positive = 16
    """Examples that a round must leave for its end to cut a batch."""
    max_age_s: Seconds = 3600.0
    replay: Share = 0.25
    duplicate_similarity: Annotated[float, Field(gt=0, le=1)] = 0.8
    max_example_tokens: Positive = 1024
    """Estimated at four characters a token."""
    per_task: Positive = 4
    """Examples of one task in one batch, at most."""
    pattern_share: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Share of a batch's critique examples that one error pattern may have."""
    answers: Literal["decided", "correct_only", "references"] = "decided"
    """`decided`: the examples that the method's decisions make. `correct_only`: every distinct candidate that passes
    every test, and nothing else: plain rejection-sampling fine-tuning. `references`: the data set's own answers, and
    nothing else: plain fine-tuning. Neither of the two asks judges or critics."""
    critiques: Literal["all", "latest"] = "all"
    """Which of a task's critiques count, which matters where a batch takes earlier ones (`train.mode = "restart"`).
    `all`: every one since the run began; they pile up, and most are soon of answers that the policy no longer gives.
    `latest`: those of the latest policy version that the task has any of."""
