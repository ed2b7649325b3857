"""Steps 9 and 10 of the method, and held-out evaluation."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from protocols.settings.section import Positive, Seconds, Section, Share


class GateSettings(Section):
    """Step 9 of the method."""

    samples: Positive = 4
    temperature: Annotated[float, Field(ge=0)] = 0.2
    tolerance: Share = 0.05
    """Fall of pass@1 that is still promoted."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    rejections: Positive = 3
    """In a row, before the run pauses."""


class PublishSettings(Section):
    """Step 10 of the method."""

    way: Literal["auto", "adapter", "in_place", "restart"] = "auto"
    """`auto`: `in_place` on a CPU, else `adapter`; of whole models `restart` on a CPU, else `in_place`. `restart`
    starts the managed server again on the new weights, which takes as long as a start: for models that vLLM cannot
    reload in place."""
    probes: Positive = 4
    tolerance: Annotated[float, Field(gt=0)] | None = None
    """Mean absolute difference of log-probabilities; None: by the model's dtype."""
    drain_s: Seconds = 120.0


class EvaluateSettings(Section):
    """Held-out evaluation, for the report alone."""

    samples: Positive = 4
    temperature: Annotated[float, Field(ge=0)] = 0.2
    ks: tuple[Positive, ...] = (1, 4)
    concurrency: Positive = 16

    @model_validator(mode="after")
    def _enough_samples(self) -> Self:
        if max(self.ks) > self.samples:
            raise ValueError(f"pass@{max(self.ks)} needs at least {max(self.ks)} samples, got {self.samples}")
        return self
