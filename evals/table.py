"""A report as text: coloured tables on a terminal, Markdown everywhere else, at most 120 columns wide."""

import textwrap
from collections.abc import Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.mistakes_sheets import mistakes_sheets
from evals.report_form import Report
from evals.sheets import Sheet, notes, sheets, version_sheet

WIDTH = 120
"""Columns, at most."""


def print_report(report: Report, stream: TextIO) -> None:
    """Write `report` to `stream`: tables when it is a terminal, Markdown otherwise."""
    print_sheets(_some_sheets(report), notes(report), stream)


def print_sheets(sheets: Sequence[Sheet], notes: Sequence[str], stream: TextIO) -> None:
    """Write one or more `sheets` to `stream`, the `notes` below the first: coloured on a terminal, else Markdown."""
    if not stream.isatty():
        stream.write(markdown_sheets(sheets, notes))
        return
    terminal = Console(file=stream)
    console = Console(file=stream, width=min(WIDTH, terminal.width), highlight=False)
    first, *others = sheets
    console.print(_rich_table(first))
    for note in notes:
        console.print(escape(note))
    for sheet in others:
        console.print("", _rich_table(sheet), sep="\n")


def markdown(report: Report) -> str:
    """Return `report` as Markdown that can be read as it stands."""
    return markdown_sheets(_some_sheets(report), notes(report))


def markdown_sheets(sheets: Sequence[Sheet], notes: Sequence[str]) -> str:
    """Return one or more `sheets` as Markdown, the `notes` below the first."""
    first, *others = sheets
    reasons = "\n".join(textwrap.fill(f"- {note}", WIDTH, subsequent_indent="  ") for note in notes)
    parts = (_markdown_sheet(first), reasons, *map(_markdown_sheet, others))
    return "\n\n".join(part for part in parts if part) + "\n"


def _some_sheets(report: Report) -> tuple[Sheet, ...]:
    """Return the sheets to show, the one of the versions first, even when it is empty."""
    first = version_sheet(report)
    others = [*sheets(report), *mistakes_sheets(report)]
    return (first, *(sheet for sheet in others if sheet.rows and sheet.title != first.title))


def _markdown_sheet(sheet: Sheet) -> str:
    caption = textwrap.fill(sheet.caption, WIDTH)
    return "\n\n".join(part for part in (f"## {sheet.title}", _markdown_table(sheet), caption) if part)


def _markdown_table(sheet: Sheet) -> str:
    cells = [tuple(cell.replace("|", "\\|") for cell in row) for row in (sheet.columns, *sheet.rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(sheet.columns))]
    rule = "|".join([f" {'-' * widths[0]} ", *(f" {'-' * (width - 1)}: " for width in widths[1:])])
    lines = [_markdown_row(row, widths) for row in cells]
    return "\n".join((lines[0], f"|{rule}|", *lines[1:]))


def _markdown_row(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return f"| {' | '.join(cells)} |"


def _rich_table(sheet: Sheet) -> Table:
    table = Table(title=sheet.title, title_justify="left", box=SIMPLE_HEAD, padding=0, caption_justify="left")
    table.caption = escape(sheet.caption) or None
    for number, column in enumerate(sheet.columns):
        # On a narrow terminal, intervals and names may go on in the next line; figures may not.
        whole = not any(" " in row[number] for row in sheet.rows) and number > 0
        table.add_column(escape(column), justify="right" if number else "left", overflow="fold", no_wrap=whole)
    for row in sheet.rows:
        table.add_row(*map(escape, row))
    return table
