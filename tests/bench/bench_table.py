"""The table every benchmark prints: what was done, the figure, the bar, and the ratio to a named limit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure. `bar` is what the project asks for (`≤ 150`), `ratio` the figure over its named limit."""

    what: str
    figure: float
    unit: str
    bar: str = ""
    ratio: float | None = None

    def holds(self) -> bool | None:
        """Say whether the figure clears its bar; None where there is none."""
        if not self.bar:
            return None
        sign, number = self.bar.split()
        limit = float(number.replace(",", ""))
        return self.figure <= limit if sign == "≤" else self.figure >= limit


def print_table(title: str, rows: list[Row]) -> None:
    """Print the rows under a title, aligned, with a mark for each bar that is cleared or missed."""
    cells = [("", "measured", "", "bar", "ratio", "")]
    for row in rows:
        mark = {True: "✔", False: "✘", None: ""}[row.holds()]
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
        cells.append(
            (
                row.what,
                f"{row.figure:.3g}" if row.figure < 1000 else f"{row.figure:,.0f}",
                row.unit,
                row.bar,
                ratio,
                mark,
            )
        )
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    print(f"\n{title}")
    for row in cells:
        left = row[0].ljust(widths[0])
        rest = "  ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print(f"  {left}  {rest}".rstrip())
