"""The canary: what is served is what was trained, or the version is not used."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.canary import examine

BEFORE = ((-1.0, -2.0, -0.5), (-0.1, -3.0))
TRAINED = ((-0.8, -2.4, -0.4), (-0.3, -2.5))
NOISE = ((0.02, -0.03, 0.01), (0.01, -0.02))


def shifted(numbers: tuple[tuple[float, ...], ...], by: tuple[tuple[float, ...], ...], scale: float = 1.0):
    return tuple(
        tuple(n + scale * d for n, d in zip(row, delta, strict=True)) for row, delta in zip(numbers, by, strict=True)
    )


def constant(value: float) -> tuple[tuple[float, ...], ...]:
    return tuple((value,) * len(row) for row in BEFORE)


def test_the_trained_weights_pass() -> None:
    result = examine(TRAINED, TRAINED, BEFORE, BEFORE, 0.1)
    assert result.refusal is None
    assert result.difference == 0.0
    assert result.agreement == pytest.approx(1.0)


def test_the_trained_weights_pass_with_the_noise_of_another_engine() -> None:
    served, before = shifted(TRAINED, NOISE), shifted(BEFORE, NOISE, 0.9)
    assert examine(served, TRAINED, before, BEFORE, 0.1).refusal is None


def test_a_gentle_training_that_hides_below_the_noise_is_still_seen() -> None:
    trained = shifted(BEFORE, constant(0.004))
    served, before = shifted(trained, NOISE), shifted(BEFORE, NOISE)
    assert examine(served, trained, before, BEFORE, 0.1).refusal is None
    stale = examine(before, trained, before, BEFORE, 0.1)
    assert stale.refusal is not None
    assert "not in use" in stale.refusal


def test_numbers_too_far_off_are_refused() -> None:
    result = examine(shifted(TRAINED, constant(0.3)), TRAINED, BEFORE, BEFORE, 0.1)
    assert result.refusal is not None
    assert "differ from the trained ones by 0.3000" in result.refusal


def test_the_weights_of_the_version_before_are_refused_however_wide_the_tolerance() -> None:
    result = examine(BEFORE, TRAINED, BEFORE, BEFORE, 100.0)
    assert result.refusal is not None
    assert "not in use" in result.refusal


def test_weights_of_something_else_are_refused() -> None:
    other = shifted(BEFORE, ((-0.2, 0.4, -0.1), (0.2, -0.5)))
    result = examine(other, TRAINED, BEFORE, BEFORE, 100.0)
    assert result.refusal is not None
    assert "did not move as the trained ones did" in result.refusal


@pytest.mark.parametrize("place", ["served", "trained", "served_before", "trained_before"])
def test_what_is_not_a_number_is_refused(place: str) -> None:
    numbers = {"served": TRAINED, "trained": TRAINED, "served_before": BEFORE, "trained_before": BEFORE}
    numbers[place] = ((math.nan, *numbers[place][0][1:]), numbers[place][1])
    assert examine(**numbers, tolerance=0.1).refusal is not None


def test_numbers_of_another_shape_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="zip"):
        examine(TRAINED, TRAINED[:1], BEFORE, BEFORE, 0.1)
    with pytest.raises(ValueError, match="no tokens"):
        examine((), (), (), (), 0.1)


@given(st.lists(st.floats(-5, 0), min_size=3, max_size=12), st.floats(0.01, 1.0), st.integers(0, 2**32))
def test_the_right_weights_always_pass_and_stale_ones_never_do(before: list[float], size: float, seed: int) -> None:
    trained = [number - size * (1 + (seed >> place) % 2) for place, number in enumerate(before)]
    assert examine([trained], [trained], [before], [before], 0.02).refusal is None
    assert examine([before], [trained], [before], [before], 10.0).refusal is not None
