"""What the settings of adapters change: which layers are trained, how, and that merging is right for each kind."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from protocols.errors import SettingsError
from tests.trainer import tiny
from tests.trainer.tiny import ignore
from trainer.base_model import BaseModel, load_base_model
from trainer.job import run_job
from trainer.low_rank import attached, exchanged, merged_weights
from trainer.rendering import render_all
from trainer.targets import check_stored_targets, stored_layers
from trainer.training import fit

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
LAYERS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "targets": {"targets": ("q_proj", "mlp.down_proj")},
    "dora": {"dora": True},
    "rslora": {"rslora": True},
    "all of it": {"targets": ("v_proj", "up_proj"), "dora": True, "rslora": True, "layers": 1},
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
IDS = torch.tensor([list(range(20, 120))])


def train_in_place(base: BaseModel, model: Any, job: Any) -> None:
    rendered = render_all(base.tokenizer, job.examples, job.recipe.max_tokens).rendered
    fit(base, [one for one in model.parameters() if one.requires_grad], rendered, job, ignore)
    model.eval()


def stored(adapter: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(Path(adapter, "adapter_model.safetensors"))


def stored_config(adapter: str) -> dict[str, Any]:
    return json.loads(Path(adapter, "adapter_config.json").read_text())


class TestWhatIsTrained:
    def test_every_linear_layer_but_the_projection_by_default(self, base: BaseModel, tmp_path: Path) -> None:
        names = stored(run_job(base, tiny.job("", tmp_path, epochs=1), ignore, ignore).adapter)
        assert {name.split(".")[-3] for name in names} == LAYERS

    def test_only_the_layers_that_are_named(self, base: BaseModel, tmp_path: Path) -> None:
        job = tiny.job("", tmp_path, epochs=1, targets=("q_proj", "mlp.down_proj"))
        names = stored(run_job(base, job, ignore, ignore).adapter)
        assert {name.split(".")[-3] for name in names} == {"q_proj", "down_proj"}
        assert len(names) == 2 * 2 * 2  # layers, names, A and B

    def test_dora_trains_a_magnitude_for_each_output(self, base: BaseModel, tmp_path: Path) -> None:
        adapter = run_job(base, tiny.job("", tmp_path, dora=True), ignore, ignore).adapter
        weight = base.model.get_parameter("model.layers.0.mlp.up_proj.weight")
        magnitude = stored(adapter)["base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector"]
        assert stored_config(adapter)["use_dora"] is True
        assert magnitude.shape == (len(weight),)
        assert (magnitude - weight.norm(dim=1)).abs().max() > 1e-3

    def test_rslora_scales_by_the_root_of_the_rank(self, base: BaseModel, tmp_path: Path) -> None:
        for rslora, scale in ((False, 8.0 / 4), (True, 8.0 / 2)):
            with attached(base, tiny.job("", tmp_path, rank=4, alpha=8.0, rslora=rslora)) as model:
                scales = {layer.scaling["default"] for layer in model.modules() if hasattr(layer, "lora_A")}
            assert scales == {scale}

    def test_each_kind_learns_and_gives_another_adapter(self, base: BaseModel, tmp_path: Path) -> None:
        reports = [
            run_job(base, tiny.job("", tmp_path / name, epochs=4, **kind), ignore, ignore)
            for name, kind in KINDS.items()
        ]
        assert len({report.content_hash for report in reports}) == len(KINDS)
        assert all(report.losses[-1] < report.losses[0] for report in reports)

    def test_dora_goes_on_from_a_dora_adapter(self, base: BaseModel, tmp_path: Path) -> None:
        first = run_job(base, tiny.job("", tmp_path, epochs=6, dora=True), ignore, ignore)
        changes = {"version": 2, "start_adapter": first.adapter, "learning_rate": 1e-6, "dora": True}
        second = run_job(base, tiny.job("", tmp_path, **changes), ignore, ignore)
        assert second.losses[0] < 0.8 * first.losses[0]
        magnitudes = [name for name in stored(second.adapter) if "magnitude" in name]
        assert len(magnitudes) == 2 * len(LAYERS)

    def test_dora_computes_in_bfloat16_with_float32_adapters(self, tiny_model: Path, tmp_path: Path) -> None:
        base = load_base_model(str(tiny_model), CPU, torch.bfloat16)
        job = tiny.job("", tmp_path, dora=True)
        rendered = render_all(base.tokenizer, job.examples, job.recipe.max_tokens).rendered
        with attached(base, job) as model:
            adapters = [one for one in model.parameters() if one.requires_grad]
            assert {one.dtype for one in adapters} == {torch.float32}
            outcome = fit(base, adapters, rendered, job, ignore)
        assert outcome.losses[-1] < outcome.losses[0]


class TestMerging:
    """Tolerances: 1e-3 of the logits' greatest change in float32; 0.03 on average once weights are rounded."""

    @kinds
    def test_merged_weights_give_the_adapters_logits(
        self, base: BaseModel, tmp_path: Path, kind: dict[str, Any]
    ) -> None:
        with torch.inference_mode():
            untrained = base.model(input_ids=IDS).logits
        job = tiny.job("", tmp_path, epochs=6, **kind)
        with attached(base, job) as model:
            train_in_place(base, model, job)
            with torch.inference_mode():
                by_adapter = model(input_ids=IDS).logits
            merged = merged_weights(model, torch.float32)
        with exchanged(base, merged), torch.inference_mode():
            by_merged = base.model(input_ids=IDS).logits
        changed = (by_adapter - untrained).abs().max()
        assert changed > 0.1
        assert (by_adapter - by_merged).abs().max() < 1e-3 * changed

    @kinds
    def test_plain_peft_loads_the_adapter_and_merges_it_to_the_same(
        self, base: BaseModel, tiny_model: Path, tmp_path: Path, kind: dict[str, Any]
    ) -> None:
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        report = run_job(base, tiny.job("", tmp_path, epochs=6, **kind), ignore, ignore)
        plain: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
        adapted: Any = PeftModel.from_pretrained(plain, report.adapter).eval()
        ours: Any = AutoModelForCausalLM.from_pretrained(report.merged, dtype=torch.float32).eval()
        with torch.no_grad():
            by_adapter, by_ours = adapted(input_ids=IDS).logits, ours(input_ids=IDS).logits
            by_theirs = adapted.merge_and_unload()(input_ids=IDS).logits
        torch.testing.assert_close(by_theirs, by_adapter, rtol=1e-3, atol=1e-3)
        assert (by_adapter - by_ours).abs().mean() < 0.03


class TestNames:
    @pytest.mark.parametrize("name", ["qproj", "proj", "lm_head", "embed_tokens", "norm"])
    def test_a_name_that_is_no_linear_layer_is_refused_with_those_there_are(
        self, base: BaseModel, tiny_model: Path, tmp_path: Path, name: str
    ) -> None:
        message = rf"train.targets: .* no linear layer '{name}' .*down_proj, gate_proj"
        with pytest.raises(SettingsError, match=message):
            check_stored_targets(str(tiny_model), ("q_proj", name))
        with pytest.raises(SettingsError, match=message):
            run_job(base, tiny.job("", tmp_path, targets=("q_proj", name)), ignore, ignore)
        assert list(tmp_path.iterdir()) == []

    def test_a_folders_files_tell_the_very_layers_of_the_model(self, base: BaseModel, tiny_model: Path) -> None:
        linear = {
            name
            for name, layer in base.model.named_modules()
            if isinstance(layer, torch.nn.Linear) and layer is not base.head
        }
        assert set(stored_layers(tiny_model)) == linear
        check_stored_targets(str(tiny_model), ("self_attn.q_proj", "down_proj"))

    def test_what_no_file_tells_is_left_to_the_worker(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(b"\x05\x00\x00\x00\x00\x00\x00\x00no {}")
        check_stored_targets(str(tmp_path), ("no_such_layer",))
        check_stored_targets("owner/model", ("no_such_layer",))
