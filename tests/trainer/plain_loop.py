"""The simple truth that every optimisation of the trainer is held against.

One example at a time, nothing packed, padded or shared; all logits; torch's own cross-entropy; PEFT's and
transformers' own layers and attention. Nothing of the trainer's own arithmetic is used here.
"""

import math
import random
from collections.abc import Sequence
from typing import Any

import torch

from protocols.ports import TrainingRecipe
from trainer.rendering import Rendered


def plain_losses(model: Any, examples: Sequence[Rendered], recipe: TrainingRecipe) -> list[float]:
    """Train `model`'s parameters that want a gradient; return the mean loss of each step."""
    parameters = [one for one in model.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    batches = [batch for epoch in range(recipe.epochs) for batch in _batches(len(examples), recipe, epoch)]
    losses: list[float] = []
    for step, batch in enumerate(batches):
        optimiser.param_groups[0]["lr"] = recipe.learning_rate * _rate_share(step, len(batches), recipe.warmup_share)
        chosen = [examples[index] for index in batch]
        count = sum(sum(one.learnt) for one in chosen)
        losses.append(0.0)
        for one in chosen:
            loss = plain_loss(model, one) / count
            loss.backward()
            losses[-1] += loss.item()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.max_gradient_norm)
        optimiser.step()
        optimiser.zero_grad()
    return losses


def plain_loss(model: Any, one: Rendered) -> torch.Tensor:
    """Return the summed loss of one example, in the model's type, adapters under autocast where that is bfloat16."""
    labels = [id if learnt else -100 for id, learnt in zip(one.ids, one.learnt, strict=True)]
    with torch.autocast("cpu", torch.bfloat16, enabled=model.dtype == torch.bfloat16):
        logits = model(input_ids=torch.tensor([one.ids]), use_cache=False).logits[0, :-1]
    return torch.nn.functional.cross_entropy(
        logits.float(), torch.tensor(labels[1:]), ignore_index=-100, reduction="sum"
    )


def _batches(count: int, recipe: TrainingRecipe, epoch: int) -> list[list[int]]:
    order = list(range(count))
    random.Random(f"{recipe.seed}:{epoch}").shuffle(order)
    batches = math.ceil(count / recipe.batch_examples)
    return [order[count * k // batches : count * (k + 1) // batches] for k in range(batches)]


def _rate_share(step: int, steps: int, warmup_share: float) -> float:
    rising = math.ceil(steps * warmup_share)
    if step < rising:
        return (step + 1) / rising
    return (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2
