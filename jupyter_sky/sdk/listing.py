"""Rows with a look: a list that a terminal, a notebook and a program can each use.

A `Listing` is a plain list of the rows a flow returned, so `len`, indexing, loops and
`pd.DataFrame(listing)` work; its columns say how a row looks as text or HTML. It knows no flow, and asks
nothing.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Generic, Protocol, TypeVar

from jupyter_sky.sdk.text import GAP, TONES, Align, Tone, table, width_of

T = TypeVar("T")


class Printer(Protocol):
    """The part of IPython's pretty printer that is used here."""

    def text(self, obj: str) -> None:
        """Write a text."""


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column: its head line, what it says of a row, and its side.

    `wide`: only a wide table has it. `spare`: a terminal too narrow for it goes without it, rather than with
    the beginnings of every other cell.
    """

    header: str
    cell: Callable[[T], str]
    align: Align = "left"
    wide: bool = False
    spare: bool = False


#: The terminal columns that a spare column is worth showing in.
_SPARE_ROOM = 12


#: Styles that hold in light and dark themes: no colour of our own except the frontend's variables.
_STYLE = "border-collapse:collapse;font-variant-numeric:tabular-nums;"
_CELL = "padding:2px 12px 2px 0;text-align:{align};border:none;white-space:nowrap;vertical-align:top;"
_HEAD = (
    _CELL
    + "font-weight:600;opacity:.75;border-bottom:1px solid var(--jp-border-color2,rgba(128,128,128,.4));"
)
#: The frontend's own colour of each tone, and one for frontends that have none.
_COLOURS: dict[Tone, str] = {
    "good": "var(--jp-success-color1,#2e9d55)",
    "busy": "var(--jp-info-color1,#2a8fbd)",
    "ended": "var(--jp-warn-color1,#c47f17)",
    "bad": "var(--jp-error-color1,#d64545)",
}


class Listing(list[T]):
    """Rows and how they look.

    Parameters
    ----------
    rows
        What a flow returned.
    columns
        How a row looks.
    empty
        What is said where there are no rows.
    before, after
        Lines above and below the table.
    wide
        Whether the columns for wide tables are shown.
    """

    def __init__(
        self,
        rows: Iterable[T],
        columns: Sequence[Column[T]],
        *,
        empty: str = "Nothing to show.",
        before: Sequence[str] = (),
        after: Sequence[str] = (),
        wide: bool = False,
    ) -> None:
        super().__init__(rows)
        self.columns = [column for column in columns if wide or not column.wide]
        self.empty = empty
        self.before = list(before)
        self.after = list(after)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Give the rows as JSON objects, with every field and not only those the table shows."""
        return [to_dict(row) for row in self]

    def to_dataframe(self) -> Any:
        """Give the rows as a pandas DataFrame; `pd.DataFrame(listing)` does the same."""
        import pandas as pd  # type: ignore[import-untyped] # optional, and its types are a package of their own

        return pd.DataFrame(self.to_dicts())

    def to_text(self, *, width: int | None = None, colour: bool = False, mark: str = "…") -> str:
        """Give the table as text; see `jupyter_sky.sdk.text.table` for the parameters."""
        if not self:
            return "\n".join([*self.before, self.empty, *self.after])
        columns = self.columns if width is None else self._with_room(width)
        rows = [[column.cell(row) for column in columns] for row in self]
        headers = [column.header for column in columns]
        aligns = [column.align for column in columns]
        body = table(headers, rows, aligns=aligns, width=width, colour=colour, mark=mark)
        return "\n".join([*self.before, body, *self.after])

    def _with_room(self, width: int) -> list[Column[T]]:
        """Give the columns without the spare ones for which there is no room."""
        room = width
        for column in self.columns:
            cells = [column.header, *(column.cell(row) for row in self)]
            room -= len(GAP) + (_SPARE_ROOM if column.spare else max(map(width_of, cells)))
        fits = room + len(GAP) >= 0
        return [column for column in self.columns if fits or not column.spare]

    def __str__(self) -> str:
        return self.to_text()

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        printer.text("…" if cycle else self.to_text())

    def _repr_html_(self) -> str:
        above, below = (
            "".join(f"<div>{html.escape(line)}</div>" for line in part) for part in (self.before, self.after)
        )
        if not self:
            return f"{above}<div>{html.escape(self.empty)}</div>{below}"
        head = "".join(
            f'<th style="{_HEAD.format(align=column.align)}">{html.escape(column.header)}</th>'
            for column in self.columns
        )
        rows = "".join(
            "<tr>" + "".join(_td(column, row) for column in self.columns) + "</tr>" for row in self
        )
        return (
            f'{above}<table class="jupyter-sky-table" style="{_STYLE}">'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{below}"
        )


def _td(column: Column[T], row: T) -> str:
    text = column.cell(row)
    style = _CELL.format(align=column.align)
    if text in TONES:
        style += f"color:{_COLOURS[TONES[text]]};font-weight:600;"
    return f'<td style="{style}">{html.escape(text)}</td>'


def to_dict(row: object) -> dict[str, Any]:
    """Give one row as a JSON object, whatever kind of record it is."""
    if isinstance(row, Mapping):
        return dict(row)
    own: Callable[[], dict[str, Any]] | None = getattr(row, "to_dict", None)
    if own is not None:
        return own()
    if is_dataclass(row) and not isinstance(row, type):
        return asdict(row)
    raise TypeError(f"{type(row).__name__} is not a row")
