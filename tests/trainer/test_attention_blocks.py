"""Blocks hold every query once, keys in whole tiles, and hide exactly what a query does not see."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.attention_blocks import QUERIES, TILE, blocks_of, rows_of
from trainer.token_tree import Segment, lay_out

LENGTHS = st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.integers(1, 90)), min_size=1, max_size=4)
"""Of sequences: whether they begin as the first one does, for how long, and how long they go on."""


@given(LENGTHS, st.none() | st.integers(1, 50))
def test_a_query_sees_its_context_and_itself_and_within_the_window(
    lengths: list[tuple[bool, int, int]], window: int | None
) -> None:
    sequences = [
        [*(range(shared) if begins else ()), *range(1000 * number, 1000 * number + own)]
        for number, (begins, shared, own) in enumerate(lengths, start=1)
    ]
    segments = lay_out(sequences, least_shared=2).segments
    seen: dict[int, list[int]] = {}
    for segment in segments:
        before = [place for run in segment.context for place in range(*run)]
        for query in range(segment.start, segment.stop):
            seen[query] = [*before, *range(segment.start, query + 1)]
    found: dict[int, list[int]] = {}
    for block in blocks_of(segments, window, torch.float32):
        keys = torch.cat([torch.arange(*run) for run in block.keys])
        assert all(place % TILE == 0 for run in block.keys for place in run)
        assert len(keys.unique()) == len(keys)
        assert int(keys.max()) < rows_of(segments[-1].stop)
        for query, row in zip(range(block.start, block.stop), block.mask, strict=True):
            assert query not in found
            found[query] = keys[row == 0.0].tolist()
    assert found == {query: places[-window:] if window else places for query, places in seen.items()}


def test_long_segments_are_several_blocks_whose_keys_end_with_their_queries() -> None:
    blocks = blocks_of((Segment(0, 2 * QUERIES + 5),), None, torch.float32)
    assert [(block.start, block.stop) for block in blocks] == [
        (0, QUERIES), (QUERIES, 2 * QUERIES), (2 * QUERIES, 2 * QUERIES + 5),
    ]  # fmt: skip
    assert [block.keys for block in blocks] == [((0, rows_of(block.stop)),) for block in blocks]
