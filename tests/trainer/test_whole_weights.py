"""Full fine-tuning: all weights learn, in float32, and the base model is as before afterwards."""

from pathlib import Path
from typing import Any

import pytest
import torch

from protocols.errors import TrainingError
from protocols.ports import TrainingProgress
from tests.trainer import tiny
from tests.trainer.tiny import ignore
from trainer.base_model import BaseModel, load_base_model
from trainer.job import run_job
from trainer.step import LossError
from trainer.vocabulary_chunks import HELD_LOGITS
from trainer.whole_loss import summed_whole_loss
from trainer.whole_weights import rounded, whole_weights

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def base(tiny_model: Path, request: pytest.FixtureRequest) -> BaseModel:
    return load_base_model(str(tiny_model), CPU, request.param)


def whole(folder: Path, **changes: Any) -> Any:
    return tiny.job("", folder, **{"weights": "full", "write_merged": False, "learning_rate": 1e-3, **changes})


def weights_of(folder: str | None) -> dict[str, torch.Tensor]:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.bfloat16)
    return dict(model.named_parameters())


def test_every_weight_learns_and_the_loss_decreases(base: BaseModel, tmp_path: Path) -> None:
    report = run_job(base, whole(tmp_path, epochs=6), ignore, ignore)
    assert sum(report.losses[-3:]) / 3 < 0.8 * report.losses[0]
    before = dict(base.model.named_parameters())
    after = weights_of(report.merged)
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name].to(torch.bfloat16), after[name]) for name in before)


def test_the_version_is_one_folder_with_a_whole_model(base: BaseModel, tmp_path: Path) -> None:
    report = run_job(base, whole(tmp_path), ignore, ignore)
    assert report.adapter is None
    assert report.merged == report.folder == str(tmp_path / f"v0001-{report.content_hash[:8]}")
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {one.name for one in Path(report.folder).iterdir()}
    assert {one.dtype for one in weights_of(report.merged).values()} == {torch.bfloat16}
    assert [one.name for one in tmp_path.iterdir()] == [Path(report.folder).name]


def test_probes_are_the_numbers_of_the_written_folder(base: BaseModel, tmp_path: Path) -> None:
    report = run_job(base, whole(tmp_path), ignore, ignore)
    written = load_base_model(str(report.merged), CPU, base.dtype)
    ids = torch.tensor([report.probes[0].token_ids])
    with torch.inference_mode():
        logits = written.model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
    expected = logits.gather(1, ids[0, 1:, None]).squeeze(1)
    tolerance = 1e-4 if base.dtype == torch.float32 else 0.05
    torch.testing.assert_close(
        torch.tensor(report.probes[0].log_probabilities), expected, rtol=tolerance, atol=tolerance
    )


def test_the_base_model_is_the_very_same_afterwards(base: BaseModel, tmp_path: Path) -> None:
    before = {name: one.clone() for name, one in base.model.state_dict().items()}

    def break_off(progress: TrainingProgress) -> None:
        if progress.step == 2:
            raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        run_job(base, whole(tmp_path), break_off, ignore)
    run_job(base, whole(tmp_path), ignore, ignore)
    after = base.model.state_dict()
    assert all(torch.equal(one, after[name]) and one.dtype == after[name].dtype for name, one in before.items())
    assert not any(one.requires_grad for one in base.model.parameters())


def test_steps_below_the_resolution_of_bfloat16_add_up(tiny_model: Path) -> None:
    base = load_base_model(str(tiny_model), CPU, torch.bfloat16)
    with whole_weights(base, None) as masters:
        name, master = next((name, one) for name, one in masters.items() if one.dim() == 2)
        start = rounded(masters)[name]
        with torch.no_grad():
            master.fill_(1.0)
            for _ in range(8):
                master += 2**-10
        assert float(rounded({name: master})[name][0, 0]) == 1.0 + 2**-7
    assert torch.equal(base.model.get_parameter(name), start)


def test_a_job_goes_on_from_its_checkpoint_to_the_same_bit(base: BaseModel, tmp_path: Path) -> None:
    def break_off(progress: TrainingProgress) -> None:
        if progress.step == 4:
            raise RuntimeError("broken off")

    expected = run_job(base, whole(tmp_path / "a"), ignore, ignore)
    job = whole(tmp_path / "b", checkpoint_steps=3)
    with pytest.raises(RuntimeError, match="broken off"):
        run_job(base, job, break_off, ignore)
    steps: list[int] = []
    report = run_job(base, job, lambda progress: steps.append(progress.step), ignore)
    assert steps == [4, 5, 6]
    assert (report.content_hash, report.losses) == (expected.content_hash, expected.losses)


def test_continue_mode_goes_on_from_a_whole_model(base: BaseModel, tmp_path: Path) -> None:
    first = run_job(base, whole(tmp_path, epochs=6), ignore, ignore)
    changes = {"version": 2, "start_weights": first.merged, "learning_rate": 1e-5}
    second = run_job(base, whole(tmp_path, **changes), ignore, ignore)
    assert second.losses[0] < 0.8 * first.losses[0]


def test_a_start_that_does_not_exist_or_fit_is_refused(base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="does not exist"):
        run_job(base, whole(tmp_path / "out", start_weights=str(tmp_path / "nowhere")), ignore, ignore)
    other = tiny.save_model(tmp_path / "other", layers=1)
    with pytest.raises(TrainingError, match="is not of the form"):
        run_job(base, whole(tmp_path / "out", start_weights=str(other)), ignore, ignore)


def test_a_learning_rate_that_explodes_leaves_nothing(base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(LossError):
        run_job(base, whole(tmp_path, learning_rate=1e30, warmup_share=0.0), ignore, ignore)
    assert list(tmp_path.iterdir()) == []


def test_the_loss_gives_the_projection_its_gradient_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HELD_LOGITS, "cpu", 2 * 11)
    torch.manual_seed(0)
    hidden = torch.randn(7, 8, requires_grad=True)
    head = torch.nn.Linear(8, 11, bias=False)
    targets = torch.randint(11, (len(hidden),))
    expected = torch.nn.functional.cross_entropy(head(hidden), targets, reduction="sum")
    ours = summed_whole_loss(hidden, head, targets)
    torch.testing.assert_close(ours, expected)
    for mine, other in zip(
        torch.autograd.grad(ours, (hidden, head.weight)),
        torch.autograd.grad(expected, (hidden, head.weight)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)
