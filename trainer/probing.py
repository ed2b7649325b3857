# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch carries no complete types)
"""The canary's numbers: log-probabilities of fixed texts, as the trainer computes them.

They are computed from the very bfloat16 weights that are served, in the base model's own type.
"""

from collections.abc import Sequence

import torch

from protocols.records import Probe
from trainer.base_model import BaseModel


def probe_texts(base: BaseModel, texts: Sequence[str]) -> tuple[Probe, ...]:
    """Return the numbers of `texts`, one probe each, in order. Texts are tokenised as they are, without a template."""
    return tuple(probe_ids(base, base.tokenizer.encode(text, add_special_tokens=False)) for text in texts)


def probe_ids(base: BaseModel, ids: Sequence[int]) -> Probe:
    """Return the log-probability of each token but the first, given those before it; of one token alone, none."""
    if len(ids) < 2:
        return Probe(token_ids=tuple(ids), log_probabilities=())
    tokens = torch.tensor([list(ids)], device=base.device)
    with torch.inference_mode():
        logits = base.head(base.hidden_states(tokens[:, :-1]))[0].float()
        chosen = logits.log_softmax(dim=-1).gather(1, tokens[0, 1:, None]).squeeze(1)
    return Probe(token_ids=tuple(ids), log_probabilities=tuple(chosen.tolist()))
