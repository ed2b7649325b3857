"""Whatever is done for speed and memory changes nothing: each way of computing equals the plain loop."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from protocols.ports import TrainingJob
from tests.trainer import tiny
from tests.trainer.plain_loop import plain_loss, plain_losses
from tests.trainer.tiny import ignore
from trainer.attention_blocks import QUERIES
from trainer.base_model import BaseModel, load_base_model
from trainer.cpu_attention import PackedRow, Rotation, attend_on_cpu
from trainer.job import run_job
from trainer.lean_layers import lean_layers
from trainer.low_rank import attached
from trainer.packing import make_micro_batch
from trainer.rendering import Rendered, render_all
from trainer.segment_attention import segment_attention
from trainer.step import accumulate, batch_loss, collate
from trainer.token_tree import Segment
from trainer.training import fit

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
NEVER_SHARED = 1 << 30
Gradients = list[torch.Tensor]


@pytest.fixture(scope="module")
def plain(tiny_model: Path) -> Any:
    """The same model, loaded as anyone would."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval().requires_grad_(False)


def as_base(model: Any, base: BaseModel) -> BaseModel:
    return BaseModel(base.name, model, base.tokenizer, base.device, base.dtype)


def rendered(base: BaseModel, job: TrainingJob) -> tuple[Rendered, ...]:
    return render_all(base.tokenizer, job.examples, job.recipe.max_tokens).rendered


def disturb(model: Any) -> list[torch.nn.Parameter]:
    """Give every trained parameter a value that matters; return them."""
    torch.manual_seed(3)
    parameters = [one for one in model.parameters() if one.requires_grad]
    with torch.no_grad():
        for one in parameters:
            one.add_(torch.randn_like(one) * 0.1)
    return parameters


def gradients(parameters: list[torch.nn.Parameter]) -> Gradients:
    """Return the summed gradients since the last call."""
    taken = [one.grad.clone() for one in parameters if one.grad is not None]
    assert len(taken) == len(parameters)
    for one in parameters:
        one.grad = None
    return taken


def plain_step(base: BaseModel, model: Any, job: TrainingJob) -> tuple[float, Gradients]:
    """Return mean loss and gradients of all examples, the plain way."""
    examples = rendered(base, job)
    count = sum(sum(one.learnt) for one in examples)
    torch.manual_seed(0)
    with attached(as_base(model, base), job) as adapted:
        parameters = disturb(adapted)
        total = 0.0
        for one in examples:
            loss = plain_loss(adapted, one) / count
            loss.backward()
            total += loss.item()
        return total, gradients(parameters)


def our_step(
    base: BaseModel, job: TrainingJob, *, lean: bool, max_tokens: int, shared: int, lanes: int = 1
) -> tuple[float, Gradients]:
    """Return the same, our way."""
    examples = rendered(base, job)
    torch.manual_seed(0)
    with attached(base, job) as adapted, lean_layers(base.model) if lean else nullcontext():
        parameters = disturb(adapted)
        if shared == NEVER_SHARED:
            batches = [make_micro_batch(examples, CPU, NEVER_SHARED)]
        else:
            batches = collate(examples, max_tokens, CPU, lanes)
        return accumulate(base, batches, parameters, lanes), gradients(parameters)


def assert_equal(ours: tuple[float, Gradients], theirs: tuple[float, Gradients], tolerance: float) -> None:
    """Compare losses, and each gradient by the size of its difference against its own."""
    assert ours[0] == pytest.approx(theirs[0], rel=tolerance)
    for mine, other in zip(ours[1], theirs[1], strict=True):
        assert (mine - other).norm() <= tolerance * other.norm()


@pytest.mark.parametrize("lean", [False, True], ids=["library layers", "lean layers"])
@pytest.mark.parametrize(
    ("max_tokens", "shared", "lanes"),
    [(1 << 20, NEVER_SHARED, 1), (1 << 20, 16, 1), (300, 16, 1), (1, 16, 1), (300, 16, 2), (1, 16, 3)],
    ids=[
        "packed",
        "packed, beginnings shared",
        "several micro-batches",
        "one example at a time",
        "several, two at a time",
        "one example in each of three",
    ],
)
def test_losses_and_gradients_equal_the_plain_loops(
    base: BaseModel, plain: Any, tmp_path: Path, lean: bool, max_tokens: int, shared: int, lanes: int
) -> None:
    job = tiny.job("", tmp_path)
    ours = our_step(base, job, lean=lean, max_tokens=max_tokens, shared=shared, lanes=lanes)
    assert_equal(ours, plain_step(base, plain, job), 1e-4)


@pytest.mark.parametrize(
    "changes",
    [{"rslora": True}, {"dora": True}, {"layers": 1}, {"targets": ("q_proj", "down_proj")}, {"targets": ("up_proj",)}],
    ids=str,
)
def test_other_kinds_of_adapter_equal_the_plain_loops(
    base: BaseModel, plain: Any, tmp_path: Path, changes: dict[str, Any]
) -> None:
    job = tiny.job("", tmp_path, **changes)
    assert_equal(our_step(base, job, lean=True, max_tokens=512, shared=16), plain_step(base, plain, job), 1e-4)


def disturb_norms(model: Any) -> None:
    """Give every norm's weights, which start as ones, values that matter."""
    torch.manual_seed(5)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            parameter.uniform_(0.5, 2.0)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("Llama", {"attention_bias": True, "mlp_bias": True}),
        ("Llama", {"attention_dropout": 0.5}),
        ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}),
        ("Qwen2", {}),
        ("Qwen3", {"head_dim": 32}),
        ("Mistral", {"sliding_window": 40}),
    ],
    ids=str,
)
def test_other_models_equal_the_plain_loops(tmp_path: Path, family: str, changes: dict[str, Any]) -> None:
    from transformers import AutoModelForCausalLM

    folder = tiny.save_model(tmp_path, family=family, **changes)
    base = load_base_model(str(folder), CPU, torch.float32)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    for model in (base.model, plain):
        disturb_norms(model)
    job = tiny.job("", tmp_path)
    assert_equal(our_step(base, job, lean=True, max_tokens=512, shared=16), plain_step(base, plain, job), 1e-4)


def test_a_whole_job_has_the_plain_loops_loss_at_every_step(base: BaseModel, plain: Any, tmp_path: Path) -> None:
    job = tiny.job("", tmp_path, epochs=4)
    examples = rendered(base, job)
    torch.manual_seed(0)
    with attached(as_base(plain, base), job) as adapted:
        theirs = plain_losses(adapted, examples, job.recipe)
    torch.manual_seed(0)
    with attached(base, job) as adapted:
        parameters = [one for one in adapted.parameters() if one.requires_grad]
        ours = fit(base, parameters, examples, job, lambda _: None).losses
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert ours[-1] < 0.8 * ours[0]


@pytest.mark.parametrize("weights", ["adapter", "full"])
def test_layers_computed_again_in_the_backward_pass_change_no_bit(
    base: BaseModel, tmp_path: Path, weights: str
) -> None:
    plainly, again = (
        run_job(base, tiny.job("", tmp_path / name, dropout=0.1, weights=weights, **changes), ignore, ignore)
        for name, changes in (("plainly", {}), ("again", {"gradient_checkpointing": True}))
    )
    assert again.losses == plainly.losses
    assert again.content_hash == plainly.content_hash
    assert not base.model.is_gradient_checkpointing


def test_bfloat16_stays_as_near_to_float32_as_the_libraries_own(base: BaseModel, plain: Any, tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    narrow = load_base_model(str(tiny_model), CPU, torch.bfloat16)
    library = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).eval().requires_grad_(False)
    job = tiny.job("", "")
    truth = plain_step(base, plain, job)
    ours = our_step(narrow, job, lean=True, max_tokens=1 << 20, shared=16)
    theirs = plain_step(base, library, job)
    assert ours[0] == pytest.approx(truth[0], rel=0.01)
    distance, librarys = (
        sum(float((one - other).norm() / other.norm()) for one, other in zip(step[1], truth[1], strict=True))
        for step in (ours, theirs)
    )
    assert distance < 1.2 * librarys


def test_layers_are_as_before_after_training(base: BaseModel, tmp_path: Path) -> None:
    before = {name: module.forward for name, module in base.model.named_modules()}
    our_step(base, tiny.job("", tmp_path), lean=True, max_tokens=512, shared=16)
    assert {name: module.forward for name, module in base.model.named_modules()} == before


def test_packed_examples_do_not_see_each_other(base: BaseModel, tmp_path: Path) -> None:
    examples = rendered(base, tiny.job("", tmp_path))
    first, second, other = examples[0], examples[1], examples[2]
    changed = Rendered(tuple(reversed(second.ids)), second.learnt)
    losses = [
        float(batch_loss(base, make_micro_batch([first, one, other], CPU)))
        - float(batch_loss(base, make_micro_batch([one], CPU)))
        for one in (second, changed)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


SEGMENTS = (
    Segment(0, 30),
    Segment(30, 50, ((0, 30),)),
    Segment(50, 50 + 2 * QUERIES + 7, ((0, 30), (30, 50))),
    Segment(50 + 2 * QUERIES + 7, 150 + 2 * QUERIES, ((0, 30),)),
)
"""Their ends are nowhere whole tiles, and the last one's context lies apart from it."""


def states(*heads: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    return tuple(torch.randn(1, count, SEGMENTS[-1].stop, 8, requires_grad=True) for count in heads)


def expected_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: int | None) -> torch.Tensor:
    """Return what torch's kernel makes of each segment and its context, laid out on their own."""
    parts: list[torch.Tensor] = []
    for segment in SEGMENTS:
        runs = (*segment.context, (segment.start, segment.stop))
        places = torch.tensor([place for run in runs for place in range(*run)])
        seen = torch.ones(len(places), len(places), dtype=torch.bool).tril()
        if window is not None:
            seen &= torch.ones_like(seen).triu(1 - window)
        whole = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, places], key[:, :, places], value[:, :, places], attn_mask=seen, enable_gqa=True
        )
        parts.append(whole[:, :, segment.offset :])
    return torch.cat(parts, dim=2).transpose(1, 2)


def assert_same(ours: torch.Tensor, expected: torch.Tensor, inputs: tuple[torch.Tensor, ...]) -> None:
    """Compare outputs, and the gradients of all `inputs`."""
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    weights = torch.randn_like(expected)
    for mine, other in zip(*(torch.autograd.grad(o, inputs, weights) for o in (ours, expected)), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("dropout", [0.0, 1e-12], ids=["own products", "library's kernel"])
def test_attention_sees_the_context_and_what_is_before_in_the_segment(dropout: float, window: int | None) -> None:
    inputs = states(6, 2, 2)
    ours, _ = segment_attention(
        torch.nn.Module(), *inputs, None, segments=SEGMENTS, dropout=dropout, sliding_window=window
    )
    assert_same(ours, expected_attention(*inputs, window), inputs)


def test_queries_and_keys_are_turned_by_their_positions_as_the_library_turns_them() -> None:
    query, key, value = inputs = states(6, 2, 2)
    angles = torch.randn(SEGMENTS[-1].stop, 8)
    cosine, sine = angles.cos(), angles.sin()
    turned = apply_rotary_pos_emb(query, key, cosine[None], sine[None])
    by_token = (one[0].transpose(0, 1) for one in inputs)
    ours = attend_on_cpu(PackedRow(*by_token, SEGMENTS, 8**-0.5, None), Rotation(cosine, sine))
    assert_same(ours[None], expected_attention(*turned, value, None), inputs)
