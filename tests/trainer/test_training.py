"""The loop learns, is exact, repeats itself, and fails rather than write nonsense."""

import gc
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch

from protocols.errors import ModelError
from protocols.ports import TrainingProgress
from tests.trainer import tiny
from tests.trainer.tiny import ignore
from trainer import worker
from trainer.base_model import BaseModel, load_base_model
from trainer.job import run_job
from trainer.low_rank import attached
from trainer.messages import Probed, ProbeRequest, Trained, TrainRequest, decode_answer, encode_line
from trainer.probing import probe_ids
from trainer.process_group import ProcessGroup
from trainer.rendering import render_all
from trainer.selected_loss import summed_loss
from trainer.step import LossError
from trainer.training import fit
from trainer.vocabulary_chunks import HELD_LOGITS, chunks

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("ids", [(), (5,)])
def test_a_probe_of_less_than_two_tokens_has_nothing_to_tell(base: BaseModel, ids: tuple[int, ...]) -> None:
    assert probe_ids(base, ids).log_probabilities == ()
    assert len(probe_ids(base, (5, 6, 7)).log_probabilities) == 2


def test_the_loss_decreases(base: BaseModel, tmp_path: Path) -> None:
    report = run_job(base, tiny.job("", tmp_path, epochs=6), ignore, ignore)
    assert sum(report.losses[-3:]) / 3 < 0.8 * report.losses[0]


def test_chunks_of_the_loss_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HELD_LOGITS, "cpu", 2 * 11)
    torch.manual_seed(0)
    hidden = torch.randn(7, 8, requires_grad=True)
    head = torch.nn.Linear(8, 11).requires_grad_(False)
    targets = torch.randint(11, (len(hidden),))
    expected = torch.nn.functional.cross_entropy(head(hidden), targets, reduction="sum")
    ours = summed_loss(hidden, head, targets)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, hidden), torch.autograd.grad(expected, hidden))


@pytest.mark.parametrize(("held", "parts"), [(22, [1, 2, 2]), (3, [1] * 5), (1000, [5])])
def test_as_many_tokens_have_logits_at_a_time_as_memory_is_meant_for(
    monkeypatch: pytest.MonkeyPatch, held: int, parts: list[int]
) -> None:
    monkeypatch.setitem(HELD_LOGITS, "cpu", held)
    assert [len(range(5)[part]) for part in chunks(5, torch.nn.Linear(8, 11))] == parts


def test_the_split_into_micro_batches_changes_nothing_but_speed(base: BaseModel, tmp_path: Path) -> None:
    whole = run_job(base, tiny.job("", tmp_path / "a", micro_batch_tokens=4096), ignore, ignore)
    split = run_job(base, tiny.job("", tmp_path / "b", micro_batch_tokens=1), ignore, ignore)
    assert whole.losses == pytest.approx(split.losses, rel=1e-3)


def test_tokens_are_counted_without_padding(base: BaseModel, tmp_path: Path) -> None:
    job = tiny.job("", tmp_path, epochs=3)
    examples = render_all(base.tokenizer, job.examples, job.recipe.max_tokens).rendered
    report = run_job(base, job, ignore, ignore)
    assert report.tokens == 3 * sum(len(one.ids) - 1 for one in examples)
    assert report.loss_tokens == 3 * sum(sum(one.learnt) for one in examples)


def test_a_loss_that_is_not_finite_fails_and_leaves_nothing(base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(LossError, match="lower learning rate"):
        run_job(base, tiny.job("", tmp_path, learning_rate=float("inf")), ignore, ignore)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_mid_job_leaves_no_folder_and_an_unchanged_base(base: BaseModel, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}

    def break_off(progress: TrainingProgress) -> None:
        if progress.step == 2:
            raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        run_job(base, tiny.job("", tmp_path), break_off, ignore)
    assert list(tmp_path.iterdir()) == []
    after = base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_failure_while_writing_leaves_no_folder(base: BaseModel, tmp_path: Path) -> None:
    def full_disk(text: str) -> None:
        if "merged" in text:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run_job(base, tiny.job("", tmp_path), ignore, full_disk)
    assert list(tmp_path.iterdir()) == []


def test_the_adapter_loads_in_plain_peft_and_equals_the_merged_weights(
    base: BaseModel, tiny_model: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    report = run_job(base, tiny.job("", tmp_path), ignore, ignore)
    plain: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    untrained = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(plain, report.adapter).eval()
    merged = AutoModelForCausalLM.from_pretrained(report.merged, dtype=torch.float32).eval()
    ids = torch.tensor([report.probes[0].token_ids])
    with torch.inference_mode():
        by_adapter, by_merged = adapted(input_ids=ids).logits, merged(input_ids=ids).logits
        by_base = untrained(input_ids=ids).logits
    difference = (by_adapter - by_merged).abs().mean()
    assert difference < 0.03
    assert (by_base - by_merged).abs().mean() > 5 * difference


def test_probes_are_the_numbers_of_the_merged_folder(base: BaseModel, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    report = run_job(base, tiny.job("", tmp_path), ignore, ignore)
    merged = AutoModelForCausalLM.from_pretrained(report.merged, dtype=torch.float32)
    ids = torch.tensor([report.probes[0].token_ids])
    with torch.inference_mode():
        logits = merged(input_ids=ids).logits[0, :-1].log_softmax(-1)
    expected = logits.gather(1, ids[0, 1:, None]).squeeze(1)
    torch.testing.assert_close(torch.tensor(report.probes[0].log_probabilities), expected, rtol=1e-4, atol=1e-4)


def test_the_merged_folder_is_a_whole_model_in_bfloat16(base: BaseModel, tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    report = run_job(base, tiny.job("", tmp_path), ignore, ignore)
    folder = Path(str(report.merged))
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    weights = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert "lm_head.weight" not in weights, "tied weights are written once"
    assert AutoTokenizer.from_pretrained(folder).chat_template == base.tokenizer.chat_template


def test_continue_mode_goes_on_from_an_adapter(base: BaseModel, tmp_path: Path) -> None:
    first = run_job(base, tiny.job("", tmp_path, epochs=6), ignore, ignore)
    changes = {"version": 2, "start_adapter": first.adapter, "learning_rate": 1e-4}
    second = run_job(base, tiny.job("", tmp_path, **changes), ignore, ignore)
    assert second.losses[0] < 0.8 * first.losses[0]


def test_the_last_layers_alone_can_be_trained(base: BaseModel, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    everywhere = run_job(base, tiny.job("", tmp_path), ignore, ignore)
    last = run_job(base, tiny.job("", tmp_path, layers=1), ignore, ignore)
    names = load_file(Path(last.adapter, "adapter_model.safetensors")).keys()
    assert {name.split(".layers.")[1][0] for name in names} == {"1"}
    assert 2 * len(names) == len(load_file(Path(everywhere.adapter, "adapter_model.safetensors")))
    assert last.losses[-1] < last.losses[0]


def test_dropout_is_repeatable(base: BaseModel, tmp_path: Path) -> None:
    reports = [run_job(base, tiny.job("", tmp_path / name, dropout=0.2), ignore, ignore) for name in "ab"]
    without = run_job(base, tiny.job("", tmp_path / "c"), ignore, ignore)
    assert reports[0].content_hash == reports[1].content_hash != without.content_hash


def test_bfloat16_computes_with_float32_adapters(tiny_model: Path, tmp_path: Path) -> None:
    base = load_base_model(str(tiny_model), CPU, torch.bfloat16)
    job = tiny.job("", tmp_path)
    examples = render_all(base.tokenizer, job.examples, job.recipe.max_tokens).rendered
    with attached(base, job) as model:
        adapters = [one for one in model.parameters() if one.requires_grad]
        assert {one.dtype for one in adapters} == {torch.float32}
        outcome = fit(base, adapters, examples, job, ignore)
    assert outcome.losses[-1] < outcome.losses[0]


def test_a_job_says_in_which_type_its_base_is_loaded(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[torch.dtype] = []

    def load(name: str, device: torch.device, dtype: torch.dtype) -> BaseModel:
        loaded.append(dtype)
        return load_base_model(name, device, dtype)

    monkeypatch.setattr(worker, "load_base_model", load)
    jobs = [
        tiny.job(tiny_model, tmp_path, version=version, dtype=dtype)
        for version, dtype in enumerate(("float32", "float32", "bfloat16"))
    ]
    lines = [encode_line(TrainRequest(job=job)) for job in jobs]
    probe = encode_line(ProbeRequest(model=str(tiny_model), texts=("def f",)))
    worker.Worker(answers := BytesIO(), ProcessGroup()).serve(BytesIO(b"".join([*lines, probe])))
    assert loaded == [torch.float32, torch.bfloat16], "a base stays while its type does, and probing takes any"
    answered = [type(decode_answer(line)) for line in answers.getvalue().splitlines()]
    assert [answered.count(kind) for kind in (Trained, Probed)] == [3, 1]


def test_what_stays_in_a_worker_is_walked_through_once(tiny_model: Path) -> None:
    gc.unfreeze()
    probe = encode_line(ProbeRequest(model=str(tiny_model), texts=("def f",)))
    worker.Worker(BytesIO(), ProcessGroup()).serve(BytesIO(probe))
    assert gc.get_freeze_count() > 100_000, "the libraries' objects are out of later collections"
    gc.unfreeze()


def test_a_model_that_changes_its_logits_is_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import LlamaForCausalLM

    forward = LlamaForCausalLM.forward

    def scaled(self: Any, *arguments: Any, **named: Any) -> Any:
        result = forward(self, *arguments, **named)
        result.logits = 30.0 * torch.tanh(result.logits / 30.0) * 0.5
        return result

    monkeypatch.setattr(LlamaForCausalLM, "forward", scaled)
    with pytest.raises(ModelError, match="after the projection"):
        load_base_model(str(tiny_model), CPU, torch.float32)


def test_a_folder_that_holds_no_model_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_base_model(str(tmp_path), CPU, torch.float32)
