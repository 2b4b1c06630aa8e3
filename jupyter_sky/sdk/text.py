"""Plain aligned tables, for terminals and for `str()`.

Written here because a table of a thousand rows must cost milliseconds, which rich does not manage. It knows
no row type and no terminal: it is given cells, a width and whether it may use colour.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Align = Literal["left", "right"]

#: What stands between two columns.
GAP = "  "
_NARROWEST = 6
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Tone = Literal["good", "busy", "ended", "bad"]

#: What the words that tables colour mean, in a terminal and in a notebook; other words stay as they are.
TONES: dict[str, Tone] = {
    **dict.fromkeys(("UP", "RUNNING", "SUCCEEDED", "READY", "enabled", "✔"), "good"),
    **dict.fromkeys(("INIT", "PENDING", "SETTING_UP", "STARTING", "RECOVERING", "AUTOSTOPPING"), "busy"),
    **dict.fromkeys(("STOPPED", "CANCELLED", "CANCELLING", "INTERRUPTED", "disabled"), "ended"),
    **dict.fromkeys(("FAILED", "FAILED_SETUP", "FAILED_DRIVER"), "bad"),
}
#: The SGR code of each tone.
_CODES: dict[Tone, str] = {"good": "32", "busy": "36", "ended": "33", "bad": "31"}


def width_of(text: str) -> int:
    """Give the number of terminal columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def cut(text: str, width: int, mark: str = "…") -> str:
    """Shorten a text to `width` columns, ending in `mark` where something was left out."""
    if width_of(text) <= width:
        return text
    kept, room = "", width - width_of(mark)
    for char in text:
        room -= width_of(char)
        if room < 0:
            break
        kept += char
    return kept + mark


def one_line(text: str) -> str:
    """Replace what would break a table or drive the terminal (newlines, escapes) by spaces."""
    return _CONTROL.sub(" ", text)


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    aligns: Sequence[Align] | None = None,
    width: int | None = None,
    colour: bool = False,
    mark: str = "…",
) -> str:
    """Lay out cells in aligned columns, two spaces apart; no line ends in a space.

    Parameters
    ----------
    headers, rows
        The cells. Control characters in them become spaces.
    aligns
        `left` (the default) or `right` for each column.
    width
        The columns of the terminal; the widest columns are cut until the table fits. None: never cut.
    colour
        Whether known states are coloured.
    mark
        What ends a cell that was cut.
    """
    aligns = aligns or ["left"] * len(headers)
    cells = [[one_line(cell) for cell in row] for row in rows]
    columns = list(zip(headers, *cells, strict=True))
    widths = [max(map(width_of, column)) for column in columns]
    if width is not None:
        _narrow(widths, [width_of(header) for header in headers], width)
    lines = [_line(headers, widths, aligns, mark)]
    lines.extend(_line(row, widths, aligns, mark, colour=colour) for row in cells)
    if colour:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    return "\n".join(lines)


def _narrow(widths: list[int], headers: list[int], width: int) -> None:
    """Take columns away from the widest cells, one by one, as long as that is needed and bearable."""
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    while excess > 0:
        slack = [have - max(_NARROWEST, header) for have, header in zip(widths, headers, strict=True)]
        candidates = [index for index, room in enumerate(slack) if room > 0]
        if not candidates:
            return
        widest = max(candidates, key=lambda index: widths[index])
        widths[widest] -= 1
        excess -= 1


def _line(
    cells: Sequence[str], widths: Sequence[int], aligns: Sequence[Align], mark: str, *, colour: bool = False
) -> str:
    parts = []
    for cell, width, align in zip(cells, widths, aligns, strict=True):
        text = cut(cell, width, mark)
        pad = " " * (width - width_of(text))
        tone = TONES.get(cell) if colour else None
        shown = f"\x1b[{_CODES[tone]}m{text}\x1b[0m" if tone else text
        parts.append(pad + shown if align == "right" else shown + pad)
    return GAP.join(parts).rstrip()
