"""How a managed vLLM server is started: command line and environment, from machine, model and settings. Pure.

Tuned for what was measured (`benchmarks/serve.py`): every core computes and is bound, tcmalloc and
Intel's OpenMP are preloaded where they are installed, the key-value cache has a size instead of nine tenths of the
memory. `tuned=False` leaves all that to vLLM.
"""

from typing import Literal

import msgspec

from endpoints.machine import Machine
from endpoints.model_size import ModelSize
from protocols.errors import ModelDoesNotFit

Way = Literal["adapter", "in_place", "restart"]
Device = Literal["cpu", "gpu"]
Dtype = Literal["bfloat16", "float16", "float32"]

_GIB = 1 << 30
_COMPILE_CACHE = {"VLLM_USE_AOT_COMPILE": "0"}
"""Models compiled ahead of time are saved, but cannot be loaded again on a CPU (vLLM 0.32), so every start compiles:
142 s. Without that, torch's own cache works: 148 s the first time, 64 s from then on."""
_NO_COMPILER = {"TORCHDYNAMO_DISABLE": "1"}
"""An eager server still compiles single functions of its sampler at their first use (the ranks of log-probabilities,
which the canary asks for), and ends where there is no C++ compiler."""
_PROGRAM_BYTES = 2 * _GIB
"""What the server's processes take beside weights and cache (measured: 1.6 GiB)."""
_CPU_BLOCK_TOKENS = 32
"""Prefixes are shared in whole blocks, so that the answers to one prompt compute it once; vLLM's 128 on a CPU is longer
than most prompts here, and its kernels take multiples of 32."""
_SMALLEST_CACHE_BYTES = _GIB // 4
_LARGEST_CACHE_BYTES = 8 * _GIB
_FILLED = 0.5
"""Of their greatest length, what all sequences reach at once; beyond that the server lets some wait."""
_CACHE_SHARE = 0.25
"""Of the free memory, at most: the trainer and the sandbox need the rest."""


class ServerWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a managed server; None leaves a choice to the plan."""

    model: str
    """Local folder or hub name."""
    local: bool
    """Whether `model` is a folder here."""
    served_name: str
    dtype: Dtype | Literal["auto"]
    """`auto` is vLLM's own choice, the dtype of the weights; see `choose_dtype` for this project's."""
    way: Way
    port: int
    device: Device
    adapter_rank: int
    max_model_tokens: int
    max_sequences: int
    threads: int | None = None
    cache_bytes: int | None = None
    gpu_memory_share: float = 0.6
    tuned: bool = True
    compiled: bool = True
    """Whether the model may be compiled at the start."""
    sleeps: bool = False
    """Whether it must be able to leave its GPUs to the trainer for a while."""
    gpus: tuple[int, ...] | None = None
    """GPUs of its own; None: all that it sees."""
    arguments: tuple[str, ...] = ()


class ServerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to start it."""

    command: tuple[str, ...]
    environment: dict[str, str]
    """Laid over the environment of the run."""
    needed_bytes: int | None
    """Memory that it takes; None when that cannot be told before."""


def choose_device(device: Literal["auto", "cpu", "gpu"], machine: Machine) -> Device:
    """Return the device that `auto` means here."""
    if device == "auto":
        return "gpu" if machine.gpu else "cpu"
    return device


def choose_way(way: Literal["auto"] | Way, device: Device) -> Way:
    """Return the way of publishing that `auto` means: an adapter is slow on a CPU, and several at once help a GPU."""
    if way == "auto":
        return "adapter" if device == "gpu" else "in_place"
    return way


def choose_dtype(dtype: Dtype | Literal["auto"], device: Device, machine: Machine) -> Dtype:
    """Return the dtype that `auto` means here: bfloat16, or float32 on a processor without fast kernels for that."""
    if dtype == "auto":
        return "bfloat16" if device == "gpu" or machine.bfloat16 else "float32"
    return dtype


def plan_server(wish: ServerWish, machine: Machine, size: ModelSize | None) -> ServerPlan:
    """Return how to start the server of `wish` on `machine`.

    Args:
        wish: what is asked for.
        machine: where it runs.
        size: of the model; None when it is not known before.

    Raises:
        ModelDoesNotFit: weights, cache and program need more memory than is free.
    """
    on_cpu = wish.device == "cpu"
    cache = _cache_bytes(wish, machine, size)
    needed = _needed_bytes(size, cache) if on_cpu else None
    if needed is not None and machine.free_bytes and needed > machine.free_bytes:
        raise ModelDoesNotFit(_does_not_fit(wish, machine, size, cache, needed))
    compiles = wish.compiled and (wish.device == "gpu" or machine.compiler)
    command = (
        *_base_command(wish, machine),
        *_way_arguments(wish),
        *(() if compiles else ("--enforce-eager",)),
        *(("--enable-sleep-mode",) if wish.sleeps else ()),
        *_tuned_arguments(wish, cache),
    )
    environment = _base_environment(wish) | (_cpu_environment(wish, machine) if on_cpu and wish.tuned else {})
    if not compiles:
        environment |= _NO_COMPILER
    return ServerPlan(command=(*command, *wish.arguments), environment=environment, needed_bytes=needed)


def _base_command(wish: ServerWish, machine: Machine) -> tuple[str, ...]:
    return (
        *(machine.python, "-m", "vllm.entrypoints.openai.api_server"),
        *("--host", "127.0.0.1", "--port", str(wish.port)),
        *("--model", wish.model, "--served-model-name", wish.served_name),
        *("--dtype", wish.dtype, "--max-model-len", str(wish.max_model_tokens)),
        # Else a model folder's own defaults, such as a repetition penalty, change what a request does not name.
        *("--generation-config", "vllm"),
    )


def _way_arguments(wish: ServerWish) -> tuple[str, ...]:
    if wish.way != "adapter":
        return ()
    return ("--enable-lora", "--max-loras", "2", "--max-lora-rank", str(_lora_rank(wish.adapter_rank)))


def _lora_rank(rank: int) -> int:
    """Of the powers of two from 8 to 512, which are all that vLLM takes, the least that is enough."""
    return next((allowed for allowed in (8, 16, 32, 64, 128, 256, 512) if allowed >= rank), 512)


def _tuned_arguments(wish: ServerWish, cache: int) -> tuple[str, ...]:
    if not wish.tuned:
        return ()
    common = ("--max-num-seqs", str(wish.max_sequences), "--disable-uvicorn-access-log")
    if wish.device == "gpu":
        return (*common, "--gpu-memory-utilization", str(wish.gpu_memory_share))
    return (*common, "--kv-cache-memory-bytes", str(cache), "--block-size", str(_CPU_BLOCK_TOKENS))


def _base_environment(wish: ServerWish) -> dict[str, str]:
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if wish.local:
        environment |= {"HF_HUB_OFFLINE": "1"}
    if wish.gpus is not None:
        environment |= {"CUDA_VISIBLE_DEVICES": ",".join(map(str, wish.gpus))}
    if wish.sleeps:
        environment |= {"VLLM_SERVER_DEV_MODE": "1"}
    if wish.way == "adapter":
        return environment | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
    if wish.way == "restart":
        return environment
    return environment | {"VLLM_SERVER_DEV_MODE": "1"}


def _cpu_environment(wish: ServerWish, machine: Machine) -> dict[str, str]:
    cores = machine.cores[: wish.threads or len(machine.cores)]
    environment = {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)), **_COMPILE_CACHE}
    preloads = [library for library in (machine.allocator, machine.openmp) if library is not None]
    if preloads:
        environment["LD_PRELOAD"] = ":".join(preloads)
    return environment


def _cache_bytes(wish: ServerWish, machine: Machine, size: ModelSize | None) -> int:
    """Enough for every sequence at a good part of its length, within a share of the free memory."""
    if wish.cache_bytes is not None:
        return wish.cache_bytes
    full = _LARGEST_CACHE_BYTES
    if size is not None:
        tokens = max(wish.max_model_tokens, int(wish.max_sequences * wish.max_model_tokens * _FILLED))
        full = tokens * size.cache_bytes_per_token
    most = min(_LARGEST_CACHE_BYTES, int(machine.free_bytes * _CACHE_SHARE)) if machine.free_bytes else 2 * _GIB
    return max(_SMALLEST_CACHE_BYTES, min(full, most))


def _needed_bytes(size: ModelSize | None, cache: int) -> int | None:
    return None if size is None else size.weights_bytes + cache + _PROGRAM_BYTES


def _does_not_fit(wish: ServerWish, machine: Machine, size: ModelSize | None, cache: int, needed: int) -> str:
    weights = size.weights_bytes if size else 0
    return (
        f"model {wish.model} does not fit: weights {_gib(weights)}, key-value cache {_gib(cache)} and the server "
        f"itself {_gib(_PROGRAM_BYTES)} need {_gib(needed)}, but {_gib(machine.free_bytes)} are free; take a smaller "
        "model, or set server.kv_cache_bytes, server.max_model_tokens or server.max_sequences lower"
    )


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
