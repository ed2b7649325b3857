"""The settings that switch off a part of the judging, each by name, and what they default to."""

from typing import Any

import pytest

from protocols.errors import SettingsError
from protocols.settings import Settings, parse_settings

RUN = {"run": {"name": "trial"}}
WITHOUT_CRITIC = [{"name": "local", "url": "managed", "roles": ["policy", "judge"]}]
WITHOUT_JUDGE = [{"name": "local", "url": "managed", "roles": ["policy", "critic"]}]


def parsed(**sections: Any) -> Settings:
    return parse_settings({**RUN, **sections}, "test.toml")


def test_by_default_nothing_is_switched_off() -> None:
    settings = parsed()
    assert settings.judge.mode == "pairwise"
    assert settings.consensus.use == "without_tests"
    assert settings.run.order == "learning"


@pytest.mark.parametrize(
    ("section", "key", "values"),
    [
        ("judge", "mode", ["pairwise", "rubric", "off"]),
        ("consensus", "use", ["off", "without_tests", "measured"]),
    ],
)
def test_each_has_a_name(section: str, key: str, values: list[str]) -> None:
    for value in values:
        assert getattr(getattr(parsed(**{section: {key: value}}), section), key) == value
    with pytest.raises(SettingsError, match=rf"{section}\.{key}"):
        parsed(**{section: {key: "on"}})


@pytest.mark.parametrize("order", ["learning", "uniform"])
def test_the_order_of_tasks_is_one_of_two(order: str) -> None:
    assert parse_settings({"run": {"name": "trial", "order": order}}, "test.toml").run.order == order


def test_a_run_without_criticism_needs_no_critic() -> None:
    assert parsed(endpoints=WITHOUT_CRITIC, critique="off").critique.per_task == 0
    with pytest.raises(SettingsError, match="no endpoint has the role 'critic'"):
        parsed(endpoints=WITHOUT_CRITIC)


def test_a_run_on_correct_answers_alone_needs_neither() -> None:
    alone = [{"name": "local", "url": "managed", "roles": ["policy"]}]
    assert parsed(endpoints=alone, curate={"answers": "correct_only"}).judge.mode == "off"


def test_a_run_without_judging_needs_no_judge() -> None:
    assert parsed(endpoints=WITHOUT_JUDGE, judge={"mode": "off"}).judge.mode == "off"
    with pytest.raises(SettingsError, match="no endpoint has the role 'judge'"):
        parsed(endpoints=WITHOUT_JUDGE)
