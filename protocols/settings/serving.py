"""Who answers: endpoints, and the managed vLLM server."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from protocols.settings.section import MANAGED, Positive, Role, Seconds, Section


class EndpointSettings(Section):
    """One OpenAI-compatible endpoint."""

    name: str
    url: str
    """`managed`, or a base URL that ends in /v1."""
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    model: str | None = None
    """Model name to ask for; None: the policy's own served name (only for endpoints that serve it)."""
    key_variable: str | None = None
    """Name of the environment variable that holds the key; never the key."""
    price_in: Annotated[float, Field(ge=0)] | None = None
    """Per million prompt tokens."""
    price_out: Annotated[float, Field(ge=0)] | None = None
    connections: Positive = 32
    """Requests in flight, at most."""
    timeout_s: Seconds = 300.0
    """For one whole answer."""
    connect_timeout_s: Seconds = 10.0
    tries: Positive = 4

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.url != MANAGED and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must be 'managed' or start with http:// or https://, got {self.url!r}")
        if self.key_variable is not None and (self.price_in is None or self.price_out is None):
            raise ValueError("an endpoint with a key needs price_in and price_out (0 where it is free)")
        if "policy" not in self.roles and self.url != MANAGED and self.model is None:
            raise ValueError("an endpoint that does not serve the policy needs a model")
        return self


class ServerSettings(Section):
    """The managed vLLM server. None means: decided from this machine's cores, memory and devices."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    threads: Positive | None = None
    kv_cache_bytes: Positive | None = None
    gpus: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None
    """Numbers of the GPUs that it has; None: all that are there."""
    gpu_memory_share: Annotated[float, Field(gt=0, le=1)] = 0.6
    max_model_tokens: Positive = 2048
    max_sequences: Positive = 64
    tuned: bool = True
    """False starts vLLM with its own defaults (for comparison)."""
    compiled: bool = True
    """Compiling takes minutes at the first start, and makes answers a sixth faster. On a CPU it needs a C++ compiler,
    and is left out where there is none."""
    ready_s: Seconds = 600.0
    restarts: Annotated[int, Field(ge=0)] = 5
    """How often in an hour a server that died is started again."""
    arguments: tuple[str, ...] = ()
    """Further arguments to vLLM, as on its command line."""
