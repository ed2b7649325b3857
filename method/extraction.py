"""Code out of a response: fenced block, unclosed fence, or bare code.

Whatever stands in the chosen block stays as it is, tests and prints included. Invariant: the result is a stretch of
the response's own lines (dedented), never edited text. A block that does not parse is returned only when there is
nothing better, so that the sandbox reports its syntax error. REPL transcripts are not unpicked.
"""

import ast
import re
import textwrap

from method.parsing import bound_at_top, error_line, parse

_CODE_LINE = re.compile(
    r"""(async\s+)?def\s+\w+\s*\(        # strong signs: these alone make a text code
    | class\s+\w+\s*[(:]
    | import\s+\w[\w.]*(\s+as\s+\w+)?(\s*,.*)?$
    | from\s+[\w.]+\s+import\s
    | @\w+
    | print\s*\(
    | \w[\w.\[\], ]*\s*([-+*/%|&^]|//|\*\*|<<|>>)?=(?!=)   # from here on only together with a successful parse
    | (for|while|if|with|try)\b.*:\s*(\#.*)?$
    | \w[\w.]*\(.*\)\s*(\#.*)?$
    """,
    re.VERBOSE,
)
_STRONG_LINE = re.compile(
    r"(async\s+)?def\s+\w+\s*\(|class\s+\w+\s*[(:].*:?$|import\s+\w[\w.]*$|from\s+[\w.]+\s+import\s|print\s*\("
)
_TRIVIAL = (ast.Name, ast.Constant, ast.Attribute, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.Compare)

_UNPARSABLE, _TRIVIAL_RANK, _PROGRAM, _DEFINES = range(4)


def extract_code(text: str, entry_point: str | None) -> str | None:
    """Return the code that a response holds, or None when it is prose only.

    Args:
        text: the response as it came.
        entry_point: name that the code must define at top level; None for a program.

    Returns:
        The last complete block that defines the entry point; else code outside the blocks that does; else the last
        block that parses; else the last block.
    """
    blocks = _fenced(text)
    best = max(range(len(blocks)), key=lambda i: (_rank(blocks[i], entry_point), i), default=None)
    if best is not None and (entry_point is None or _rank(blocks[best], entry_point) == _DEFINES):
        return blocks[best]
    bare = _bare(_outside(text), entry_point)
    if best is None:
        return bare
    return bare if bare is not None and _rank(bare, entry_point) == _DEFINES else blocks[best]


def _rank(code: str, entry_point: str | None) -> int:
    tree = parse(code)
    if tree is None or not tree.body:
        return _UNPARSABLE
    if entry_point is not None and entry_point in bound_at_top(tree):
        return _DEFINES
    return _TRIVIAL_RANK if all(map(_is_trivial, tree.body)) else _PROGRAM


def _is_trivial(statement: ast.stmt) -> bool:
    """Whether a statement does nothing by itself: a sample output such as `5`, or a word of prose that parses."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None
    return isinstance(statement, ast.Expr) and isinstance(statement.value, _TRIVIAL)


def _is_fence(line: str) -> bool:
    return line.lstrip().startswith("```")


def _fenced(text: str) -> list[str]:
    blocks: list[str] = []
    lines: list[str] | None = None
    for line in text.splitlines():
        if not _is_fence(line):
            if lines is not None:
                lines.append(line)
        elif lines is None:
            lines = []
        else:
            blocks.append(_clean(lines))
            # A fence with a language closes nothing: it opens the next block after a forgotten end.
            lines = None if line.strip() == "```" else []
    if lines is not None:
        blocks.append(_without_prose(_clean(lines)))
    return [block for block in blocks if block.strip()]


def _clean(lines: list[str]) -> str:
    return textwrap.dedent("\n".join(lines)).strip("\n")


def _without_prose(code: str) -> str:
    """Cut what follows the code of an unclosed fence, when that makes it parse; never within a statement."""
    if parse(code) is not None:
        return code
    lines = code.splitlines()
    end = _longest_end(lines, 0, _boundaries(lines))
    return "\n".join(lines[:end]).rstrip() if end else code


def _outside(text: str) -> str:
    kept: list[str] = []
    inside = False
    for line in text.splitlines():
        if _is_fence(line):
            inside = not inside or line.strip() != "```"
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def _bare(text: str, entry_point: str | None) -> str | None:
    lines = textwrap.dedent(text).splitlines()
    runs = [run for run in _runs(lines) if _rank(run, entry_point) >= _PROGRAM]
    if runs:
        return max(runs, key=lambda run: (_rank(run, entry_point), run.count("\n")))
    start = next((i for i, line in enumerate(lines) if _STRONG_LINE.match(line)), None)
    return None if start is None else "\n".join(lines[start:]).rstrip()


def _runs(lines: list[str]) -> list[str]:
    """Return the stretches of lines that parse, each as long as it can be."""
    boundaries = _boundaries(lines)
    runs: list[str] = []
    done = 0
    for start in boundaries:
        if start < done or not _CODE_LINE.match(lines[start]):
            continue
        end = _longest_end(lines, start, boundaries)
        if end > start:
            runs.append(_without_last_words("\n".join(lines[start:end]).rstrip()))
            done = end
    return runs


def _boundaries(lines: list[str]) -> list[int]:
    """Return where a top-level statement may begin: the lines that are neither blank nor indented."""
    return [i for i, line in enumerate(lines) if line.strip() and not line[0].isspace()]


def _longest_end(lines: list[str], start: int, boundaries: list[int]) -> int:
    """Return the end of the longest stretch from `start` that parses and ends before a boundary or at the text's end.

    `start` itself when there is none. Each failed parse names the line at which it failed, so few tries are needed.
    """
    end = len(lines)
    while end > start:
        code = "\n".join(lines[start:end])
        if parse(code) is not None:
            return end
        limit = min(start + (error_line(code) or 1) - 1, end - 1)
        end = max((b for b in boundaries if start <= b <= limit), default=start)
    return start


def _without_last_words(code: str) -> str:
    """Cut prose that happens to parse (`Done`, `Note: this`) from the end of bare code."""
    tree = parse(code)
    body = list(tree.body) if tree else []
    while len(body) > 1 and _is_trivial(body[-1]):
        body.pop()
    return "\n".join(code.splitlines()[: body[-1].end_lineno]) if body else code
