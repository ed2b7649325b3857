"""Judges of known accuracy: what the panel finds out about them, from 2,000 comparisons that executions label."""

from random import Random

import pytest
import trio

from actors.fake import ScriptedChat
from actors.panel import Panel
from ledger.memory import MemoryLedger
from method.comparison import Opinion, Pair
from method.reliability import Reliability, Tally, panel_reliability, panel_weights, update
from protocols.ports import ChatRequest
from protocols.records import Task
from tests.actors.parts import good, shown_codes, verdict_text, wrong

COMPARISONS = 2000
ACCURACIES = {"coin": 0.5, "fair": 0.7, "expert": 0.95}
CODES = {"good": good(3), "bad": wrong(3)}


def accurate(name: str, accuracy: float) -> ScriptedChat:
    """A judge that finds the better answer with this probability, and says the same in both orders."""

    def answer(request: ChatRequest) -> str:
        task = request.messages[0].content.split("Task:\n")[1].split("\n")[0]
        finds_it = Random(f"{name} {task}").random() < accuracy
        return verdict_text("A" if (shown_codes(request)[0] == CODES["good"]) == finds_it else "B")

    return ScriptedChat(name, answer)


async def asked_often() -> Panel:
    panel = Panel([accurate(*one) for one in ACCURACIES.items()], MemoryLedger(), max_tokens=50)
    for number in range(COMPARISONS):
        task = Task(id=f"t{number}", kind="function", instruction=f"Write f3, the {number}th.", entry_point="f3")
        opinions = await panel.compare(task, 0, [Pair("good", "bad")], CODES)
        panel.learn(task, 0, opinions, {"good": 1.0, "bad": 0.0}, "tests")
    return panel


@pytest.fixture(scope="module")
def known() -> dict[str, Reliability]:
    panel = trio.run(asked_often)
    return dict(panel._reputation._by_tests)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(("judge", "accuracy"), ACCURACIES.items())
def test_the_interval_covers_the_truth_and_is_narrow(
    judge: str, accuracy: float, known: dict[str, Reliability]
) -> None:
    low, high = known[judge].overall.interval()
    assert known[judge].overall.count == COMPARISONS
    assert low <= accuracy <= high
    assert high - low < 0.05


def test_weights_rank_them_as_log_odds_do_and_a_coin_weighs_next_to_nothing(known: dict[str, Reliability]) -> None:
    weights = panel_weights(known)
    assert weights["expert"] > weights["fair"] > weights["coin"]
    assert weights["coin"] < 0.1
    assert weights["expert"] == pytest.approx(2.944, abs=0.25)  # log(0.95 / 0.05)
    assert weights["fair"] == pytest.approx(0.847, abs=0.15)  # log(0.7 / 0.3)


def test_the_panel_is_nearly_as_good_as_its_expert(known: dict[str, Reliability]) -> None:
    assert panel_reliability(known) == pytest.approx(0.89, abs=0.03)


def test_every_perspective_is_measured_too(known: dict[str, Reliability]) -> None:
    for name in ("correctness", "efficiency", "robustness", "readability"):
        assert known["expert"].perspectives[name].mean == known["expert"].mean


@pytest.mark.parametrize("accuracy", ACCURACIES.values())
def test_the_interval_covers_the_truth_as_often_as_it_says(accuracy: float) -> None:
    """Over 400 judges, who are each right or wrong by chance in 200 comparisons: 95 % within chance."""
    rng, covered = Random(1), 0
    for _ in range(400):
        right = sum(rng.random() < accuracy for _ in range(200))
        low, high = Tally(right, 200 - right).interval()
        covered += low <= accuracy <= high
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.parametrize("accuracy", ACCURACIES.values())
def test_a_judge_who_guesses_anew_in_each_order_is_measured_no_better(accuracy: float) -> None:
    """Where its two answers contradict each other, the tie is half right, and the mean stays the same."""
    rng, record = Random(2), Reliability()
    for _ in range(COMPARISONS):
        both = [rng.random() < accuracy, rng.random() < accuracy]
        choice = "left" if all(both) else "tie" if any(both) else "right"
        record = update(record, Opinion("good", "bad", choice, {}), {"good": 1.0, "bad": 0.0})
    low, high = record.overall.interval()
    assert low <= accuracy <= high


def test_a_judge_that_got_worse_is_found_out_and_one_that_did_not_is_not() -> None:
    expert = Tally(190, 10)
    assert Tally(140, 60).drifted_from(expert)
    assert not Tally(187, 13).drifted_from(expert)
    assert not Tally(3, 1).drifted_from(expert)  # too little is known


def test_by_chance_alone_one_judge_in_a_hundred_seems_to_drift() -> None:
    rng, drifted = Random(4), 0
    for _ in range(1000):
        before, after = (sum(rng.random() < 0.8 for _ in range(150)) for _ in range(2))
        drifted += Tally(after, 150 - after).drifted_from(Tally(before, 150 - before))
    assert drifted <= 25
