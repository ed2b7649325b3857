"""Settings of a run: one TOML file, dotted overrides on top, checked whole before anything starts.

Defaults are those of method.md's rules. Parts of the program take plain parameters; only `main.py` reads these models.
"""

import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocols.errors import SettingsError

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Role = Literal["policy", "judge", "critic"]

EMBEDDED_MODEL = "embedded"
"""Model name that stands for SmolLM2-135M-Instruct from its PyPI package."""
MANAGED = "managed"
"""Endpoint URL that stands for the vLLM server that the run starts itself."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunSettings(_Section):
    """The run itself."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the run's folder."""
    folder: str = "runs"
    """Where run folders are."""
    rounds: Positive = 3
    tasks_per_round: Positive | None = None
    """None: every training task, each round."""
    order: Literal["learning", "uniform"] = "learning"
    """Which tasks a round takes: those first from which the policy can still learn, or any alike."""
    lead: Annotated[int, Field(ge=0)] = 0
    """How many rounds the Generator may be ahead of the last settled one. 0 waits for each publication; 1 overlaps
    generation with training."""
    seed: int = 0
    grace_s: Seconds = 10.0
    """How long in-flight work may go on after Ctrl-C."""


class ModelSettings(_Section):
    """The policy's base model."""

    name: str = EMBEDDED_MODEL
    """`embedded`, a local folder, or a hub name."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Of the served weights. `auto`: bfloat16, or float32 on a processor that is slow in that."""


class TasksSettings(_Section):
    """Where tasks come from. Each is a path (relative to the working directory) or `hf:NAME[:SPLIT]`."""

    train: str = "tasks/train.jsonl"
    gate: str = "tasks/gate.jsonl"
    held_out: str | None = "tasks/held_out.jsonl"
    """Answered for the report alone, never trained on; None leaves it out."""
    benchmarks: tuple[str, ...] = ()
    """Sets on which the outcome will be measured some day: not answered in the run, and never trained on."""
    limit: Positive | None = None
    """Take only the first so many of each set, benchmarks excepted."""
    failing_references: Literal["refuse", "drop_tests"] = "refuse"
    """What happens before the run starts when a reference answer fails one of its own tests: refuse the tasks file,
    or drop the test (and the task, when no test is left)."""
    overlapping: Literal["refuse", "drop"] = "refuse"
    """What happens to a training task that overlaps one of the gate, the held-out set or a benchmark (ids, wording,
    code): refuse the sets, or leave the training task out."""


class EndpointSettings(_Section):
    """One OpenAI-compatible endpoint."""

    name: str
    url: str
    """`managed`, or a base URL that ends in /v1."""
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    model: str | None = None
    """Model name to ask for; None: the policy's own served name (only for endpoints that serve it)."""
    key_variable: str | None = None
    """Name of the environment variable that holds the key; never the key."""
    price_in: Annotated[float, Field(ge=0)] | None = None
    """Per million prompt tokens."""
    price_out: Annotated[float, Field(ge=0)] | None = None
    connections: Positive = 32
    """Requests in flight, at most."""
    timeout_s: Seconds = 300.0
    """For one whole answer."""
    connect_timeout_s: Seconds = 10.0
    tries: Positive = 4

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.url != MANAGED and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must be 'managed' or start with http:// or https://, got {self.url!r}")
        if self.key_variable is not None and (self.price_in is None or self.price_out is None):
            raise ValueError("an endpoint with a key needs price_in and price_out (0 where it is free)")
        if "policy" not in self.roles and self.url != MANAGED and self.model is None:
            raise ValueError("an endpoint that does not serve the policy needs a model")
        return self


class ServerSettings(_Section):
    """The managed vLLM server. None means: decided from this machine's cores, memory and devices."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    threads: Positive | None = None
    kv_cache_bytes: Positive | None = None
    gpu_memory_share: Annotated[float, Field(gt=0, le=1)] = 0.6
    max_model_tokens: Positive = 2048
    max_sequences: Positive = 64
    tuned: bool = True
    """False starts vLLM with its own defaults (for comparison)."""
    compiled: bool = True
    """Compiling takes minutes at the first start, and makes answers a sixth faster. On a CPU it needs a C++ compiler,
    and is left out where there is none."""
    ready_s: Seconds = 600.0
    restarts: Annotated[int, Field(ge=0)] = 5
    """How often in an hour a server that died is started again."""
    arguments: tuple[str, ...] = ()
    """Further arguments to vLLM, as on its command line."""


class GenerateSettings(_Section):
    """Step 1 of the method."""

    candidates: Positive = 8
    temperature: Annotated[tuple[float, ...], Field(min_length=1)] = (0.8,)
    """One, or a ladder spread over the candidates."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_tokens: Positive = 512
    stop: Annotated[tuple[str, ...], Field(max_length=4)] = ("\n```\n",)
    """Texts that end an answer; the default ends it after its first code block, and no token is spent on talk."""
    concurrency: Positive = 16
    """Tasks in flight."""


class SandboxSettings(_Section):
    """Step 2 of the method."""

    backend: Literal["local", "http"] = "local"
    """Where candidates run: on this machine, or by a service that speaks SandboxFusion's protocol."""
    urls: tuple[str, ...] = ()
    """Base URLs of the service, for `http`; each job goes to the one with the least to do."""
    workers: Positive | None = None
    """Jobs at the same time (for `http`: at each URL). None: one per core of this machine."""
    repeat_failures: bool = True
    """Run what failed a second time, and mark what then passes as flaky."""
    tier: Literal["auto", "namespaces", "landlock", "unsafe"] = "auto"
    """`auto`: the first of `namespaces` and `landlock` whose canary attacks all fail here. `unsafe`: limits and nothing
    else, for a machine that is thrown away afterwards; candidates then have the rights of whoever started the run."""
    interpreter: str | None = None
    """Python 3.11 or later that runs the candidates; None: the one that runs this program."""
    packages: tuple[str, ...] = ()
    """Packages of that interpreter, by the name they are imported by, that candidates may import besides the standard
    library; those that they need themselves have to be named too."""
    preload: tuple[str, ...] = ()
    """Modules of these packages or of the standard library that are imported once, before any candidate; each makes
    every run a little dearer (numpy: 0.4 ms), and those that import it much cheaper."""
    cpu_s: Seconds = 4.0
    """Per test."""
    wall_s: Seconds = 8.0
    """Per test."""
    memory_bytes: Positive = 512 << 20
    """Address space of one candidate's process, and, where there are control groups, its real use."""
    output_bytes: Positive = 64 << 10
    """Of standard output, and of standard error, per test."""
    file_bytes: Positive = 1 << 20
    """Of any one file."""
    scratch_bytes: Positive = 4 << 20
    """Of all files of one run together."""
    scratch_files: Positive = 512
    """Files and folders of one run."""
    threads: Positive = 8
    """Of one candidate's process. There are no other processes to be had."""

    @model_validator(mode="after")
    def _preloaded_is_there(self) -> Self:
        for name in self.preload:
            if name.split(".")[0] not in {*self.packages, *sys.stdlib_module_names}:
                raise ValueError(f"preload names {name}, which is neither in packages nor of the standard library")
        return self

    @model_validator(mode="after")
    def _backend_has_urls(self) -> Self:
        if (self.backend == "http") != bool(self.urls):
            raise ValueError('urls belong to backend = "http", which needs at least one')
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"urls must start with http:// or https://, got {url!r}")
        return self


class ConsensusSettings(_Section):
    """Step 2 of the method for tasks without tests: the policy writes tests, and agreement on them decides."""

    use: Literal["off", "without_tests", "measured"] = "without_tests"
    """`off` leaves tasks without tests undecided. `measured` lets the policy write tests for tasks that have their own
    as well, and the report says how often agreement would have chosen a right answer; it decides nothing there."""
    tests: Positive = 8
    """Written tests that candidates are run against, at most."""
    answers: Positive = 1
    """Answers to ask for; each may hold several tests."""
    temperature: Annotated[float, Field(ge=0)] = 0.8
    max_tokens: Positive = 512
    drop: bool = True
    """Whether written tests that the reference answer fails are dropped, where the reference is not hidden."""


class JudgeSettings(_Section):
    """Steps 3 and 4 of the method."""

    mode: Literal["pairwise", "rubric", "off"] = "pairwise"
    """`pairwise` compares two answers in both orders; `rubric` has each marked by itself; `off` asks nobody: S = E."""
    schedule: Literal["anchor", "round_robin", "swiss"] = "anchor"
    w_max: Share = 0.5
    lazy: bool = True
    calibrate: Share = 0.1
    """Share of tasks that are judged although their decision is settled, to measure the judges' reliability."""
    max_pairs: Positive = 4
    """Comparisons per task, at most; with `rubric`, candidates marked per task."""
    max_tokens: Positive = 300
    concurrency: Positive = 8


class DecideSettings(_Section):
    """Step 5 of the method."""

    d_up: Share = 0.05
    d_low: Share = 0.15
    references: Literal["train", "anchor", "hidden"] = "anchor"


class CritiqueSettings(_Section):
    """Step 6 of the method."""

    per_task: Annotated[int, Field(ge=0)] = 2
    """Critiques per task and round, at most; 0 turns criticism off."""
    per_round: Annotated[int, Field(ge=0)] | None = None
    """Critiques per round, at most, for the tasks that come first; None: no such limit."""
    temperature: Annotated[float, Field(ge=0)] = 0.2
    max_tokens: Positive = 512
    stop: Annotated[tuple[str, ...], Field(max_length=4)] = ("\n```\n",)
    """As `generate.stop`: a critique ends with its mended code."""
    concurrency: Positive = 8


class CurateSettings(_Section):
    """Step 7 of the method."""

    size: Positive = 512
    """Examples that cut a batch at once."""
    min_size: Positive = 16
    """Examples that a round must leave for its end to cut a batch."""
    max_age_s: Seconds = 3600.0
    replay: Share = 0.25
    duplicate_similarity: Annotated[float, Field(gt=0, le=1)] = 0.8
    max_example_tokens: Positive = 1024
    """Estimated at four characters a token."""
    per_task: Positive = 4
    """Examples of one task in one batch, at most."""
    pattern_share: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Share of a batch's critique examples that one error pattern may have."""
    answers: Literal["decided", "correct_only", "references"] = "decided"
    """`decided`: the examples that the method's decisions make. `correct_only`: every distinct candidate that passes
    every test, and nothing else: plain rejection-sampling fine-tuning. `references`: the data set's own answers, and
    nothing else: plain fine-tuning. Neither of the two asks judges or critics."""


class TrainSettings(_Section):
    """Step 8 of the method."""

    mode: Literal["restart", "continue"] = "restart"
    rank: Positive = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    layers: Positive | None = None
    """Adapters on the last so many layers only, where a whole backward pass takes too long; None: on all."""
    targets: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = None
    """Linear layers that get an adapter, by the end of their names, such as `["q_proj", "mlp.down_proj"]`; None: all
    but the projection to the vocabulary."""
    dora: bool = False
    """Train a magnitude for each output beside the low-rank matrices (arXiv 2402.09353). Steps take longer, and vLLM
    serves the outcome only merged: it needs `publish.way = "in_place"`."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) instead of alpha / rank (arXiv 2312.03732), so that high ranks learn as fast."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    warmup_share: Share = 0.1
    epochs: Positive = 2
    batch_examples: Positive = 16
    micro_batch_tokens: Positive = 2048
    max_tokens: Positive = 1024
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    step_deadline_s: Seconds = 600.0


class GateSettings(_Section):
    """Step 9 of the method."""

    samples: Positive = 4
    temperature: Annotated[float, Field(ge=0)] = 0.2
    tolerance: Share = 0.05
    """Fall of pass@1 that is still promoted."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    rejections: Positive = 3
    """In a row, before the run pauses."""


class PublishSettings(_Section):
    """Step 10 of the method."""

    way: Literal["auto", "adapter", "in_place"] = "auto"
    """`auto`: `in_place` on a CPU, `adapter` on a GPU."""
    probes: Positive = 4
    tolerance: Annotated[float, Field(gt=0)] | None = None
    """Mean absolute difference of log-probabilities; None: by the model's dtype."""
    drain_s: Seconds = 120.0


class EvaluateSettings(_Section):
    """Held-out evaluation, for the report alone."""

    samples: Positive = 4
    temperature: Annotated[float, Field(ge=0)] = 0.2
    ks: tuple[Positive, ...] = (1, 4)
    concurrency: Positive = 16

    @model_validator(mode="after")
    def _enough_samples(self) -> Self:
        if max(self.ks) > self.samples:
            raise ValueError(f"pass@{max(self.ks)} needs at least {max(self.ks)} samples, got {self.samples}")
        return self


_PLAIN = ("correct_only", "references")
"""Values of `curate.answers` for which there is nothing to judge or to criticise."""
_OFF: dict[str, dict[str, Any]] = {
    "consensus": {"use": "off"},
    "judge": {"mode": "off"},
    "critique": {"per_task": 0},
}
"""What a section that is "off" stands for."""


def _off(section: Any, name: str) -> dict[str, Any]:
    rest = cast(dict[str, Any], section) if isinstance(section, dict) else {}
    return rest | _OFF[name]


class Settings(_Section):
    """Everything that decides what a run does; `consensus`, `judge` and `critique` may be "off", each as a whole."""

    run: RunSettings
    model: ModelSettings = ModelSettings()
    tasks: TasksSettings = TasksSettings()
    endpoints: tuple[EndpointSettings, ...] = (
        EndpointSettings(name="local", url=MANAGED, roles=("policy", "judge", "critic")),
    )
    server: ServerSettings = ServerSettings()
    generate: GenerateSettings = GenerateSettings()
    sandbox: SandboxSettings = SandboxSettings()
    consensus: ConsensusSettings = ConsensusSettings()
    judge: JudgeSettings = JudgeSettings()
    decide: DecideSettings = DecideSettings()
    critique: CritiqueSettings = CritiqueSettings()
    curate: CurateSettings = CurateSettings()
    train: TrainSettings = TrainSettings()
    gate: GateSettings = GateSettings()
    publish: PublishSettings = PublishSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, data: Any) -> Any:
        """Read `judge = "off"` and the like as the values that they stand for."""
        if not isinstance(data, dict):
            return data
        given = cast(dict[str, Any], data)
        curate = given.get("curate")
        plain = isinstance(curate, dict) and cast(dict[str, Any], curate).get("answers") in _PLAIN
        return given | {name: _off(given.get(name), name) for name in _OFF if plain or given.get(name) == "off"}

    @model_validator(mode="after")
    def _every_role_has_an_endpoint(self) -> Self:
        for role in ("policy", "judge", "critic"):
            if role == "judge" and self.judge.mode == "off":
                continue
            if not any(role in endpoint.roles for endpoint in self.endpoints):
                raise ValueError(f"no endpoint has the role {role!r}; give it to one of [[endpoints]]")
        names = [endpoint.name for endpoint in self.endpoints]
        if len(set(names)) != len(names):
            raise ValueError(f"endpoint names must differ, got {names}")
        managed = [endpoint.name for endpoint in self.endpoints if endpoint.url == MANAGED]
        if len(managed) > 1:
            raise ValueError(f"one endpoint may be managed, with all the roles it has; {', '.join(managed)} are")
        return self


def load_settings(path: Path, overrides: tuple[str, ...] = ()) -> Settings:
    """Read `path` and lay `overrides` over it.

    Args:
        path: a TOML file.
        overrides: `section.key=value`, the value in TOML's notation (a bare word is taken as a string).

    Raises:
        SettingsError: the text names the file, the key, the value and what was expected.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"settings file {path} does not exist; see configs/ for examples") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings file {path} is not TOML: {error}") from error
    return parse_settings(data, str(path), overrides)


def default_settings(name: str, overrides: tuple[str, ...] = ()) -> Settings:
    """Return the defaults under the run name `name`, with `overrides` laid over them.

    Raises:
        SettingsError: as `load_settings`.
    """
    data: dict[str, Any] = {"run": {"name": name}}
    return parse_settings(data, "the overrides", overrides)


def parse_settings(data: dict[str, Any], source: str, overrides: tuple[str, ...] = ()) -> Settings:
    """Return `data`, with `overrides` laid over it, as settings.

    Raises:
        SettingsError: as `load_settings`.
    """
    for override in overrides:
        _lay_over(data, override)
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise SettingsError(_explain(error, source)) from error


def differing_keys(ours: Settings, theirs: dict[str, Any]) -> tuple[str, ...]:
    """Return the dotted keys in which a stored configuration differs from `ours`, each with both values.

    A key that an older version of this project did not know has its default there.
    """
    with suppress(ValidationError):
        theirs = Settings.model_validate(theirs).model_dump(mode="json")
    left, right = flatten_settings(ours.model_dump(mode="json")), flatten_settings(theirs)
    return tuple(
        f"{key}: {_as_json(right.get(key))} there, {_as_json(left.get(key))} here"
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    )


def _as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _lay_over(data: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise SettingsError(f"override {override!r} is not of the form section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    section = data
    for part in parts[:-1]:
        inner: Any = section.setdefault(part, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"override {override!r}: {part} is not a section")
        section = cast(dict[str, Any], inner)
    section[parts[-1]] = value


def _explain(error: ValidationError, source: str) -> str:
    problems: list[str] = []
    for problem in error.errors():
        key = ".".join(map(str, problem["loc"])) or "settings"
        if problem["type"] == "extra_forbidden":
            problems.append(f"{key}: unknown key")
        elif problem["type"] == "missing":
            problems.append(f"{key}: missing")
        else:
            shown = "" if isinstance(problem["input"], dict) else f", got {problem['input']!r}"
            problems.append(f"{key}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return f"settings in {source} are wrong: " + "; ".join(problems)


def flatten_settings(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return settings in sections as one level of dotted keys."""
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in cast(dict[str, Any], value).items():
        flat |= flatten_settings(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat
