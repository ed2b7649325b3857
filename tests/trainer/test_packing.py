"""Every example is whole in its row, beginnings in common are there once, and loss lies where it did."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.attention_blocks import TILE
from trainer.packing import make_micro_batch, packed
from trainer.rendering import Rendered
from trainer.token_tree import LEAST_SHARED_TOKENS, lay_out

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=8)
CPU = torch.device("cpu")


@given(SEQUENCES, st.integers(1, 5))
def test_every_sequence_can_be_read_off_the_row(sequences: list[list[int]], least: int) -> None:
    tree = lay_out(sequences, least)
    for sequence, places in zip(sequences, tree.places, strict=True):
        assert [tree.ids[place] for place in places] == sequence
        assert [tree.positions[place] for place in places] == list(range(len(sequence)))


@given(SEQUENCES, st.integers(1, 5))
def test_the_context_of_a_token_is_what_stands_before_it(sequences: list[list[int]], least: int) -> None:
    tree = lay_out(sequences, least)
    visible = {
        at: [*(place for start, stop in segment.context for place in range(start, stop)), *range(segment.start, at + 1)]
        for segment in tree.segments
        for at in range(segment.start, segment.stop)
    }
    assert sorted(visible) == list(range(len(tree.ids))), "segments cover the row once"
    for places in tree.places:
        for index, place in enumerate(places):
            assert visible[place] == list(places[: index + 1])


def test_a_beginning_in_common_is_laid_out_once_however_deep() -> None:
    tree = lay_out([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [1, 2, 7]], least_shared=2)
    assert len(tree.ids) == 2 + 2 + 1 + 1 + 1


def test_a_short_beginning_is_laid_out_again() -> None:
    assert len(lay_out([[1, 2, 3], [1, 2, 4]], least_shared=3).ids) == 6


def test_one_place_may_have_several_targets() -> None:
    left = Rendered((1, 2, 3, 4), (False, False, True, True))
    right = Rendered((1, 2, 5), (False, False, True))
    batch = make_micro_batch([left, right], CPU, least_shared=2)
    ids, positions = batch.input_ids[0].tolist(), batch.positions.tolist()
    assert [(ids[at], target) for at, target in zip(positions, batch.targets.tolist(), strict=True)] == [
        (2, 3), (3, 4), (2, 5),
    ]  # fmt: skip
    assert positions[0] == positions[2]
    assert batch.tokens == 3 + 2


@given(SEQUENCES)
def test_a_row_on_a_cpu_is_filled_up_behind_everything_that_counts(sequences: list[list[int]]) -> None:
    examples = [Rendered((*ids, 0), (False,) * len(ids) + (True,)) for ids in sequences]
    batch, tree = make_micro_batch(examples, CPU), lay_out(sequences)
    tokens = batch.input_ids.shape[1]
    assert tokens % TILE == 0
    assert tokens - len(tree.ids) < TILE
    assert batch.position_ids.shape[1] == batch.segments[-1].stop == tokens
    assert batch.input_ids[0, : len(tree.ids)].tolist() == list(tree.ids)
    assert int(batch.positions.max()) < len(tree.ids)
    assert int(batch.position_ids.max()) == max(tree.positions)


def test_a_beginning_in_common_counts_once_against_a_rows_limit() -> None:
    beginning = tuple(range(LEAST_SHARED_TOKENS))
    ends = ((100, 0), (200, 0), (300, 0))
    alike = [Rendered((*beginning, *end), (False,) * (len(beginning) + 1) + (True,)) for end in ends]
    tokens = len(beginning) + len(ends)
    assert packed(alike, tokens) == [[0, 1, 2]]
    assert len(packed(alike, tokens - 1)) == 2
