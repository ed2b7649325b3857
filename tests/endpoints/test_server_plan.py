from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.machine import Machine, this_machine
from endpoints.model_size import ModelSize, model_size
from endpoints.server_plan import ServerPlan, ServerWish, choose_device, choose_dtype, choose_way, plan_server
from protocols.errors import ModelDoesNotFit, UsageError

GIB = 1 << 30
MACHINE = Machine(
    cores=(0, 1),
    free_bytes=20 * GIB,
    architecture="x86_64",
    gpu=False,
    bfloat16=False,
    allocator="/lib/libtcmalloc_minimal.so.4",
    openmp="/env/lib/libiomp5.so",
    compiler=True,
    python="/env/bin/python",
)
SIZE = ModelSize(weights_bytes=GIB // 4, cache_bytes_per_token=23_040)
WISH = ServerWish(
    model="models/small",
    local=True,
    served_name="policy",
    dtype="bfloat16",
    way="in_place",
    port=8000,
    device="cpu",
    adapter_rank=16,
    max_model_tokens=2048,
    max_sequences=64,
)


def plan(
    wish: ServerWish = WISH, machine: Machine = MACHINE, size: ModelSize | None = SIZE, **fields: object
) -> ServerPlan:
    return plan_server(msgspec.structs.replace(wish, **fields), machine, size)


def value(made: ServerPlan, option: str) -> str:
    return made.command[made.command.index(option) + 1]


def test_it_listens_on_this_machine_only_and_serves_what_was_asked_for() -> None:
    made = plan()
    assert made.command[:3] == ("/env/bin/python", "-m", "vllm.entrypoints.openai.api_server")
    assert value(made, "--host") == "127.0.0.1"
    assert value(made, "--port") == "8000"
    assert value(made, "--model") == "models/small"
    assert value(made, "--served-model-name") == "policy"
    assert value(made, "--dtype") == "bfloat16"
    assert value(made, "--max-model-len") == "2048"


def test_only_what_a_request_names_is_applied_to_it_and_not_the_model_folders_own_defaults() -> None:
    assert value(plan(tuned=False), "--generation-config") == "vllm"


def test_nothing_is_told_to_anybody() -> None:
    made = plan(tuned=False)
    assert made.environment["VLLM_NO_USAGE_STATS"] == made.environment["DO_NOT_TRACK"] == "1"
    assert made.environment["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in plan(local=False).environment


def test_adapters_are_enabled_only_where_they_are_published() -> None:
    adapter, in_place = plan(way="adapter"), plan(way="in_place")
    assert "--enable-lora" in adapter.command
    assert value(adapter, "--max-loras") == "2"
    assert adapter.environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert "VLLM_SERVER_DEV_MODE" not in adapter.environment
    assert "--enable-lora" not in in_place.command
    assert in_place.environment["VLLM_SERVER_DEV_MODE"] == "1"


@pytest.mark.parametrize(("rank", "allowed"), [(1, "8"), (8, "8"), (16, "16"), (17, "32"), (100, "128"), (900, "512")])
def test_the_rank_is_one_that_vllm_takes(rank: int, allowed: str) -> None:
    assert value(plan(way="adapter", adapter_rank=rank), "--max-lora-rank") == allowed


def test_every_core_computes_and_the_fast_libraries_are_preloaded() -> None:
    environment = plan().environment
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "0,1"
    assert environment["LD_PRELOAD"] == "/lib/libtcmalloc_minimal.so.4:/env/lib/libiomp5.so"


def test_a_second_start_finds_the_compiled_model_again() -> None:
    assert plan().environment["VLLM_USE_AOT_COMPILE"] == "0"


def test_fewer_threads_are_bound_to_the_first_cores() -> None:
    assert plan(threads=1).environment["VLLM_CPU_OMP_THREADS_BIND"] == "0"


def test_libraries_that_are_not_installed_are_left_out() -> None:
    bare = msgspec.structs.replace(MACHINE, allocator=None, openmp=None)
    assert "LD_PRELOAD" not in plan(machine=bare).environment
    half = msgspec.structs.replace(MACHINE, allocator=None)
    assert plan(machine=half).environment["LD_PRELOAD"] == "/env/lib/libiomp5.so"


def test_untuned_leaves_vllm_its_own_defaults() -> None:
    made = plan(tuned=False)
    assert not {"VLLM_CPU_OMP_THREADS_BIND", "LD_PRELOAD"} & made.environment.keys()
    assert not {"--kv-cache-memory-bytes", "--max-num-seqs", "--block-size"} & set(made.command)


def test_on_a_cpu_prefixes_are_shared_in_blocks_shorter_than_a_prompt() -> None:
    assert value(plan(), "--block-size") == "32"
    assert "--block-size" not in plan(device="gpu").command


def test_nothing_is_compiled_when_not_wished_or_without_a_compiler() -> None:
    without = msgspec.structs.replace(MACHINE, compiler=False)
    for made in (plan(compiled=False), plan(machine=without)):
        assert "--enforce-eager" in made.command
        assert made.environment["TORCHDYNAMO_DISABLE"] == "1"
    for made in (plan(), plan(machine=without, device="gpu")):
        assert "--enforce-eager" not in made.command
        assert "TORCHDYNAMO_DISABLE" not in made.environment


def test_the_users_own_arguments_come_last_so_that_they_win() -> None:
    assert plan(arguments=("--seed", "3")).command[-2:] == ("--seed", "3")


def test_a_gpu_gets_a_share_of_its_memory_and_nothing_of_the_processors_tuning() -> None:
    made = plan(device="gpu", gpu_memory_share=0.4)
    assert value(made, "--gpu-memory-utilization") == "0.4"
    assert not {"VLLM_CPU_OMP_THREADS_BIND", "LD_PRELOAD"} & made.environment.keys()
    assert made.needed_bytes is None


def test_a_cache_size_that_is_set_is_taken() -> None:
    assert value(plan(cache_bytes=GIB), "--kv-cache-memory-bytes") == str(GIB)


@given(
    free=st.integers(GIB, 512 * GIB),
    sequences=st.integers(1, 512),
    tokens=st.integers(16, 32_768),
    weights=st.integers(1, 64 * GIB),
)
def test_what_is_started_always_fits_and_what_does_not_is_refused(
    free: int, sequences: int, tokens: int, weights: int
) -> None:
    machine = msgspec.structs.replace(MACHINE, free_bytes=free)
    size = msgspec.structs.replace(SIZE, weights_bytes=weights)
    try:
        made = plan(machine=machine, size=size, max_sequences=sequences, max_model_tokens=tokens)
    except ModelDoesNotFit:
        assert weights + 3 * GIB + free // 4 > free
    else:
        assert made.needed_bytes is not None
        assert made.needed_bytes <= free
        assert int(value(made, "--kv-cache-memory-bytes")) <= max(free // 4, GIB)


def test_a_model_that_does_not_fit_is_refused_with_the_figures_and_the_remedy() -> None:
    small = msgspec.structs.replace(MACHINE, free_bytes=4 * GIB)
    with pytest.raises(
        ModelDoesNotFit, match=r"weights 14\.0 GiB.*4\.0 GiB are free.*server\.kv_cache_bytes"
    ) as caught:
        plan(machine=small, size=msgspec.structs.replace(SIZE, weights_bytes=14 * GIB))
    assert isinstance(caught.value, UsageError)


def test_a_model_of_unknown_size_is_tried() -> None:
    assert plan(size=None).needed_bytes is None


def test_auto_computes_in_float32_where_bfloat16_is_slow() -> None:
    fast = msgspec.structs.replace(MACHINE, bfloat16=True)
    assert (choose_dtype("auto", "cpu", MACHINE), choose_dtype("auto", "cpu", fast)) == ("float32", "bfloat16")
    assert choose_dtype("auto", "gpu", MACHINE) == "bfloat16"
    assert choose_dtype("float16", "cpu", MACHINE) == "float16"


def test_auto_means_the_gpu_where_there_is_one() -> None:
    assert choose_device("auto", MACHINE) == "cpu"
    assert choose_device("auto", msgspec.structs.replace(MACHINE, gpu=True)) == "gpu"
    assert choose_device("cpu", msgspec.structs.replace(MACHINE, gpu=True)) == "cpu"


def test_auto_publishes_in_place_on_a_cpu_and_adapters_on_a_gpu() -> None:
    assert (choose_way("auto", "cpu"), choose_way("auto", "gpu")) == ("in_place", "adapter")
    assert (choose_way("adapter", "cpu"), choose_way("in_place", "gpu")) == ("adapter", "in_place")


def test_this_machine_has_cores_and_memory() -> None:
    machine = this_machine()
    assert len(machine.cores) >= 1
    assert machine.free_bytes > 0
    assert Path(machine.python).exists()


CONFIG = """{"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576,
"dtype": "bfloat16"}"""


def test_the_size_of_a_model_is_read_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(CONFIG)
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    assert model_size(str(tmp_path), "bfloat16") == ModelSize(weights_bytes=1000, cache_bytes_per_token=23_040)
    assert model_size(str(tmp_path), "float32") == ModelSize(weights_bytes=2000, cache_bytes_per_token=46_080)


def test_a_model_that_is_no_folder_or_no_transformer_has_no_known_size(tmp_path: Path) -> None:
    assert model_size("org/name", "bfloat16") is None
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    assert model_size(str(tmp_path), "bfloat16") is None
    (tmp_path / "config.json").write_text('{"layers": 3}')
    assert model_size(str(tmp_path), "bfloat16") is None
