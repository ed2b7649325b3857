"""Micro-batches shrink to the memory there is, before a job and in the middle of it, and nothing else changes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer import tiny
from tests.trainer.tiny import ignore
from trainer import lean_linear, memory, step
from trainer.base_model import BaseModel
from trainer.gradient_checkpointing import bytes_with_checkpointing
from trainer.job import run_job
from trainer.lean_layers import lean_layers
from trainer.low_rank import attached
from trainer.memory import ENOUGH_TOKENS, affordable_tokens, bytes_per_token, free_bytes, is_out_of_memory

CPU = torch.device("cpu")


def run_out_above(limit: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let passes of more than `limit` tokens in a row fail half way; return the list of all passes' sizes."""
    sizes: list[int] = []
    inner = step.batch_loss

    def limited(base: BaseModel, batch: Any) -> torch.Tensor:
        size = batch.input_ids.shape[1]
        sizes.append(size)
        loss = inner(base, batch)
        if size > limit:
            loss.backward(retain_graph=True)  # gradients of a failed pass must not be kept
            raise error
        return loss

    monkeypatch.setattr(step, "batch_loss", limited)
    return sizes


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
    ids=["on a GPU", "on a CPU"],
)
def test_a_step_that_runs_out_of_memory_is_done_again_with_half(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = run_job(base, tiny.job("", tmp_path / "a", micro_batch_tokens=4096), ignore, ignore)
    sizes = run_out_above(300, error, monkeypatch)
    halved = run_job(base, tiny.job("", tmp_path / "b", micro_batch_tokens=4096), ignore, ignore)
    assert halved.losses == pytest.approx(whole.losses, rel=1e-3)
    assert halved.tokens == whole.tokens
    failed = [at for at, size in enumerate(sizes) if size > 300]
    assert failed
    assert max(failed) < len(sizes) / 2, "the smaller size is kept"


def test_memory_that_does_not_take_one_example_is_a_failure(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_out_above(1, torch.OutOfMemoryError("CUDA out of memory"), monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        run_job(base, tiny.job("", tmp_path), ignore, ignore)


def test_another_error_is_not_tried_again(base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = run_out_above(1, RuntimeError("shapes do not match"), monkeypatch)
    with pytest.raises(RuntimeError, match="shapes"):
        run_job(base, tiny.job("", tmp_path), ignore, ignore)
    assert len(sizes) == 1


def test_micro_batches_are_planned_by_the_free_memory(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny.job("", tmp_path, micro_batch_tokens=2048)
    with attached(base, job):
        each = bytes_per_token(base)
        assert affordable_tokens(base, job.recipe, lanes=1) == 2048
        monkeypatch.setattr(memory, "free_bytes", lambda _: int(1000 * each / memory.SHARE))
        assert affordable_tokens(base, job.recipe, lanes=1) == pytest.approx(1000, rel=0.01)
        assert affordable_tokens(base, job.recipe, lanes=2) == pytest.approx(500, rel=0.01)


def test_on_a_cpu_tokens_keep_no_more_than_gains_time_but_enough_go_at_once(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny.job("", tmp_path, micro_batch_tokens=2048)
    with attached(base, job):
        each = bytes_per_token(base)
        for kept, tokens in ((3000, 2048), (1000, 1000), (100, ENOUGH_TOKENS)):
            monkeypatch.setattr(memory, "KEPT_ON_CPU", int(kept * each) + 1)
            for lanes in (1, 2):
                assert affordable_tokens(base, job.recipe, lanes) == tokens


def test_a_recipe_is_measured_in_its_first_job_alone(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def measure(_: BaseModel) -> float:
        measured.append("once")
        return 1.0

    monkeypatch.setattr(memory, "bytes_per_token", measure)
    for learning_rate, times in ((0.011, 1), (0.011, 1), (0.012, 2)):
        job = tiny.job("", tmp_path, learning_rate=learning_rate)
        assert affordable_tokens(base, job.recipe, lanes=1) == job.recipe.micro_batch_tokens
        assert len(measured) == times


def test_what_a_token_keeps_grows_with_the_layers_and_not_with_the_vocabulary(base: BaseModel, tmp_path: Path) -> None:
    job = tiny.job("", tmp_path)
    with attached(base, job):
        each = bytes_per_token(base)
    config = base.model.config
    least = config.num_hidden_layers * 4 * (config.hidden_size + 2 * config.intermediate_size)
    assert least < each < 20 * least


def test_what_a_norm_has_made_is_not_kept(base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with attached(base, tiny.job("", tmp_path)) as model, lean_layers(model):
        each = bytes_per_token(base)
        monkeypatch.setattr(lean_linear, "origin_of", lambda _: None)
        with_outputs = bytes_per_token(base)
    config = base.model.config
    norms = 2 * config.num_hidden_layers - 1  # what goes into the first of all is kept instead: no gradient passes it
    assert with_outputs - each == pytest.approx(norms * config.hidden_size * base.dtype.itemsize, abs=4)


def test_with_gradient_checkpointing_it_is_one_layers_and_the_inputs_of_all(base: BaseModel, tmp_path: Path) -> None:
    job = tiny.job("", tmp_path, gradient_checkpointing=True)
    with attached(base, job):
        each = bytes_per_token(base)
        inputs = _bytes_into_a_layer(base)
        reckoned = bytes_with_checkpointing(base.model, each)
    layers = base.model.config.num_hidden_layers
    assert reckoned == pytest.approx(each / layers + layers * inputs)
    assert reckoned < 0.7 * each


def _bytes_into_a_layer(base: BaseModel) -> float:
    """Return those of each token."""
    sizes: list[float] = []
    layer = base.model.base_model.layers[0]
    handle = layer.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].nbytes / inputs[0].shape[1]))
    with torch.inference_mode():
        base.hidden_states(torch.tensor([[1, 2, 3]]))
    handle.remove()
    return sizes[0]


def test_a_control_groups_limit_is_seen_in_either_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for names in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name, number in zip(names, (5 << 20, 3 << 20), strict=True):
            (folder / name).write_text(f"{number}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {1 << 20}\n")
        monkeypatch.setattr(memory, "_GROUPS", (folder,))
        assert free_bytes(CPU) == 3 << 20
    (tmp_path / "memory.max" / "memory.max").write_text("max\n")
    monkeypatch.setattr(memory, "_GROUPS", (tmp_path / "memory.max",))
    assert free_bytes(CPU) > 3 << 20


def test_errors_of_other_kinds_are_not_out_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(OSError(28, "No space left on device"))
