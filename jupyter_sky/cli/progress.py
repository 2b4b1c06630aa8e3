"""Progress on a terminal: one line that lives, or plain lines where nothing can live.

rich draws the living line; it is imported only when there is something to show on a real terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_sky.sdk import human

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, TaskID


class TerminalReporter:
    """Shows phases, progress and log lines.

    Parameters
    ----------
    say
        Writes one line to the person.
    live
        Whether a line may be redrawn in place.
    """

    def __init__(self, say: Callable[[str], None], *, live: bool) -> None:
        self._say = say
        self._live = live
        self._drawing: Progress | None = None
        self._task: TaskID | None = None
        self._text = ""

    def phase(self, name: str, detail: str = "") -> None:
        """Show a new phase."""
        self._text = f"{name}: {detail}" if detail else name
        if not self._live:
            self._say(self._text)
            return
        drawing = self._draw()
        if self._task is not None:
            drawing.remove_task(self._task)
        self._task = drawing.add_task(_escaped(self._text), total=None, amount="")

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        """Show how far the phase is."""
        if not self._live:
            return
        drawing = self._draw()
        if self._task is None:
            self._task = drawing.add_task(_escaped(self._text), total=total, amount="")
        amount = human.amount(done, unit)
        if total:
            amount = f"{done / total:.0%} ({amount} of {human.amount(total, unit)})"
        drawing.update(self._task, completed=done, total=total, amount=amount)

    def log(self, text: str) -> None:
        """Show a line; the living line moves below it."""
        self.pause()
        self._say(text)

    def pause(self) -> None:
        """Take the living line away, until there is news."""
        if self._drawing is not None:
            self._drawing.stop()
            self._drawing = None
            self._task = None

    def close(self) -> None:
        """End; nothing of the living line stays."""
        self.pause()

    def _draw(self) -> Progress:
        if self._drawing is None:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._drawing = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                TextColumn("{task.fields[amount]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._drawing.start()
        return self._drawing


def _escaped(text: str) -> str:
    from rich.markup import escape

    from jupyter_sky.sdk.text import one_line

    return escape(one_line(text))
