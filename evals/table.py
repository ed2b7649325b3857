"""A report as text: coloured tables on a terminal, Markdown everywhere else, at most 120 columns wide."""

import textwrap
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.report_form import Report
from evals.sheets import Sheet, notes, sheets

WIDTH = 120
"""Columns, at most."""


def print_report(report: Report, stream: TextIO) -> None:
    """Write `report` to `stream`: tables when it is a terminal, Markdown otherwise."""
    if not stream.isatty():
        stream.write(markdown(report))
        return
    terminal = Console(file=stream)
    console = Console(file=stream, width=min(WIDTH, terminal.width))
    for sheet in sheets(report):
        console.print(_rich_table(sheet))
    for note in notes(report):
        console.print(escape(note))


def markdown(report: Report) -> str:
    """Return `report` as Markdown that can be read as it stands."""
    first, *others = sheets(report) or (Sheet("Policy versions", ("version",), ()),)
    reasons = [textwrap.fill(f"- {note}", WIDTH, subsequent_indent="  ") for note in notes(report)]
    parts = [_markdown_table(first), *(["\n".join(reasons)] if reasons else []), *map(_markdown_table, others)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(sheet: Sheet) -> str:
    cells = [tuple(cell.replace("|", "\\|") for cell in row) for row in (sheet.columns, *sheet.rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(sheet.columns))]
    rule = "|".join([f" {'-' * widths[0]} ", *(f" {'-' * (width - 1)}: " for width in widths[1:])])
    lines = [_markdown_row(row, widths) for row in cells]
    return "\n".join((f"## {sheet.title}", "", lines[0], f"|{rule}|", *lines[1:]))


def _markdown_row(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return f"| {' | '.join(cells)} |"


def _rich_table(sheet: Sheet) -> Table:
    table = Table(title=sheet.title, title_justify="left", padding=(0, 1, 0, 0))
    for number, column in enumerate(sheet.columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in sheet.rows:
        table.add_row(*map(escape, row))
    return table
