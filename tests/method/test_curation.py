from random import Random
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.curation import Critiques, Duplicates, curate, cut_batch, overlap_index, ready
from method.examples import answer_example, critique_example
from protocols.records import Example, Origin
from tests.method.making import candidate, execution, task

WORDS = ("sort", "zip", "max", "open", "iter", "hash", "bool", "chr", "len", "sum", "abs", "any")


def code(number: int) -> str:
    """Return code that is not like that of another number."""
    name = WORDS[number % len(WORDS)] + str(number)
    return f"def {name}_f({name}_a):\n    return {name}_g({name}_a) * {number}"


def answer(number: int, task_id: str | None = None, round: int = 1, origin: Origin = "self") -> Example:
    return answer_example(task(task_id or f"t{number}"), code(number), origin=origin, round=round, version=0)


def critique(number: int, pattern: str = "p", task_id: str | None = None, version: int = 0) -> Example:
    return critique_example(
        task(task_id or f"t{number}"),
        candidate(f"c{number}", code=code(number + 100)),
        execution("c", "0"),
        "Wrong.",
        code(number),
        origin="critic",
        pattern=pattern,
        round=1,
        version=version,
    )


def refusals(new: list[Example], kept: list[Example] | None = None, **changes: Any) -> list[str | None]:
    """Return what became of each new example: None for kept, else the reason."""
    values: dict[str, Any] = {
        "overlap": overlap_index([]),
        "duplicate_similarity": 0.8,
        "max_example_tokens": 1024,
        "per_task": 4,
        "pattern_share": 1.0,
    }
    accepted, refused = curate(new, kept or [], **(values | changes))
    reasons: dict[int, str] = {id(example): reason for example, reason in refused}
    assert len(accepted) + len(refused) == len(new)
    return [reasons.get(id(example)) for example in new]


class TestReasons:
    def test_good_examples_are_kept_in_order(self) -> None:
        new = [answer(1), critique(2), answer(3)]
        assert refusals(new) == [None, None, None]

    def test_what_the_endpoint_cut_off_is_refused(self) -> None:
        assert refusals([answer(1), answer(2)], truncated_ids={answer(1).id}) == ["truncated", None]

    def test_length_is_estimated_at_four_characters_a_token(self) -> None:
        characters = sum(len(message.content) for message in answer(1).messages)
        tokens = -(-characters // 4)
        assert refusals([answer(1)], max_example_tokens=tokens) == [None]
        assert refusals([answer(1)], max_example_tokens=tokens - 1) == ["too_long"]

    def test_overlap_with_an_evaluation_task_is_refused(self) -> None:
        assert refusals([answer(1)], overlap=overlap_index([task("t1")])) == ["evaluation_overlap"]

    def test_exact_and_near_duplicates_are_told_apart(self) -> None:
        near = answer_example(task("other"), code(1) + "  # same", origin="self", round=1, version=0)
        assert refusals([answer(1), answer(1), near]) == [None, "exact_duplicate", "near_duplicate"]

    def test_duplicates_of_what_was_kept_before_are_refused(self) -> None:
        assert refusals([answer(1, round=2)], [answer(1)]) == ["exact_duplicate"]

    def test_an_example_that_was_refused_makes_no_other_a_duplicate(self) -> None:
        twin = answer_example(task("t1"), code(1), origin="self", round=2, version=1)
        assert refusals([answer(1), twin], truncated_ids={answer(1).id}) == ["truncated", None]


class TestTaskCap:
    def test_a_task_has_at_most_so_many_examples_in_a_batch(self) -> None:
        new = [answer(number, "t") for number in range(4)] + [answer(5, "u")]
        assert refusals(new, per_task=3) == [None, None, None, "task_cap", None]

    def test_those_kept_before_count_while_their_batch_is_being_filled(self) -> None:
        assert refusals([answer(2, "t")], [answer(1, "t")], per_task=1) == ["task_cap"]
        assert refusals([answer(2, "t")], [answer(1, "t")], per_task=1, pending_ids=()) == [None]


class TestPatternCap:
    def test_no_pattern_takes_more_than_its_share(self) -> None:
        # the fourth "p" would be 4 of 7: more than half.
        new = [critique(n, "q") for n in range(3)] + [critique(n, "p") for n in range(3, 7)]
        assert (
            refusals(new, pattern_share=0.5, pattern_least=1)
            == [None, "pattern_cap", "pattern_cap", None] + ["pattern_cap"] * 3
        )

    def test_a_pattern_may_always_have_a_few(self) -> None:
        new = [critique(number) for number in range(6)]
        assert refusals(new, pattern_share=0.1) == [None] * 4 + ["pattern_cap"] * 2

    def test_answers_have_no_pattern(self) -> None:
        assert refusals([answer(n) for n in range(9)], pattern_share=0.01, pattern_least=1) == [None] * 9


def test_an_index_that_is_kept_between_calls_gives_the_same_result() -> None:
    first, second = [answer(1), critique(2)], [answer(1, round=2), critique(3), answer(4)]
    index = Duplicates(0.8)
    refusals(first, duplicates=index)
    assert refusals(second, first, duplicates=index) == refusals(second, first)


examples = st.one_of(
    st.builds(answer, st.integers(0, 20), st.sampled_from(["t", "u", "v"]), st.integers(1, 3)),
    st.builds(critique, st.integers(0, 20), st.sampled_from(["p", "q", "r"]), st.sampled_from(["t", "u", "v"])),
)


@given(st.lists(examples, max_size=15), st.integers(1, 4), st.floats(0.05, 1), st.integers(1, 4))
def test_caps_hold_and_nothing_is_lost(new: list[Example], per_task: int, share: float, least: int) -> None:
    accepted, refused = curate(
        new,
        [],
        overlap=overlap_index([]),
        duplicate_similarity=0.8,
        max_example_tokens=1024,
        per_task=per_task,
        pattern_share=share,
        pattern_least=least,
    )
    assert len(accepted) + len(refused) == len(new)
    critiques = [example for example in accepted if example.kind == "critique"]
    for task_id in "tuv":
        assert sum(example.task_id == task_id for example in accepted) <= per_task
    for pattern in "pqr":
        assert sum(example.pattern == pattern for example in critiques) <= max(least, share * len(critiques))
    assert len({example.id for example in accepted}) == len(accepted)


class TestReady:
    @pytest.mark.parametrize(
        ("count", "age_s", "ended", "is_ready"),
        [
            (8, 0.0, False, True),
            (7, 0.0, False, False),
            (7, 60.0, False, True),
            (7, 59.9, False, False),
            (3, 0.0, True, True),
            (2, 99.0, True, False),
            (0, 0.0, True, False),
        ],
    )
    def test_a_batch_is_cut_when_full_or_when_its_time_or_round_is_over(
        self, count: int, age_s: float, ended: bool, is_ready: bool
    ) -> None:
        assert ready(count, age_s, ended, size=8, min_size=3, max_age_s=60.0) is is_ready


Mode = Literal["restart", "continue"]


def batch(
    new: list[Example],
    earlier: list[Example],
    *,
    mode: Mode = "restart",
    share: float = 0.25,
    seed: int = 0,
    critiques: Critiques = "all",
) -> tuple[list[Example], int]:
    chosen, replayed = cut_batch(new, earlier, replay_share=share, mode=mode, rng=Random(seed), critiques=critiques)
    return list(chosen), replayed


class TestBatch:
    def test_restart_takes_everything_current(self) -> None:
        assert batch([answer(1)], [answer(2), critique(3)]) == ([answer(1), answer(2), critique(3)], 2)

    @pytest.mark.parametrize("mode", ["restart", "continue"])
    def test_a_new_answer_takes_the_place_of_an_earlier_one_to_its_task(self, mode: Mode) -> None:
        assert batch([answer(2, "t", 2)], [answer(1, "t")], mode=mode, share=1.0) == ([answer(2, "t", 2)], 0)

    def test_of_several_new_answers_to_one_task_the_last_counts(self) -> None:
        assert batch([answer(1, "t"), answer(2, "t", 2)], []) == ([answer(2, "t", 2)], 0)

    @pytest.mark.parametrize("mode", ["restart", "continue"])
    def test_a_reference_gives_way_to_the_policys_own_answer_whichever_came_first(self, mode: Mode) -> None:
        own, before, after = answer(1, "t", 2), answer(2, "t", 1, "reference"), answer(3, "t", 3, "reference")
        for earlier in ([before, own], [own, before]):
            assert batch([after], earlier, mode=mode, share=1.0) == ([own], 1)
        assert batch([own, after], [before], mode=mode, share=1.0) == ([own], 0)
        assert batch([after], [before], mode=mode, share=1.0) == ([after], 0)

    def test_where_every_answer_counts_a_task_keeps_all_of_them(self) -> None:
        new, earlier = [answer(2, "t", 2), answer(3, "t", 2)], [answer(1, "t")]
        cut = cut_batch(new, earlier, replay_share=0.0, mode="restart", rng=Random(0), every_answer=True)
        assert cut == ((*new, *earlier), 1)

    def test_critiques_all_stay(self) -> None:
        both = [critique(1, task_id="t"), critique(2, task_id="t", version=1)]
        assert batch([answer(3, "t")], both) == ([answer(3, "t"), *both], 2)

    def test_of_a_tasks_critiques_those_of_the_latest_version_can_be_taken_alone(self) -> None:
        before, other = critique(1, task_id="t"), critique(2, task_id="u")
        today = [critique(3, task_id="t", version=1), critique(4, task_id="t", version=1)]
        assert batch([answer(5, "t"), *today], [before, other], critiques="latest") == (
            [answer(5, "t"), *today, other],
            1,
        )
        assert batch([answer(5, "t")], [*today, before], critiques="latest") == ([answer(5, "t"), *today], 2)
        assert batch([before, *today], [], critiques="latest") == (today, 0)

    def test_the_latest_critiques_say_nothing_about_answers(self) -> None:
        earlier = [answer(1, "t"), critique(2, task_id="t")]
        assert batch([critique(3, task_id="t", version=1)], earlier, critiques="latest")[0][1:] == [answer(1, "t")]

    def test_continue_adds_a_share_of_earlier_answers(self) -> None:
        earlier = [answer(number) for number in range(20, 30)] + [critique(31)]
        chosen, replayed = batch([answer(number) for number in range(6)], earlier, mode="continue")
        assert replayed == 2  # 2 of 8 are a quarter
        assert all(example.kind == "answer" and example in earlier for example in chosen[6:])

    def test_continue_without_replay_takes_the_new_ones_alone(self) -> None:
        assert batch([answer(1)], [answer(2)], mode="continue", share=0.0) == ([answer(1)], 0)

    def test_replay_takes_no_more_than_there_is(self) -> None:
        assert batch([answer(1), answer(2)], [answer(3)], mode="continue", share=0.9)[1] == 1

    def test_the_seed_decides_what_is_replayed(self) -> None:
        new, earlier = [answer(n) for n in range(6)], [answer(n) for n in range(20, 40)]
        cuts = [batch(new, earlier, mode="continue", seed=seed)[0] for seed in (1, 1, 2)]
        assert cuts[0] == cuts[1] != cuts[2]

    @given(
        st.lists(examples, max_size=8),
        st.lists(examples, max_size=8),
        st.sampled_from(["restart", "continue"]),
        st.floats(0, 1),
        st.integers(),
    )
    def test_no_example_is_there_twice_and_no_task_has_two_answers(
        self, new: list[Example], earlier: list[Example], mode: Mode, share: float, seed: int
    ) -> None:
        chosen, replayed = batch(new, earlier, mode=mode, share=share, seed=seed)
        assert len({example.id for example in chosen}) == len(chosen)
        answered = [example.task_id for example in chosen if example.kind == "answer"]
        assert len(set(answered)) == len(answered)
        assert {example.id for example in chosen[: len(chosen) - replayed]} <= {example.id for example in new}
        assert {example.id for example in chosen[len(chosen) - replayed :]} <= {example.id for example in earlier}
