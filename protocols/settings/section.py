"""What every section of the settings is made of: frozen, unknown keys refused; and the types of values that recur."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Role = Literal["policy", "judge", "critic"]

EMBEDDED_MODEL = "embedded"
"""Model name that stands for SmolLM2-135M-Instruct from its PyPI package."""
MANAGED = "managed"
"""Endpoint URL that stands for the vLLM server that the run starts itself."""


class Section(BaseModel):
    """One table of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
