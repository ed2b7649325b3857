from hypothesis import given
from hypothesis import strategies as st

from method.selection import select_for_critique

FOUR = [("a", "type@0"), ("b", "wrong_answer@1"), ("c", "type@0"), ("d", "syntax@0-2")]


def test_each_pattern_is_criticised_once_and_rare_ones_first() -> None:
    assert select_for_critique(FOUR, {"type@0": 9, "wrong_answer@1": 2}, 2) == ("d", "b")


def test_among_patterns_seen_equally_often_the_given_order_stands() -> None:
    assert select_for_critique(FOUR, {}, 5) == ("a", "b", "d")


def test_criticism_can_be_off() -> None:
    assert select_for_critique(FOUR, {}, 0) == ()


patterns = st.sampled_from(["p", "q", "r", "s"])


@given(
    st.dictionaries(st.integers(0, 30).map(str), patterns),
    st.dictionaries(patterns, st.integers(0, 9)),
    st.integers(0, 4),
)
def test_nothing_rarer_is_left_out(by_id: dict[str, str], seen: dict[str, int], per_task: int) -> None:
    chosen = [by_id[id] for id in select_for_critique(list(by_id.items()), seen, per_task)]
    left = set(by_id.values()) - set(chosen)
    assert len(set(chosen)) == len(chosen) == min(per_task, len(set(by_id.values())))
    assert all(seen.get(c, 0) <= seen.get(other, 0) for c in chosen for other in left)
