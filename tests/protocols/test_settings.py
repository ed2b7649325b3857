"""Settings: what leaves a step of the method out, and what a stored configuration is compared by."""

from pathlib import Path

import pytest

from protocols.errors import SettingsError
from protocols.settings import differing_keys, load_settings

JUDGED_AND_CRITICISED = """
[run]
name = "r"
[judge]
max_tokens = 77
lazy = false
[critique]
per_task = 3
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(JUDGED_AND_CRITICISED, encoding="utf-8")
    return file


class TestAblations:
    def test_a_step_is_left_out_by_one_word(self, path: Path) -> None:
        settings = load_settings(path, ("judge=off", "critique=off", "consensus=off"))
        assert (settings.judge.mode, settings.critique.per_task, settings.consensus.use) == ("off", 0, "off")

    def test_one_step_alone(self, path: Path) -> None:
        settings = load_settings(path, ("critique=off",))
        assert (settings.critique.per_task, settings.judge.mode, settings.judge.max_tokens) == (0, "pairwise", 77)

    def test_another_word_is_refused_with_its_key(self, path: Path) -> None:
        with pytest.raises(SettingsError, match=r"critique: .*got 'none'"):
            load_settings(path, ("critique=none",))

    @pytest.mark.parametrize("answers", ["correct_only", "references"])
    def test_plain_fine_tuning_asks_neither_judges_nor_critics(self, path: Path, answers: str) -> None:
        settings = load_settings(path, (f"curate.answers={answers}",))
        assert (settings.judge.mode, settings.critique.per_task, settings.consensus.use) == ("off", 0, "off")
        assert settings.judge.max_tokens == 77  # what else the section says stays

    def test_without_a_word_of_it_the_method_is_whole(self, path: Path) -> None:
        settings = load_settings(path)
        assert (settings.critique.per_task, settings.judge.mode, settings.curate.answers) == (3, "pairwise", "decided")


class TestStored:
    def test_a_key_that_was_not_there_yet_has_its_default(self, path: Path) -> None:
        settings = load_settings(path)
        stored = settings.model_dump(mode="json")
        del stored["curate"]["answers"]
        assert differing_keys(settings, stored) == ()
        other = load_settings(path, ("curate.answers=correct_only", "judge=off", "critique=off"))
        assert 'curate.answers: "decided" there, "correct_only" here' in differing_keys(other, stored)

    def test_a_key_that_is_no_more_is_a_difference(self, path: Path) -> None:
        settings = load_settings(path)
        stored = settings.model_dump(mode="json") | {"gone": 1}
        assert differing_keys(settings, stored) == ("gone: 1 there, null here",)
