import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.temperature import ladder


@pytest.mark.parametrize(
    ("temperatures", "candidates", "expected"),
    [
        ((0.8,), 8, ((0.8, 8),)),
        ((0.2, 0.4, 0.6), 8, ((0.2, 3), (0.4, 3), (0.6, 2))),
        ((0.6, 0.2), 3, ((0.2, 2), (0.6, 1))),
        ((0.2, 0.4, 0.6), 1, ((0.2, 1),)),
        ((0.8, 0.8), 2, ((0.8, 2),)),
        ((0.8,), 0, ()),
    ],
)
def test_candidates_spread_over_the_rungs(
    temperatures: tuple[float, ...], candidates: int, expected: tuple[tuple[float, int], ...]
) -> None:
    assert ladder(temperatures, candidates) == expected


def test_a_ladder_needs_a_temperature() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ladder((), 3)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=5), st.integers(0, 40))
def test_all_are_spread_evenly_and_cool_rungs_have_no_fewer(temperatures: list[float], candidates: int) -> None:
    rungs = ladder(temperatures, candidates)
    counts = [count for _, count in rungs]
    assert sum(counts) == candidates
    assert counts == sorted(counts, reverse=True)
    assert [t for t, _ in rungs] == sorted(t for t, _ in rungs)
    if candidates >= len(set(temperatures)):
        assert max(counts) - min(counts) <= 1
