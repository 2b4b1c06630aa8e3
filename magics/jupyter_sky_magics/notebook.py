"""The face of a notebook: tables that follow the theme, one display that lives, a job's output."""

from __future__ import annotations

import codecs
import html
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from IPython.display import display as ipython_display

from jupyter_sky.cli.face import Face
from jupyter_sky.errors import NotConfirmedError
from jupyter_sky.sdk.human import amount, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jupyter_sky.events import Reporter
    from jupyter_sky.sdk.listing import Listing

#: IPython gives it no types.
display: Callable[..., Any] = ipython_display

#: Seconds between two redraws of a number that grows; a new phase is drawn at once.
_PERIOD = 0.1
_STYLES = {
    "box": "font:var(--jp-code-font-size,13px)/1.5 var(--jp-code-font-family,monospace)",
    "quiet": "opacity:.7",
    "bar": "width:12em;height:.6em;margin:0 .6em;accent-color:var(--jp-brand-color1,#2a8fbd)",
}


class NotebookFace(Face):
    """A person at a notebook."""

    prefix = "%sky"

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        super().__init__(arguments)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def note(self, text: str) -> None:
        """Print a sentence."""
        print(self.typed(text), flush=True)  # noqa: T201 - a cell's output is what print is for

    def show(self, answer: Listing[Any]) -> None:
        """Display a table."""
        display(answer)

    def ask(self, question: str) -> bool:
        """Ask with the frontend's input line; nbclient and the like have none."""
        from IPython.core.error import StdinNotImplementedError

        sys.stdout.flush()
        try:
            while True:
                word = input(f"{question} [Y/n]: ").strip().lower()
                if word in {"", "y", "yes"}:
                    return True
                if word in {"n", "no"}:
                    return False
        except (StdinNotImplementedError, EOFError) as error:
            raise NotConfirmedError(
                f"Nobody can be asked here: {question}", hint="Add -y to say yes beforehand."
            ) from error

    @contextmanager
    def progress(self) -> Iterator[Reporter]:
        """Show phases in one display, which at the end tells how long they took."""
        reporter = NotebookReporter(self)
        try:
            yield reporter
        except KeyboardInterrupt:
            # The work goes on; the display stays as it was last seen.
            raise
        except BaseException:
            reporter.close(done=False)
            raise
        reporter.close(done=True)

    def stream(self, piece: bytes) -> None:
        """Write a job's output to the cell's, keeping a letter whose bytes come in two pieces whole."""
        sys.stdout.write(self._decoder.decode(piece))
        sys.stdout.flush()


class Steps:
    """What a piece of work did so far, as it looks in a notebook and in a terminal."""

    def __init__(self) -> None:
        self.finished: list[tuple[str, float]] = []
        self.current: str | None = None
        self.amount: tuple[float, float | None, str] | None = None
        self.lines: list[str] = []
        self.failed = False

    def _repr_html_(self) -> str:
        rows = [
            f"<div>✓ {html.escape(text)} <span style='{_STYLES['quiet']}'>{seconds:.1f} s</span></div>"
            for text, seconds in self.finished
        ]
        rows += [f"<div style='{_STYLES['quiet']}'>{html.escape(line)}</div>" for line in self.lines]
        if self.current is not None:
            sign = "✗" if self.failed else "●"
            rows.append(f"<div>{sign} {html.escape(self.current)}{self._bar()}</div>")
        return f"<div style='{_STYLES['box']}'>{''.join(rows)}</div>"

    def _bar(self) -> str:
        if self.amount is None or self.failed:
            return ""
        done, total, unit = self.amount
        if total is None:
            return f" <span style='{_STYLES['quiet']}'>{html.escape(amount(done, unit))}</span>"
        text = f"{amount(done, unit)} of {amount(total, unit)}"
        bar = f"<progress value='{done:g}' max='{total:g}' style='{_STYLES['bar']}'></progress>"
        return f"{bar}{html.escape(text)}"

    def __repr__(self) -> str:
        lines = [f"✓ {text} ({duration(seconds)})" for text, seconds in self.finished] + self.lines
        if self.current is not None:
            lines.append(f"{'✗' if self.failed else '…'} {self.current}")
        return "\n".join(lines)


class NotebookReporter:
    """Draws `Steps` in one display that is updated in place."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._steps = Steps()
        self._began = time.monotonic()
        self._drawn = 0.0
        self._handle: Any = None

    def phase(self, name: str, detail: str = "") -> None:
        """Show a new phase; the one before is done."""
        self._finish()
        self._steps.current = f"{name}: {detail}" if detail else name
        self._draw()

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        """Show how far the phase is."""
        self._steps.amount = (done, total, unit)
        if time.monotonic() - self._drawn >= _PERIOD:
            self._draw()

    def log(self, text: str) -> None:
        """Show a line."""
        self._steps.lines.append(self._face.typed(text))
        self._draw()

    def close(self, *, done: bool) -> None:
        """End: the last phase is done, or is where it failed."""
        if done:
            self._finish()
        self._steps.failed = not done
        if self._handle is not None:
            self._draw()

    def _finish(self) -> None:
        now = time.monotonic()
        if self._steps.current is not None:
            self._steps.finished.append((self._steps.current, now - self._began))
        self._began, self._steps.current, self._steps.amount = now, None, None

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self._handle is None:
            self._handle = display(self._steps, display_id=True)
        else:
            self._handle.update(self._steps)
