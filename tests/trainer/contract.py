# ruff: noqa: ASYNC240  (looking at a folder between two jobs holds nobody up)
"""What every `AdapterTrainer` promises; each check takes a trainer, a model folder and an empty folder."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from protocols.errors import TrainingError
from protocols.ports import AdapterTrainer, TrainingProgress
from protocols.records import Message
from tests.trainer import tiny
from tests.trainer.tiny import ignore

Check = Callable[[AdapterTrainer, Path, Path], Awaitable[None]]


async def progress_counts_every_step_up(trainer: AdapterTrainer, model: Path, folder: Path) -> None:
    seen: list[TrainingProgress] = []
    report = await trainer.train(tiny.job(model, folder), seen.append)
    assert [one.step for one in seen] == list(range(1, 7))
    assert {one.steps for one in seen} == {6}
    assert tuple(one.loss for one in seen) == report.losses
    assert report.steps == 6


async def the_report_names_what_is_on_disk(trainer: AdapterTrainer, model: Path, folder: Path) -> None:
    job = tiny.job(model, folder)
    report = await trainer.train(job, ignore)
    assert (report.id, report.round, report.version) == (job.id, job.round, job.version)
    assert Path(report.folder) == folder / f"v0001-{report.content_hash[:8]}"
    assert Path(report.folder, "adapter_model.safetensors").is_file()
    assert report.merged == str(Path(report.folder, "merged"))
    assert Path(report.merged, "model.safetensors").is_file()
    assert [path.name for path in folder.iterdir()] == [Path(report.folder).name]


async def merged_weights_are_only_written_when_asked_for(trainer: AdapterTrainer, model: Path, folder: Path) -> None:
    report = await trainer.train(tiny.job(model, folder, write_merged=False), ignore)
    assert report.merged is None
    assert not Path(report.folder, "merged").exists()
    assert len(report.probes) == 2


async def a_whole_model_is_a_version_without_an_adapter(trainer: AdapterTrainer, model: Path, folder: Path) -> None:
    job = tiny.job(model, folder, weights="full", learning_rate=1e-3)
    report = await trainer.train(job, ignore)
    assert report.adapter is None
    assert report.merged == report.folder == str(folder / f"v0001-{report.content_hash[:8]}")
    assert Path(report.folder, "model.safetensors").is_file()
    assert [path.name for path in folder.iterdir()] == [Path(report.folder).name]


async def the_same_job_gives_the_same_adapter(trainer: AdapterTrainer, model: Path, folder: Path) -> None:
    first = await trainer.train(tiny.job(model, folder / "a"), ignore)
    second = await trainer.train(tiny.job(model, folder / "b"), ignore)
    assert (first.content_hash, first.losses, first.probes) == (second.content_hash, second.losses, second.probes)


async def a_job_done_again_replaces_its_own_folder(trainer: AdapterTrainer, model: Path, folder: Path) -> None:
    first = await trainer.train(tiny.job(model, folder), ignore)
    second = await trainer.train(tiny.job(model, folder), ignore)
    assert first.adapter == second.adapter
    assert len(list(folder.iterdir())) == 1


async def another_seed_gives_another_adapter(trainer: AdapterTrainer, model: Path, folder: Path) -> None:
    first = await trainer.train(tiny.job(model, folder), ignore)
    second = await trainer.train(tiny.job(model, folder, seed=1), ignore)
    assert first.content_hash != second.content_hash


async def probes_have_one_number_less_than_tokens(trainer: AdapterTrainer, model: Path, folder: Path) -> None:
    report = await trainer.train(tiny.job(model, folder), ignore)
    base = await trainer.probe(str(model), tiny.job(model, folder).probe_texts)
    assert len(base) == len(report.probes) == 2
    for before, after in zip(base, report.probes, strict=True):
        assert before.token_ids == after.token_ids
        assert len(after.log_probabilities) == len(after.token_ids) - 1
        assert all(number < 0 for number in after.log_probabilities)
        assert before.log_probabilities != after.log_probabilities


async def probes_of_the_base_do_not_depend_on_jobs_before(trainer: AdapterTrainer, model: Path, folder: Path) -> None:
    before = await trainer.probe(str(model), ["def f(x):"])
    await trainer.train(tiny.job(model, folder), ignore)
    assert await trainer.probe(str(model), ["def f(x):"]) == before


async def examples_that_are_too_long_are_dropped_and_counted(
    trainer: AdapterTrainer, model: Path, folder: Path
) -> None:
    examples = (*tiny.job(model, folder).examples, tiny.answer_example(99, "return 1" + " + 1" * 300))
    report = await trainer.train(tiny.job(model, folder, examples=examples), ignore)
    assert (report.examples, report.dropped) == (12, 1)


async def an_example_without_loss_is_refused_by_its_id(trainer: AdapterTrainer, model: Path, folder: Path) -> None:
    silent = tiny.example(99, "answer", "", (Message(role="user", content="a"), Message(role="assistant", content="b")))
    examples = (*tiny.job(model, folder).examples, silent)
    with pytest.raises(TrainingError, match="example example-99: no turn of it carries loss"):
        await trainer.train(tiny.job(model, folder, examples=examples), ignore)
    assert list(folder.iterdir()) == []


async def a_job_with_nothing_to_learn_fails_and_leaves_nothing(
    trainer: AdapterTrainer, model: Path, folder: Path
) -> None:
    with pytest.raises(TrainingError, match="none of 12 examples fits"):
        await trainer.train(tiny.job(model, folder, max_tokens=1), ignore)
    assert list(folder.iterdir()) == []
    await trainer.train(tiny.job(model, folder), ignore)


CHECKS: tuple[Check, ...] = (
    progress_counts_every_step_up,
    the_report_names_what_is_on_disk,
    merged_weights_are_only_written_when_asked_for,
    a_whole_model_is_a_version_without_an_adapter,
    the_same_job_gives_the_same_adapter,
    a_job_done_again_replaces_its_own_folder,
    another_seed_gives_another_adapter,
    probes_have_one_number_less_than_tokens,
    probes_of_the_base_do_not_depend_on_jobs_before,
    examples_that_are_too_long_are_dropped_and_counted,
    an_example_without_loss_is_refused_by_its_id,
    a_job_with_nothing_to_learn_fails_and_leaves_nothing,
)
