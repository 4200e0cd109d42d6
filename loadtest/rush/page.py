"""A table as text, and the report as one HTML file with its picture, so that it can be sent."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #1c2733; }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } img { max-width: 100% }
td { padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #e3e8ee; text-align: left;
         font-variant-numeric: tabular-nums; vertical-align: top }
table.numbers td:not(:first-child) { text-align: right }
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table to print and to write, with notes below it.

    `is_text` has no columns of numbers to align; a head of empty cells is left out.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_text: bool = False
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The head, unless it is empty, and the rows."""
        return [*([self.head] if any(self.head) else []), *self.rows]


def page(title: str, tables: Sequence[Table], picture: Path) -> str:
    """Return the page, with the picture embedded."""
    encoded = base64.b64encode(picture.read_bytes()).decode()
    alt = "Arrivals, admissions, seats, p99 and metrics of the service"
    image = f'<img alt="{alt}" src="data:image/png;base64,{encoded}">'
    first, *others = map(_table, tables)
    body = [first, f"<h2>Over time</h2>{image}", *others]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{''.join(body)}</body></html>\n"
    )


def text(table: Table) -> str:
    """Return a table as aligned lines."""
    widths = [max(map(len, column)) for column in zip(*table.lines, strict=True)]
    lines = []
    for row in table.lines:
        cells = [
            cell.ljust(width) if at == 0 or table.is_text else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([table.title, *(f"  {line}" for line in [*lines, *table.notes])])


def _table(table: Table) -> str:
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table.lines
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    kind = "text" if table.is_text else "numbers"
    heading = f"<h2>{escape(table.title)}</h2>"
    return f'{heading}<table class="{kind}">{rows}</table>{notes}'
