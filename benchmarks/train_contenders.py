"""Runs one contender's turn of the `train` benchmark: `python train_contenders.py`, in the contender's own interpreter.

Standard input: JSON with `contender`, `model`, `examples` (each with `ids` and `learnt`), `batch_examples`,
`pass_examples`, `pass_tokens`, `rate`, `rank`, `alpha`, `threads` and, for ours, `gradient_checkpointing`. Standard
output, last line: JSON with the loss of each step, when each ended (`marks`, seconds of wall and of CPU), and the peak
resident memory. Only the contender is imported, through its public interface; ours, and the plain loop, are the
project's.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

Turn = dict[str, Any]
Mark = Callable[[float], None]


def ours(turn: Turn, mark: Mark) -> None:
    """The project's own trainer, as its worker calls it."""
    import torch

    from trainer.base_model import load_base_model
    from trainer.low_rank import attached
    from trainer.training import fit

    base = load_base_model(turn["model"], torch.device("cpu"), torch.bfloat16)
    job = _job(turn)
    torch.manual_seed(0)
    with attached(base, job) as model:
        model.train()
        parameters = [one for one in model.parameters() if one.requires_grad]
        fit(base, parameters, _rendered(turn), job, lambda progress: mark(progress.loss))


def plain(turn: Turn, mark: Mark) -> None:
    """The tests' plain loop: the truth that losses are compared with."""
    import torch

    from tests.trainer.plain_loop import plain_losses
    from trainer.base_model import load_base_model
    from trainer.low_rank import attached

    base = load_base_model(turn["model"], torch.device("cpu"), torch.bfloat16)
    base.model.set_attn_implementation("sdpa")
    job = _job(turn)
    torch.manual_seed(0)
    with attached(base, job) as model:
        for loss in plain_losses(model, _rendered(turn), job.recipe):
            mark(loss)


def trl_padded(turn: Turn, mark: Mark) -> None:
    """TRL's SFTTrainer, padded batches."""
    _trl(turn, mark, packing=False)


def trl_packed(turn: Turn, mark: Mark) -> None:
    """TRL's SFTTrainer, rows packed as full as they can be."""
    _trl(turn, mark, packing=True)


CONTENDERS = {"ours": ours, "plain": plain, "TRL padded": trl_padded, "TRL packed": trl_packed}


def _trl(turn: Turn, mark: Mark, *, packing: bool) -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Marking(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            if logs and "loss" in logs:
                mark(logs["loss"])

    rows = 1 if packing else turn["pass_examples"]
    tokens = sum(len(example["ids"]) for example in turn["examples"])
    per_step = tokens * turn["batch_examples"] / len(turn["examples"])
    passes = max(1, round(per_step / turn["pass_tokens"])) if packing else turn["batch_examples"] // rows
    model = AutoModelForCausalLM.from_pretrained(turn["model"], dtype=torch.bfloat16)
    linear = [name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)]
    trainer = SFTTrainer(
        model=model,
        processing_class=AutoTokenizer.from_pretrained(turn["model"]),
        train_dataset=Dataset.from_list([_labelled(example) for example in turn["examples"]]),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            r=turn["rank"],
            lora_alpha=turn["alpha"],
            target_modules=sorted({name.rpartition(".")[2] for name in linear} - {"lm_head"}),
        ),
        args=SFTConfig(
            output_dir=turn["folder"],
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=passes,
            num_train_epochs=1,
            learning_rate=turn["rate"],
            lr_scheduler_type="cosine",
            packing=packing,
            max_length=turn["pass_tokens"],
            gradient_checkpointing=False,
            bf16=True,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            seed=0,
        ),
        callbacks=[Marking()],
    )
    trainer.train()


def _labelled(example: dict[str, Any]) -> dict[str, Any]:
    labels = [id if learnt else -100 for id, learnt in zip(example["ids"], example["learnt"], strict=True)]
    return {"input_ids": example["ids"], "labels": labels}


def _rendered(turn: Turn) -> tuple[Any, ...]:
    from trainer.rendering import Rendered

    return tuple(Rendered(tuple(example["ids"]), tuple(example["learnt"])) for example in turn["examples"])


def _job(turn: Turn) -> Any:
    from protocols.ports import TrainingJob, TrainingRecipe

    recipe = TrainingRecipe(
        rank=turn["rank"],
        alpha=turn["alpha"],
        dropout=0.0,
        learning_rate=turn["rate"],
        warmup_share=0.0,
        epochs=1,
        batch_examples=turn["batch_examples"],
        micro_batch_tokens=turn["pass_tokens"],
        max_tokens=turn["pass_tokens"],
        weight_decay=0.0,
        max_gradient_norm=1.0,
        seed=0,
        gradient_checkpointing=turn.get("gradient_checkpointing", False),
    )
    return TrainingJob(
        id="benchmark",
        round=0,
        version=1,
        examples=(),
        model=turn["model"],
        start_adapter=None,
        output_folder=turn["folder"],
        write_merged=False,
        probe_texts=(),
        recipe=recipe,
    )


def main() -> None:
    """Take one turn."""
    turn: Turn = json.load(sys.stdin)
    with suppress(OSError):  # whoever takes too much memory is killed before anything else on the machine
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    sys.path.insert(0, turn["project"])
    import torch

    torch.set_num_threads(turn["threads"])
    losses: list[float] = []
    marks: list[tuple[float, float]] = []

    def mark(loss: float) -> None:
        losses.append(loss)
        marks.append((time.perf_counter(), time.process_time()))

    CONTENDERS[turn["contender"]](turn, mark)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(json.dumps({"losses": losses, "marks": marks, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
