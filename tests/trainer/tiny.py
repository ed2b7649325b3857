"""A tokenizer over bytes, a tiny random Llama, and jobs for it: made on the spot, in no time."""

from pathlib import Path
from typing import Any

from protocols.ports import TrainingJob, TrainingRecipe
from protocols.records import Example, Message
from tests.trainer.templates import SMOLLM2, STYLES, Style


def tokenizer(style: Style = SMOLLM2) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=style.end,
        pad_token=style.end,
        additional_special_tokens=[token for one in STYLES.values() for token in one.special],
    )
    made.chat_template = style.template
    return made


def save_model(folder: Path, style: Style = SMOLLM2, layers: int = 2, family: str = "Llama", **changes: Any) -> Path:
    import torch
    import transformers

    torch.manual_seed(7)
    words = tokenizer(style)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        initializer_range=0.2,
        **changes,
    )
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    disturb_biases(model)
    model.to(torch.bfloat16).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def disturb_biases(model: Any) -> None:
    """Give every bias, which starts as zero, a value that matters."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(std=0.2)


def answer_example(number: int = 0, code: str = "return 1") -> Example:
    return example(
        number,
        "answer",
        code,
        (
            Message(role="user", content=f"Write f{number}."),
            Message(role="assistant", content=f"```python\n{code}\n```", loss=True),
        ),
    )


def critique_example(number: int = 0, code: str = "return 1") -> Example:
    return example(
        number,
        "critique",
        code,
        (
            Message(role="user", content=f"Write f{number}."),
            Message(role="assistant", content="```python\nBAD CODE\n```"),
            Message(role="user", content="0 of 1 tests passed. Say what is wrong."),
            Message(role="assistant", content=f"It is wrong.\n\n```python\n{code}\n```", loss=True),
        ),
    )


def job(model: Path | str, output_folder: Path | str, **changes: Any) -> TrainingJob:
    fields: dict[str, Any] = {
        "id": "batch-1",
        "round": 1,
        "version": 1,
        "examples": tuple(
            (critique_example if n % 3 == 0 else answer_example)(n, "return " + "1 + " * (n % 4) + "1")
            for n in range(12)
        ),
        "model": str(model),
        "start_adapter": None,
        "output_folder": str(output_folder),
        "write_merged": True,
        "probe_texts": ("def f(x):", "Hello there"),
    }
    recipe: dict[str, Any] = {
        "rank": 4,
        "alpha": 8.0,
        "dropout": 0.0,
        "learning_rate": 1e-2,
        "warmup_share": 0.1,
        "epochs": 2,
        "batch_examples": 4,
        "micro_batch_tokens": 512,
        "max_tokens": 256,
        "weight_decay": 0.0,
        "max_gradient_norm": 1.0,
        "seed": 0,
    }
    recipe_changes = {name: changes.pop(name) for name in [*changes] if name in TrainingRecipe.__struct_fields__}
    return TrainingJob(**{**fields, **changes}, recipe=TrainingRecipe(**{**recipe, **recipe_changes}))


def example(number: int, kind: Any, code: str, messages: tuple[Message, ...]) -> Example:
    return Example(
        id=f"example-{number}",
        task_id=f"task-{number}",
        round=1,
        version=0,
        kind=kind,
        origin="self",
        pattern="",
        messages=messages,
        code=code,
    )


def ignore(_: object) -> None:
    """Listen to nobody: for progress and notes that a test does not look at."""
