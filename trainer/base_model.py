# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (transformers carries no complete types)
"""The base model in memory: weights, tokenizer, device and the type that is computed in.

Invariants: its weights are never changed by a job; the final projection is plain (checked on loading), so hidden states
may be selected before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from protocols.errors import ModelError
from protocols.ports import TrainingRecipe
from trainer.segment_attention import attend_by_segments
from trainer.token_tree import Segment, lay_out


@dataclass(frozen=True)
class BaseModel:
    """One loaded model."""

    name: str
    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    """Of weights and matrix products; norms, losses and adapters are float32."""
    bytes_per_token: dict[TrainingRecipe, float] = field(default_factory=dict, compare=False)
    """What a token keeps until the backward pass, for each recipe for which it was measured (`trainer.memory`)."""

    def hidden_states(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return the last hidden states, before the projection. Padding, if any, must be on the right.

        No mask is passed: attention is causal, so what stands on the right changes nothing on the left.
        """
        return self.model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state

    def packed_hidden_states(
        self, input_ids: torch.Tensor, position_ids: torch.Tensor, segments: Sequence[Segment]
    ) -> torch.Tensor:
        """Return the last hidden states, (tokens, size), of a row of segments, each of which sees only its context."""
        outputs = self.model.base_model(
            input_ids=input_ids, position_ids=position_ids, segments=segments, use_cache=False
        )
        return outputs.last_hidden_state[0]

    @property
    def head(self) -> torch.nn.Linear:
        """The projection to the vocabulary."""
        return self.model.get_output_embeddings()


def choose_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(device: torch.device, wish: Literal["auto", "bfloat16", "float32"] = "auto") -> torch.dtype:
    """Return the type that is wished for; under `auto` bfloat16 where the hardware multiplies in it, else float32.

    A CPU without such instructions emulates them: on AVX2 alone, bfloat16 was measured 5 to 50 times slower.
    """
    if wish == "auto":
        return torch.bfloat16 if device.type == "cuda" or _cpu_has_bfloat16() else torch.float32
    return torch.bfloat16 if wish == "bfloat16" else torch.float32


def load_base_model(name: str, device: torch.device, dtype: torch.dtype) -> BaseModel:
    """Load a local folder or a hub name.

    Raises:
        ModelError: it cannot be loaded, or its logits are not the plain projection of its hidden states.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"model {name!r} cannot be loaded: {error}") from error
    model.to(device).eval().requires_grad_(False)
    attend_by_segments(model)
    base = BaseModel(name, model, tokenizer, device, dtype)
    _check_projection(base)
    _check_packing(base)
    return base


def _check_projection(base: BaseModel) -> None:
    """Refuse models that scale or clip their logits: their loss would come out wrong without a sign."""
    ids = torch.arange(4, device=base.device)[None]
    with torch.inference_mode():
        ours = base.head(base.hidden_states(ids)).float()
        theirs = base.model(input_ids=ids, use_cache=False).logits.float()
    if not torch.allclose(ours, theirs, rtol=1e-2, atol=1e-2):
        raise ModelError(f"model {base.name!r} changes its logits after the projection; such models are not supported")


def _check_packing(base: BaseModel) -> None:
    """Refuse models in which packed examples would see each other, or that ignore our attention function."""
    sequences = [[1, 2, 3, 4, 5], [1, 2, 3, 7], [8, 9, 6]]
    tree = lay_out(sequences, least_shared=2)
    row, positions = (torch.tensor([ids], device=base.device) for ids in (tree.ids, tree.positions))
    with torch.inference_mode():
        packed = base.packed_hidden_states(row, positions, tree.segments)
        for ids, places in zip(sequences, tree.places, strict=True):
            alone = base.hidden_states(torch.tensor([ids], device=base.device))[0]
            if not torch.allclose(packed[list(places)].float(), alone.float(), rtol=0.1, atol=0.1 * _size(alone)):
                raise ModelError(f"model {base.name!r} mixes examples that are packed; such models are not supported")


def _size(hidden: torch.Tensor) -> float:
    return float(hidden.float().square().mean().sqrt())


def _cpu_has_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
