"""The report as one HTML file: tables, and the picture inside it, so that it can be sent around."""

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
th, td { padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #e3e8ee; text-align: left;
         font-variant-numeric: tabular-nums; vertical-align: top }
table.numbers td:not(:first-child), table.numbers th:not(:first-child) { text-align: right }
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table to print and to write; `is_text` has no columns of numbers to align."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_text: bool = False


def page(title: str, tables: Sequence[Table], picture: Path) -> str:
    """Return the page, with the picture embedded."""
    encoded = base64.b64encode(picture.read_bytes()).decode()
    image = f'<img alt="Arrivals, admissions, seats and p99" src="data:image/png;base64,{encoded}">'
    parts = [tables[0], *tables[1:]]
    body = [_table(parts[0]), f"<h2>Over time</h2>{image}", *map(_table, parts[1:])]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{''.join(body)}</body></html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    kind = "text" if table.is_text else "numbers"
    heading = f"<h2>{escape(table.title)}</h2>"
    return f'{heading}<table class="{kind}"><tr>{head}</tr>{rows}</table>'
