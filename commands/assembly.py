"""The actors of a run, built from its settings and wired with the concrete parts."""

from collections.abc import Callable
from functools import partial

import trio

from actors.consensus import Consensus
from actors.critic import Critic
from actors.curator import CurationRule
from actors.evaluator import Evaluator, Sample, as_written
from actors.examiner import Examiner
from actors.executor import Executor
from actors.generator import Generator
from actors.judge import Judge
from actors.panel import Panel, Price
from actors.pipeline import Concurrency, Parts, Pipeline, RoundRule
from actors.publisher import PublishingRule
from actors.trainer import TrainingRule
from actors.turns import TrainingInTurn
from commands.sandboxes import limits_of, repeating
from commands.serving import Serving, chosen_dtype, chosen_way, shares_cores
from commands.task_sets import TaskSets
from endpoints.sleeping import TrainingWhileAsleep
from evals.evaluation import make_evaluation
from evals.gate import gate
from ledger.run_folder import RunFolder
from method.decision_rule import DecisionRule
from method.overlap import overlap_index
from protocols.identity import derive
from protocols.ports import AdapterTrainer, Answering, Ledger, Policy, Sandbox, TrainingRecipe
from protocols.prompts import answer_prompt, answer_text
from protocols.records import PolicyVersion, Probe, RoundSettled, Task
from protocols.settings import Settings

CANARY_TOLERANCE = {"bfloat16": 0.1, "float16": 0.05, "float32": 0.02}
"""Nats, on average over the probes' tokens. Measured in bfloat16: right weights 0.04, wrong ones 0.26."""


def executor_of(settings: Settings, sandbox: Sandbox, ledger: Ledger) -> Executor:
    """Return the Executor."""
    rule = settings.sandbox
    return Executor(repeating(sandbox, rule), ledger, limits=limits_of(rule), references=settings.decide.references)


def evaluator_of(
    settings: Settings,
    policy: Answering,
    executor: Executor,
    ledger: Ledger,
    turn: trio.Lock | None = None,
    *,
    read: Callable[[str, Task], str | None] = as_written,
    observe: Callable[[Task, tuple[Sample, ...]], None] = lambda task, samples: None,
) -> Evaluator:
    """Return the evaluator; `turn` is held while it works, `read` and `observe` are as its own."""
    return Evaluator(
        policy,
        executor,
        ledger,
        partial(make_evaluation, ks=settings.evaluate.ks, seed=settings.run.seed),
        top_p=settings.generate.top_p,
        top_k=settings.generate.top_k,
        max_tokens=settings.generate.max_tokens,
        stop=settings.generate.stop,
        concurrency=settings.evaluate.concurrency,
        seed=settings.run.seed,
        turn=turn,
        read=read,
        observe=observe,
    )


def base_version(probes: tuple[Probe, ...] = ()) -> PolicyVersion:
    """Return version 0, the base model; `probes` are its own numbers on the canary's prompts."""
    return PolicyVersion(
        id=derive("policy_version", 0),
        number=0,
        name="base",
        parent=None,
        state="base",
        reason="the base model",
        adapter=None,
        merged=None,
        batch_id=None,
        content_hash=None,
        probes=probes,
        canary=None,
    )


async def current_version(
    ledger: Ledger, model: str, probe_texts: tuple[str, ...], trainer: AdapterTrainer
) -> PolicyVersion:
    """Return the last promoted version, or the base model as version 0, noted in the ledger.

    Raises:
        TrainingError: the base model's numbers on the canary's prompts could not be computed.
    """
    versions = await ledger.find(PolicyVersion)
    standing = [version for version in versions if version.state in ("base", "promoted")]
    if standing:
        return max(standing, key=lambda version: version.number)
    base = base_version(await trainer.probe(model, probe_texts))
    await ledger.append(base)
    return base


def probe_texts(settings: Settings, tasks: tuple[Task, ...]) -> tuple[str, ...]:
    """Return the canary's prompts: tasks of the gate with their reference answers, as plain text."""
    return tuple(
        f"{answer_prompt(task)[0].content}\n\n{answer_text(task.reference or '')}"
        for task in tasks[: settings.publish.probes]
    )


async def build_pipeline(
    settings: Settings,
    folder: RunFolder,
    model: str,
    tasks: TaskSets,
    ledger: Ledger,
    executor: Executor,
    trainer: AdapterTrainer,
    serving: Serving,
) -> Pipeline:
    """Return the pipeline, taking up where the ledger ends."""
    settled = len(await ledger.find(RoundSettled))
    panel = Panel(serving.judges, ledger, max_tokens=settings.judge.max_tokens, prices=_prices(settings))
    turn = trio.Lock()
    parts = Parts(
        policy=serving.policy,
        trainer=_placed(settings, trainer, serving, turn),
        ledger=ledger,
        gate=partial(
            gate, tolerance=settings.gate.tolerance, confidence=settings.gate.confidence, seed=settings.run.seed
        ),
        generator=_generator(settings, serving.policy, ledger),
        executor=executor,
        panel=panel,
        judge=_judge(settings, panel, ledger),
        critic=_critic(settings, serving, executor, ledger),
        evaluator=evaluator_of(settings, serving.policy, executor, ledger, turn),
        train_tasks=tasks.train,
        gate_tasks=tasks.gate,
        held_out_tasks=tasks.held_out,
        evaluation_tasks=overlap_index(tasks.evaluated),
        consensus=_consensus(settings, serving.policy, executor, ledger),
    )
    await trio.lowlevel.checkpoint()
    return Pipeline(
        parts,
        _concurrency(settings),
        RoundRule(
            rounds=settings.run.rounds,
            tasks_per_round=settings.run.tasks_per_round,
            lead=settings.run.lead,
            seed=settings.run.seed,
            settled=settled,
            order=settings.run.order,
        ),
        curation_rule(settings),
        _training(settings, folder, model, tasks),
        _publishing(settings),
    )


def _placed(settings: Settings, trainer: AdapterTrainer, serving: Serving, turn: trio.Lock) -> AdapterTrainer:
    """Return the trainer as its place wants it: in turn on shared cores, while the server sleeps on shared GPUs."""
    if settings.train.colocated and serving.managed is not None:
        policy, drain_s = serving.policy, settings.publish.drain_s
        return TrainingInTurn(TrainingWhileAsleep(trainer, serving.managed, drain_s, policy.untouched), turn)
    return TrainingInTurn(trainer, turn) if shares_cores(settings) else trainer


def _generator(settings: Settings, policy: Policy, ledger: Ledger) -> Generator:
    rule = settings.generate
    return Generator(
        policy,
        ledger,
        candidates=rule.candidates,
        temperatures=rule.temperature,
        top_p=rule.top_p,
        top_k=rule.top_k,
        max_tokens=rule.max_tokens,
        stop=rule.stop,
        seed=settings.run.seed,
    )


def _consensus(settings: Settings, policy: Policy, executor: Executor, ledger: Ledger) -> Consensus | None:
    rule = settings.consensus
    if rule.use == "off":
        return None
    examiner = Examiner(
        policy,
        executor,
        ledger,
        tests=rule.tests,
        answers=rule.answers,
        temperature=rule.temperature,
        max_tokens=rule.max_tokens,
        stop=settings.generate.stop,
        drops=rule.drop and settings.decide.references != "hidden",
        seed=settings.run.seed,
    )
    return Consensus(executor, examiner, ledger, measured=rule.use == "measured")


def _judge(settings: Settings, panel: Panel, ledger: Ledger) -> Judge:
    return Judge(
        panel,
        ledger,
        schedule=settings.judge.schedule,
        w_max=settings.judge.w_max,
        lazy=settings.judge.lazy,
        calibrate=settings.judge.calibrate,
        max_pairs=settings.judge.max_pairs,
        decision_rule=DecisionRule(**settings.decide.model_dump()),
        mode=settings.judge.mode,
    )


def _prices(settings: Settings) -> dict[str, Price]:
    return {
        wish.name: Price(wish.price_in, wish.price_out)
        for wish in settings.endpoints
        if wish.price_in is not None and wish.price_out is not None
    }


def _critic(settings: Settings, serving: Serving, executor: Executor, ledger: Ledger) -> Critic:
    rule = settings.critique
    return Critic(
        serving.critic,
        executor,
        ledger,
        per_task=rule.per_task,
        per_round=rule.per_round,
        temperature=rule.temperature,
        max_tokens=rule.max_tokens,
        stop=rule.stop,
    )


def _concurrency(settings: Settings) -> Concurrency:
    return Concurrency(
        generate=settings.generate.concurrency,
        execute=settings.generate.concurrency,
        judge=settings.judge.concurrency,
        critique=settings.critique.concurrency,
    )


def curation_rule(settings: Settings) -> CurationRule:
    """Return the settings of step 7."""
    rule = settings.curate
    return CurationRule(
        size=rule.size,
        min_size=rule.min_size,
        max_age_s=rule.max_age_s,
        replay=rule.replay,
        duplicate_similarity=rule.duplicate_similarity,
        max_example_tokens=rule.max_example_tokens,
        per_task=rule.per_task,
        pattern_share=rule.pattern_share,
        mode=settings.train.mode,
        references=settings.decide.references,
        seed=settings.run.seed,
        answers=rule.answers,
        critiques=rule.critiques,
        unverified=settings.critique.unverified,
    )


def _training(settings: Settings, folder: RunFolder, model: str, tasks: TaskSets) -> TrainingRule:
    rule = settings.train
    return TrainingRule(
        model=model,
        output_folder=str(folder.adapters.resolve()),
        continues=rule.mode == "continue",
        write_merged=chosen_way(settings) != "adapter",
        probe_texts=probe_texts(settings, tasks.gate),
        recipe=_recipe(settings),
    )


def _recipe(settings: Settings) -> TrainingRecipe:
    same = {name: getattr(settings.train, name) for name in TrainingRecipe.__struct_fields__ if name != "seed"}
    return TrainingRecipe(**same, seed=settings.run.seed)


def _publishing(settings: Settings) -> PublishingRule:
    tolerance = settings.publish.tolerance
    return PublishingRule(
        canary_tolerance=tolerance if tolerance is not None else CANARY_TOLERANCE[chosen_dtype(settings)],
        gate_samples=settings.gate.samples,
        gate_temperature=settings.gate.temperature,
        rejections=settings.gate.rejections,
        held_out_samples=settings.evaluate.samples,
        held_out_temperature=settings.evaluate.temperature,
    )
