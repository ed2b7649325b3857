"""Whole runs on fakes with a step of the method left out: they end, and nothing of that step is asked or taught."""

from pathlib import Path

import msgspec
import pytest

from actors.judge import Judge
from actors.panel import Panel
from ledger.memory import MemoryLedger
from method.decision_rule import DecisionRule
from protocols.records import Batch, Critique, Example, PolicyVersion, RoundSettled, Verdict
from protocols.settings import Settings, load_settings
from tests.actors import whole
from tests.actors.whole import NARROW, ROUNDS, Run, Shape, start


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


def settings_with(folder: Path, *overrides: str) -> Settings:
    path = folder / "c.toml"
    path.write_text('[run]\nname = "r"\n', encoding="utf-8")
    return load_settings(path, overrides)


async def run_with(settings: Settings, ledger: MemoryLedger, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the rounds with what `settings` say of judging, critique, curation and training."""

    def judge(panel: Panel, ledger: MemoryLedger) -> Judge:
        rule = settings.judge
        return Judge(
            panel,
            ledger,
            mode=rule.mode,
            schedule=rule.schedule,
            w_max=rule.w_max,
            lazy=rule.lazy,
            calibrate=rule.calibrate,
            max_pairs=rule.max_pairs,
            decision_rule=DecisionRule(d_up=settings.decide.d_up, d_low=settings.decide.d_low),
        )

    curation = msgspec.structs.replace(
        whole.CURATION, answers=settings.curate.answers, replay=settings.curate.replay, mode=settings.train.mode
    )
    monkeypatch.setattr(whole, "_judge", judge)
    monkeypatch.setattr(whole, "CURATION", curation)
    run = await start(ledger, folder, Shape(NARROW.concurrency, settings.critique.per_task))
    await run.pipeline.run()
    assert len(await ledger.find(RoundSettled)) == ROUNDS
    return run


async def test_rejection_sampling_teaches_its_own_right_answers_alone(
    ledger: MemoryLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(tmp_path, "curate.answers=correct_only")
    run = await run_with(settings, ledger, tmp_path, monkeypatch)
    assert run.asked()["Verdict"] == run.asked()["Critique"] == 0
    examples = await ledger.find(Example)
    assert {(one.kind, one.origin) for one in examples} == {("answer", "self")}
    # The second round gives the first one's right answers again, so that there is nothing new to train on.
    assert max(version.number for version in await ledger.find(PolicyVersion)) == 1


async def test_without_judges_critique_goes_on(
    ledger: MemoryLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_with(settings_with(tmp_path, "judge=off"), ledger, tmp_path, monkeypatch)
    assert run.asked()["Verdict"] == len(await ledger.find(Verdict)) == 0
    assert await ledger.find(Critique)


async def test_without_critique_judging_goes_on(
    ledger: MemoryLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_with(settings_with(tmp_path, "critique=off"), ledger, tmp_path, monkeypatch)
    assert run.asked()["Critique"] == 0
    assert {one.kind for one in await ledger.find(Example)} == {"answer"}
    assert await ledger.find(Verdict)


async def test_without_replay_a_later_batch_holds_new_examples_alone(
    ledger: MemoryLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(tmp_path, "train.mode=continue", "curate.replay=0")
    await run_with(settings, ledger, tmp_path, monkeypatch)
    assert [batch.replayed for batch in await ledger.find(Batch)] == [0] * ROUNDS


async def test_from_the_base_model_each_time_everything_is_taught_again(
    ledger: MemoryLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_with(settings_with(tmp_path), ledger, tmp_path, monkeypatch)
    first, second = await ledger.find(Batch)
    assert second.replayed > 0
    assert set(second.example_ids) & set(first.example_ids)
