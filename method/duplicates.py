"""Exact and near duplicates among examples.

Exact: the same turns. Near: MinHash over runs of three code tokens, candidates confirmed by the exact Jaccard
similarity of the runs, so the sketch can only miss, never invent. Compared within one kind of example: an `answer` by
its code, a `critique` by the bad code and the mended code. An answer that the same task gave in an earlier round is
no near duplicate where the new one takes its place (`supersede`).
"""

# datasketch ships partial annotations.
# pyright: reportUnknownMemberType=false

import io
import tokenize
from collections.abc import Sequence
from functools import lru_cache

from datasketch import MinHash, MinHashLSH

from protocols.identity import content_hash
from protocols.records import Example

_RUN = 3
"""Tokens per run: one changed operator in a one-line function must count for more than one token in ten."""
_PERMUTATIONS = 128
_SKETCH_MARGIN = 0.15
"""How much lower than the wanted similarity the sketch already looks, so that it seldom misses."""
_SILENT = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


def code_tokens(code: str) -> tuple[str, ...]:
    """Return the tokens of `code` without comments and layout; its words when it cannot be tokenised."""
    try:
        tokens = [token for token in tokenize.generate_tokens(io.StringIO(code).readline) if token.type not in _SILENT]
    except (tokenize.TokenError, SyntaxError, ValueError):
        return tuple(code.split())
    return tuple(token.string for token in tokens)


def similarity(left: str, right: str) -> float:
    """Return the Jaccard similarity of two codes' runs of tokens, in [0, 1]."""
    return _jaccard(_runs(left), _runs(right))


def sketch(runs: frozenset[str]) -> MinHash:
    """Return the MinHash of a set of runs; two sketches estimate the sets' Jaccard similarity."""
    made = MinHash(num_perm=_PERMUTATIONS, seed=1)
    made.update_batch([run.encode() for run in sorted(runs)])
    return made


class Duplicates:
    """The examples seen so far, searchable by likeness."""

    def __init__(self, threshold: float, seen: Sequence[Example] = (), *, supersede: bool = True) -> None:
        """Look for similarities of `threshold` (above 0, at most 1) or more; `supersede` as the module says."""
        self._threshold = threshold
        self._supersede = supersede
        self._sketches = {kind: _sketch_index(threshold) for kind in ("answer", "critique")}
        self._seen: dict[str, tuple[Example, frozenset[str]]] = {}
        self._turns: set[str] = set()
        for example in seen:
            self.add(example)

    def add(self, example: Example) -> None:
        """Remember `example`; a second one of the same id is left out."""
        if example.id in self._seen:
            return
        runs = _runs(_taught(example))
        self._seen[example.id] = (example, runs)
        self._turns.add(_turns(example))
        self._sketches[example.kind].insert(example.id, sketch(runs))

    def is_exact(self, example: Example) -> bool:
        """Whether the same turns, or the same id, were seen."""
        return example.id in self._seen or _turns(example) in self._turns

    def near(self, example: Example) -> str | None:
        """Return the id of a similar example that was seen; None when there is none."""
        runs = _runs(_taught(example))
        found = map(str, self._sketches[example.kind].query(sketch(runs)))
        for seen_id in sorted(found):
            other, others = self._seen[seen_id]
            replaced = self._supersede and _superseded(other, example)
            if not replaced and _jaccard(runs, others) >= self._threshold:
                return seen_id
        return None


def _superseded(old: Example, new: Example) -> bool:
    return old.kind == new.kind == "answer" and old.task_id == new.task_id and old.round < new.round


def _taught(example: Example) -> str:
    if example.kind == "answer":
        return example.code
    bad = next((message.content for message in example.messages if message.role == "assistant"), "")
    return f"{_without_fence(bad)}\n{example.code}"


def _without_fence(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("```"))


def _turns(example: Example) -> str:
    return content_hash("\x1f".join(f"{message.role}\x1e{message.content}" for message in example.messages))


def _runs(code: str) -> frozenset[str]:
    tokens = code_tokens(code)
    last = max(1, len(tokens) - _RUN + 1)
    return frozenset("\x1f".join(tokens[i : i + _RUN]) for i in range(last))


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / len(left | right)


def _sketch_index(threshold: float) -> MinHashLSH:
    return MinHashLSH(num_perm=_PERMUTATIONS, params=_bands(max(0.1, threshold - _SKETCH_MARGIN)))


@lru_cache
def _bands(threshold: float) -> tuple[int, int]:
    """Return bands and rows for a threshold: datasketch integrates for tens of milliseconds to find them."""
    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
    return int(index.b), int(index.r)
