"""Step 8 of the method."""

from typing import Annotated, Literal

from pydantic import Field

from protocols.settings.section import Positive, Seconds, Section, Share


class TrainSettings(Section):
    """Step 8 of the method."""

    mode: Literal["restart", "continue"] = "restart"
    weights: Literal["adapter", "full"] = "adapter"
    """`full` trains all weights, as the paper does: sixteen bytes of memory a weight besides the model, a lower
    `learning_rate` (1e-5), whole models on disk. What is said of adapters below has no meaning then."""
    rank: Positive = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    layers: Positive | None = None
    """Adapters on the last so many layers only, where a whole backward pass takes too long; None: on all."""
    targets: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = None
    """Linear layers that get an adapter, by the end of their names, such as `["q_proj", "mlp.down_proj"]`; None: all
    but the projection to the vocabulary."""
    dora: bool = False
    """Train a magnitude for each output beside the low-rank matrices (arXiv 2402.09353). Steps take longer, and vLLM
    serves the outcome only merged: it needs `publish.way = "in_place"`."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) instead of alpha / rank (arXiv 2312.03732), so that high ranks learn as fast."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    warmup_share: Share = 0.1
    epochs: Positive = 2
    batch_examples: Positive = 16
    micro_batch_tokens: Positive = 2048
    """Of one pass through the model, at most, what examples have in common counted once; a longer example goes alone.
    Fewer where memory is short, and on a CPU where they would keep more than 256 MiB (but 512 always), which hardly
    saves time. There a small model has two passes going through it at a time."""
    max_tokens: Positive = 1024
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the base model's weights and products in training; `auto`: bfloat16 where the hardware multiplies in it.
    Adapters, norms and losses are float32 in either."""
    gradient_checkpointing: bool = False
    """Keep the input of each layer only, and compute the layer again in the backward pass: a fraction of the memory,
    a third more time. For long examples; where memory is short, smaller micro-batches come by themselves."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    processes: Positive = 1
    """That do each job together, on one GPU each, or side by side on the CPU's cores. More than one: FSDP2 under
    `torchrun`, without checkpoints, and the base model is loaded anew for each job."""
    gpus: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None
    """Numbers of the GPUs that the trainer has; None: all that are there."""
    colocated: bool = False
    """Train on the GPUs of the managed server, which sleeps meanwhile."""
    checkpoint_steps: Annotated[int, Field(ge=0)] = 20
    """Steps between two checkpoints, from which a job goes on when its worker was killed; 0: none."""
    step_deadline_s: Seconds = 600.0
    """Longest silence of the worker, within a step or while loading, before it counts as hung and is killed."""
