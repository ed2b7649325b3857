"""Micro-batches side by side: only where it pays, in an order that does not depend on speed, and safe to fail."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
import torch

from tests.trainer import tiny
from tests.trainer.tiny import ignore
from trainer import lanes, step
from trainer.base_model import BaseModel, load_base_model
from trainer.job import run_job
from trainer.lanes import LANES, LEAST_TOKENS, accumulate_side_by_side, lanes_for
from trainer.low_rank import attached
from trainer.packing import MicroBatch
from trainer.rendering import Rendered
from trainer.step import collate

CPU = torch.device("cpu")
WAIT_S = 30.0


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2, "what a step changes it puts back"
    torch.set_num_threads(before)


def recipe(**changes: Any) -> Any:
    return tiny.job("", "", **changes).recipe


def batch(number: int) -> MicroBatch:
    """Return one that is only told apart from others."""
    nothing = torch.empty(0)
    return MicroBatch(nothing, nothing, (), nothing, nothing, number)


def test_a_narrow_model_goes_in_lanes(base: BaseModel) -> None:
    assert lanes_for(base, recipe()) == LANES


def test_a_wide_one_does_not(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "NARROW", base.head.in_features)
    assert lanes_for(base, recipe()) == 1


def test_one_core_is_not_shared(base: BaseModel, one_thread: None) -> None:
    assert lanes_for(base, recipe()) == 1
    torch.set_num_threads(2)


@pytest.mark.parametrize("changes", [{"weights": "full"}, {"gradient_checkpointing": True}], ids=str)
def test_jobs_that_are_short_of_memory_do_not(base: BaseModel, changes: dict[str, Any]) -> None:
    assert lanes_for(base, recipe(**changes)) == 1


def test_adapters_that_draw_do_not(base: BaseModel) -> None:
    job = tiny.job("", "", dropout=0.1)
    with attached(base, job):
        assert lanes_for(base, job.recipe) == 1


def test_models_that_draw_do_not(tmp_path: Path) -> None:
    drawing = tiny.save_model(tmp_path / "model", attention_dropout=0.1)
    assert lanes_for(load_base_model(str(drawing), CPU, torch.float32), recipe()) == 1


@pytest.mark.parametrize(
    ("lengths", "max_tokens", "batches"),
    [
        ([LEAST_TOKENS] * 2, 4096, 2),
        ([LEAST_TOKENS // 2] * 3, 4096, 1),
        ([LEAST_TOKENS] * 5, 2 * LEAST_TOKENS, 4),
        ([100] * 4, 200, 2),
    ],
)
def test_a_step_of_few_tokens_is_not_divided_for_the_lanes_sake(
    lengths: list[int], max_tokens: int, batches: int
) -> None:
    examples = [Rendered((at,) * (length + 1), (False,) * length + (True,)) for at, length in enumerate(lengths)]
    assert len(collate(examples, max_tokens, CPU, lanes=2)) == batches


def test_as_many_are_worked_on_at_once_as_there_are_lanes() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    meeting = Barrier(2)

    def loss_of(_: MicroBatch) -> torch.Tensor:
        meeting.wait(WAIT_S)
        return parameter.sum()

    assert accumulate_side_by_side([batch(1), batch(2)], loss_of, [parameter], 2) == 2.0
    assert parameter.grad == torch.tensor([2.0])


def test_each_has_its_share_of_the_cores() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    seen: list[int] = []

    def loss_of(_: MicroBatch) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return parameter.sum()

    accumulate_side_by_side([batch(1), batch(2)], loss_of, [parameter], 2)
    assert seen == [1, 1]


def test_gradients_are_summed_in_order_whichever_is_done_first() -> None:
    """In float32 the order shows: what is small is lost beside what is large."""
    sizes = {1: 1e8, 2: 3.0, 3: -1e8}

    def summed(last: int) -> float:
        parameter = torch.nn.Parameter(torch.ones(1))
        others = Event()

        def loss_of(one: MicroBatch) -> torch.Tensor:
            if one.tokens == last:
                others.wait(WAIT_S)
            elif one.tokens == 3:
                others.set()
            return (parameter * sizes[one.tokens]).sum()

        accumulate_side_by_side([batch(number) for number in sizes], loss_of, [parameter], 2)
        assert parameter.grad is not None
        return float(parameter.grad)

    one_after_the_other = (torch.tensor(1e8) + 3.0 - 1e8).item()
    assert [summed(last) for last in (1, 2)] == [one_after_the_other] * 2


def test_gradients_are_added_to_those_that_are_there() -> None:
    used, unused = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    used.grad = torch.tensor([5.0])
    accumulate_side_by_side([batch(1), batch(2)], lambda one: used.sum() * one.tokens, [used, unused], 2)
    assert used.grad == torch.tensor([8.0])
    assert unused.grad is None


def test_a_failure_is_raised_when_nobody_works_any_more() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    begun, done = Barrier(2), Event()

    def loss_of(one: MicroBatch) -> torch.Tensor:
        begun.wait(WAIT_S)
        if one.tokens == 1:
            raise MemoryError("one")
        time.sleep(0.1)
        done.set()
        return parameter.sum()

    with pytest.raises(MemoryError, match="one"):
        accumulate_side_by_side([batch(1), batch(2)], loss_of, [parameter], 2)
    assert done.is_set()


def long_job(folder: Path) -> Any:
    """Return a job whose steps have enough tokens for lanes."""
    examples = tuple(tiny.answer_example(number, "return " + " + ".join(["1"] * 60)) for number in range(24))
    return tiny.job("", folder, examples=examples, batch_examples=12, micro_batch_tokens=4096, max_tokens=1024)


def spy_on_lanes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of how many micro-batches each step had side by side."""
    seen: list[int] = []
    inner = step.accumulate_side_by_side

    def counted(batches: Any, *others: Any) -> float:
        seen.append(len(batches))
        return inner(batches, *others)

    monkeypatch.setattr(step, "accumulate_side_by_side", counted)
    return seen


def test_a_job_in_lanes_repeats_itself_to_the_bit_and_equals_one_without(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = spy_on_lanes(monkeypatch)
    first, second = (run_job(base, long_job(tmp_path / name), ignore, ignore) for name in "ab")
    assert steps == [2] * len(first.losses + second.losses)
    assert first.content_hash == second.content_hash
    monkeypatch.setattr(lanes, "NARROW", 0)
    alone = run_job(base, long_job(tmp_path / "c"), ignore, ignore)
    assert len(steps) == len(first.losses + second.losses)
    assert first.losses == pytest.approx(alone.losses, rel=1e-4)
    assert first.tokens == alone.tokens


def test_a_lane_that_runs_out_of_memory_has_the_step_done_again_with_half(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_job(base, long_job(tmp_path / "a"), ignore, ignore)
    steps, inner = spy_on_lanes(monkeypatch), step.batch_loss
    sizes: list[int] = []

    def limited(model: BaseModel, one: MicroBatch) -> torch.Tensor:
        sizes.append(one.tokens)
        if one.tokens > 0.6 * max(sizes):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
        return inner(model, one)

    monkeypatch.setattr(step, "batch_loss", limited)
    halved = run_job(base, long_job(tmp_path / "b"), ignore, ignore)
    assert steps[0] == 2
    assert steps[-len(halved.losses) :] == [4] * len(halved.losses), "the smaller size is kept"
    assert halved.losses == pytest.approx(whole.losses, rel=1e-3)
