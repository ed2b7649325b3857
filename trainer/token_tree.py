"""Examples laid out in one row without padding, what they have in common at their beginning only once.

A row is a tree of segments: each is a run of tokens that goes on from the segments before it, its context. Examples of
one task share their user turn, and all examples of a model its system turn; what a token's hidden state is depends on
the tokens before it alone, so sharing is exact. Pure rules.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

LEAST_SHARED_TOKENS = 16
"""A shorter common beginning is laid out again each time: one more segment costs about as much."""


class Segment(NamedTuple):
    """A run of tokens of a row."""

    start: int
    stop: int
    context: tuple[tuple[int, int], ...] = ()
    """The runs of tokens that it goes on from, each from start to stop, in the order of the text."""

    @property
    def offset(self) -> int:
        """Tokens of the text before this segment."""
        return sum(stop - start for start, stop in self.context)


class TokenTree(NamedTuple):
    """A row's layout."""

    ids: tuple[int, ...]
    segments: tuple[Segment, ...]
    places: tuple[tuple[int, ...], ...]
    """For each sequence, in the order in which they were given: where each of its tokens stands in `ids`."""

    @property
    def positions(self) -> list[int]:
        """For each token of `ids`, how many tokens of its text stand before it."""
        return [at for segment in self.segments for at in range(segment.offset, segment.offset + _length(segment))]


class _Branch(NamedTuple):
    """Sequences, by index, that agree in their first `depth` tokens, which are already laid out."""

    members: list[int]
    depth: int
    context: tuple[tuple[int, int], ...]


def lay_out(sequences: Sequence[Sequence[int]], least_shared: int = LEAST_SHARED_TOKENS) -> TokenTree:
    """Return the layout of `sequences`, none of them empty.

    Args:
        sequences: token ids.
        least_shared: tokens that sequences must have in common for these to be laid out once.
    """
    ids: list[int] = []
    segments: list[Segment] = []
    places: list[list[int]] = [[] for _ in sequences]
    order = sorted(range(len(sequences)), key=lambda index: tuple(sequences[index]))
    branches = [_Branch(order, 0, ())]
    while branches:
        branch = branches.pop()
        for members, shared in _parts(sequences, branch, least_shared):
            piece = sequences[members[0]][branch.depth : shared]
            segment = Segment(len(ids), len(ids) + len(piece), branch.context)
            ids += piece
            segments.append(segment)
            for member in members:
                places[member] += range(segment.start, segment.stop)
            longer = [member for member in members if len(sequences[member]) > shared]
            if longer:
                branches.append(_Branch(longer, shared, (*branch.context, (segment.start, segment.stop))))
    return TokenTree(tuple(ids), tuple(segments), tuple(map(tuple, places)))


def _parts(sequences: Sequence[Sequence[int]], branch: _Branch, least_shared: int) -> Iterator[tuple[list[int], int]]:
    """Yield the branch's members, split into those that share enough more, with the depth to which they do.

    Members are sorted, so those that agree stand side by side.
    """
    part = branch.members[:1]
    shared = len(sequences[part[0]])
    for member in branch.members[1:]:
        common = min(shared, _agreement(sequences[part[-1]], sequences[member], branch.depth))
        if common - branch.depth >= least_shared:
            part.append(member)
            shared = common
        else:
            yield part, shared
            part, shared = [member], len(sequences[member])
    yield part, shared


def _agreement(left: Sequence[int], right: Sequence[int], begin: int) -> int:
    """Return how many of their first tokens are equal, given that `begin` are."""
    at = begin
    while at < min(len(left), len(right)) and left[at] == right[at]:
        at += 1
    return at


def _length(segment: Segment) -> int:
    return segment.stop - segment.start
