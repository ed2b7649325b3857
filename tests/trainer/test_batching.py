"""Every example is trained on once an epoch, passes are few and even, and the order depends on the seed alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.batching import micro_batches, optimiser_batches
from trainer.schedule import rate_share

LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=40)


@given(st.integers(1, 200), st.integers(1, 32), st.integers(), st.integers(0, 5))
def test_an_epoch_holds_every_example_once_in_even_batches(count: int, size: int, seed: int, epoch: int) -> None:
    batches = optimiser_batches(count, size, seed, epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(count))
    assert len(batches) == -(-count // size)
    assert max(map(len, batches)) - min(map(len, batches)) <= 1
    assert batches == optimiser_batches(count, size, seed, epoch)


def test_epochs_and_seeds_differ_in_order() -> None:
    orders = {str(optimiser_batches(50, 8, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def within(lengths: list[int], limit: int, lanes: int = 1) -> list[list[int]]:
    """Return the groups of `lengths` that have at most `limit` tokens each."""
    return micro_batches(lengths, lambda group: sum(lengths[index] for index in group) <= limit, lanes)


@given(LENGTHS, st.integers(1, 2000), st.integers(1, 3))
def test_micro_batches_hold_every_example_once_within_the_limit(lengths: list[int], limit: int, lanes: int) -> None:
    groups = within(lengths, limit, lanes)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or sum(lengths[index] for index in group) <= limit


def test_micro_batches_are_about_equal_in_tokens() -> None:
    groups = within([400, 100, 100, 400, 100, 300], 800)
    assert sorted(sum([400, 100, 100, 400, 100, 300][index] for index in group) for group in groups) == [700, 700]


@pytest.mark.parametrize(("limit", "count"), [(1000, 2), (500, 2), (400, 4), (250, 6)])
def test_lanes_are_all_busy_to_the_end(limit: int, count: int) -> None:
    assert len(within([100] * 10, limit, lanes=2)) == count


def test_there_are_no_more_passes_than_examples() -> None:
    assert within([100, 100, 100], 100, lanes=2) == [[0], [1], [2]]


def test_what_fits_into_one_pass_goes_in_one() -> None:
    assert within([20, 22, 24], 66) == [[0, 1, 2]]


@given(st.integers(1, 300), st.floats(0, 1))
def test_the_learning_rate_stays_between_nothing_and_all_and_falls_after_its_rise(steps: int, warmup: float) -> None:
    shares = [rate_share(step, steps, warmup) for step in range(steps)]
    assert all(0 < share <= 1 for share in shares)
    top = shares.index(max(shares))
    assert shares[: top + 1] == sorted(shares[: top + 1])
    assert shares[top:] == sorted(shares[top:], reverse=True)
